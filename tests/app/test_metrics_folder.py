"""The folder in which workers share metrics: not in a temporary folder if possible, and removed after a kill."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from todo_app.metrics_folder import metrics_folder
from todo_app.settings import SettingsError

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


def test_the_metrics_folder_is_private_in_the_data_folder_and_removed_at_the_end(data: Path, temporary: Path) -> None:
    with metrics_folder(data) as folder:
        assert folder.parent == data
        assert folder.stat().st_mode & 0o777 == data.stat().st_mode & 0o777 == 0o700
        (folder / "x.db").touch()
    assert not list(data.iterdir())
    assert not list(temporary.iterdir())


def test_folders_of_killed_servers_are_removed_and_folders_in_use_are_kept(data: Path) -> None:
    with metrics_folder(data) as used:
        subprocess.run([sys.executable, "-c", IS_KILLED, str(data)], check=False, timeout=60)
        assert len(list(data.iterdir())) == 2
        with metrics_folder(data) as mine:
            assert set(data.iterdir()) == {used, mine}


def test_a_temporary_folder_is_used_if_the_data_folder_is_not_writable(data: Path, temporary: Path) -> None:
    data.write_text("no folder")
    with metrics_folder(data) as folder:
        assert folder.parent == temporary
    assert not list(temporary.iterdir())


def test_without_any_folder_that_is_writable_it_is_said_what_to_do(data: Path, temporary: Path) -> None:
    data.write_text("no folder")
    temporary.rmdir()
    temporary.write_text("no folder either")
    refusal = r"^there is no folder for the metrics of several workers \(.*\): make TODO_DATA_DIR or .*--workers 1$"
    with pytest.raises(SettingsError, match=refusal), metrics_folder(data):
        pass


def test_links_files_and_folders_of_others_are_left_alone(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_metrics_folder_that_was_already_removed_does_not_prevent_the_end(data: Path) -> None:
    with metrics_folder(data) as folder:
        folder.rmdir()
    assert not list(data.iterdir())
