"""Installs packages of npm for tests, exactly those that a package-lock.json pins, into pytest's cache."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest
from serving import environment

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


@contextmanager
def running(folder: Path, *command: str, quiet: bool = False, **variables: str) -> Iterator[str]:
    """Run a program of that folder with node; the first line that it says. It is to end with its standard input."""
    with subprocess.Popen(
        [str(NODE), *command],
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline()
        process.stdin.close()
