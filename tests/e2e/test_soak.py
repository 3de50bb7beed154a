"""A small soak: it shows that the program that checks a million requests still works."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.ci
def test_a_small_soak_finds_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--requests", "2000", "--users", "16", "--hostile", "10", "--dry"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Answers with 5xx: 0" in done.stdout
    asked = {line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")}
    assert asked >= {
        "create once",
        "patch once",
        "complete once",
        "delete once",
        "history",
        "summary",
        "list",
        "another's path",
        "another's id",
        "bad token",
        "aborted",
        "no HTTP",
    }
