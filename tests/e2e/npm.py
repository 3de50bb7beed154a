"""Installs packages of npm for tests, exactly those that a package-lock.json pins, into pytest's cache."""

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest

NODE = shutil.which("node")
NEEDS_NODE = pytest.mark.skipif(not (NODE and shutil.which("npm")), reason="node and npm are not installed")


def installed(config: pytest.Config, source: Path, *, then: str | None = None) -> Path:
    """A copy of that folder with its packages, after that script of it; made once and kept, whole or not at all."""
    files = [file for file in sorted(source.iterdir()) if file.is_file()]
    digest = sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    cache = Path(config.cache.mkdir(source.name.replace("_", "-")))
    folder = cache / digest[:16]
    if not folder.exists():
        made = Path(mkdtemp(dir=cache))
        for file in files:
            shutil.copy(file, made)
        npm = [str(shutil.which("npm")), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        subprocess.run(npm, cwd=made, check=True, capture_output=True, timeout=240)
        if then is not None:
            subprocess.run([str(NODE), then], cwd=made, check=True, capture_output=True, timeout=240)
        try:
            made.rename(folder)
        except OSError:  # another worker was quicker
            shutil.rmtree(made)
    return folder
