"""Runs uv on the clone, outside the environment that the tests run in."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def uv(*arguments: str | Path, cwd: Path = ROOT) -> str:
    """What uv prints. What it needs comes from its cache or, where there is a network, from there."""
    command = [sys.executable, "-m", "uv", *arguments]
    variables = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
