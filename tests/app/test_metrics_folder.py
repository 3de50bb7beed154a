"""The folder that several workers share: not where cleaners sweep, and nothing stays of servers that were killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from todo_app.metrics_folder import metrics_folder

IS_KILLED = """
import os, signal, sys
from pathlib import Path
from todo_app.metrics_folder import metrics_folder
with metrics_folder(Path(sys.argv[1])) as folder:
    (folder / "x.db").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this test alone."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_it_is_in_the_data_folder_for_its_owner_alone_and_goes_with_the_server(data: Path, temporary: Path) -> None:
    with metrics_folder(data) as folder:
        assert folder.parent == data
        assert folder.stat().st_mode & 0o777 == data.stat().st_mode & 0o777 == 0o700
        (folder / "x.db").touch()
    assert not list(data.iterdir())
    assert not list(temporary.iterdir())


def test_what_a_killed_server_left_behind_is_removed_and_what_another_one_uses_is_not(data: Path) -> None:
    with metrics_folder(data) as used:
        subprocess.run([sys.executable, "-c", IS_KILLED, str(data)], check=False, timeout=60)
        assert len(list(data.iterdir())) == 2
        with metrics_folder(data) as mine:
            assert set(data.iterdir()) == {used, mine}


def test_a_data_folder_that_cannot_be_written_is_no_reason_not_to_start(data: Path, temporary: Path) -> None:
    data.write_text("no folder")
    with metrics_folder(data) as folder:
        assert folder.parent == temporary
    assert not list(temporary.iterdir())


def test_what_is_not_ours_is_left_alone(temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (temporary / "todo-metrics-link").symlink_to(tmp_path / "elsewhere")
    (temporary / "todo-metrics-file").touch()
    before = set(temporary.iterdir())
    with metrics_folder(temporary) as folder:
        assert set(temporary.iterdir()) == {*before, folder}
    (temporary / "todo-metrics-strangers").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with metrics_folder(temporary) as folder:
        assert set(temporary.iterdir()) == {*before, temporary / "todo-metrics-strangers", folder}


def test_a_folder_that_was_swept_away_is_no_reason_not_to_end(data: Path) -> None:
    with metrics_folder(data) as folder:
        folder.rmdir()
    assert not list(data.iterdir())
