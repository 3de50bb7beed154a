"""Fault scenarios and benchmarks run by name only: here, in every check, all of them are imported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# `peer.py` is of FastAPI alone, which only the benchmarks' own environment has.
BENCHMARKS = [path.stem for path in sorted((ROOT / "benchmarks").glob("*.py")) if path.stem != "peer"]


def succeeds(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_fault_scenario_can_be_collected() -> None:
    succeeds("-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", "tests/faults")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_can_be_imported(name: str) -> None:
    succeeds("-c", f"import sys; sys.path.append('tests'); import benchmarks.{name}")
