"""The packages that users install, built once, and environments with nothing but them."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from wheels.building import uv


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made from it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder)
    return folder


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def sdist(dist: Path) -> Path:
    (sdist,) = dist.glob("*.tar.gz")
    return sdist


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the Python of an environment with the wheel and that extra, at the versions that uv.lock pins."""
    pins = tmp_path_factory.mktemp("pins") / "pins.txt"
    pins.write_text(
        uv("export", "--quiet", "--frozen", "--extra", "all", "--no-dev", "--no-hashes", "--no-emit-project")
    )

    @cache
    def install(extra: str) -> Path:
        folder = tmp_path_factory.mktemp(extra or "alone")
        uv("venv", "--quiet", "--clear", "--python", sys.executable, folder)
        python = folder / "bin/python"
        wanted = f"todo-api[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
        uv("pip", "install", "--quiet", "--python", python, "--constraint", pins, wanted)
        return python

    return install
