"""The log's writer: no caller waits for it, even if the output is slow, full, closed or non-blocking."""

import errno
import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from serving import eventually

from todo_app import line_writer as module
from todo_app.line_writer import LineWriter

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's two ends."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError as error:  # the test has closed it
            assert error.errno == errno.EBADF  # noqa: PT017


class Wrong:
    """Stands for `os`: its writes fail with these errors, one after the other, and then succeed; they are counted."""

    def __init__(self, *errors: int) -> None:
        self._errors = list(errors)
        self.writes = 0

    def write(self, descriptor: int, data: bytes) -> int:
        self.writes += 1
        if self._errors:
            raise OSError(number := self._errors.pop(0), os.strerror(number))
        return os.write(descriptor, data)


def read_all(descriptor: int, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += os.read(descriptor, 65536)
    return found


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pipe_that_nobody_reads_delays_nothing_and_every_line_is_read_or_counted(
    pipe: tuple[int, int], blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todo_app.line_writer.MAX_BYTES", 100_000)
    reading, writing = pipe
    os.set_blocking(writing, blocking)
    dropped: list[None] = []
    writer = LineWriter(writing, lambda: dropped.append(None))
    lines = [b"%099d\n" % number for number in range(5000)]
    for line in lines:
        writer.write(line)
    assert dropped
    kept = len(lines) - len(dropped)
    assert kept >= 1000  # all that there was room for
    read = read_all(reading, kept * len(LINE)).splitlines(keepends=True)
    assert read == sorted(read)
    assert set(read) < set(lines)
    writer.flush()
    writer.write(LINE)  # there is room again
    writer.flush()
    assert os.read(reading, 1000) == LINE
    assert kept + len(dropped) == len(lines)


def test_the_lines_of_two_writers_of_one_pipe_stay_whole(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writers = [LineWriter(writing), LineWriter(writing)]
    for _ in range(5000):
        for writer, letter in zip(writers, (b"a", b"b"), strict=True):
            writer.write(letter * 99 + b"\n")
    read = read_all(reading, 10_000 * 100)
    assert set(read.splitlines()) == {b"a" * 99, b"b" * 99}


@pytest.mark.parametrize("error", [errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO])
def test_a_failed_write_is_reported_once_and_repeated_until_it_succeeds(
    pipe: tuple[int, int], error: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pauses: list[float] = []
    wrong = Wrong(*[error] * 8)
    monkeypatch.setattr(module, "os", wrong)
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=pauses.append))
    writer = LineWriter(pipe[1])
    writer.write(LINE)
    assert os.read(pipe[0], 1000) == LINE
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert capfd.readouterr().err == (
        f"todo: the log cannot be written to standard output: {os.strerror(error)}; "
        "dropped lines are counted in todo_log_lines_dropped_total\n"
    )


def test_a_broken_pipe_is_not_written_to_for_every_line(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = Wrong(*[errno.EPIPE] * 1000)
    again = threading.Event()
    monkeypatch.setattr(module, "os", wrong)
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda _: again.wait()))
    writer = LineWriter(pipe[1])
    for _ in range(50):
        writer.write(LINE)
        writer.flush()  # does not wait for what will not come
    assert wrong.writes == 1
    assert "could not be written to standard output: Broken pipe" in capfd.readouterr().err
    wrong._errors.clear()
    again.set()
    assert read_all(pipe[0], 50 * len(LINE)) == 50 * LINE


def test_a_partial_write_is_continued_by_the_next_write(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = SimpleNamespace(getpid=os.getpid, write=lambda descriptor, data: os.write(descriptor, data[:7]))
    monkeypatch.setattr(module, "os", hasty)
    writer = LineWriter(pipe[1])
    writer.write(LINE)
    writer.flush()
    assert os.read(pipe[0], 1000) == LINE


def test_unread_lines_are_reported_when_the_server_ends(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", 0.05)
    writer = LineWriter(pipe[1])
    for _ in range(1000):
        writer.write(LINE)
    writer.flush()
    assert capfd.readouterr().err.endswith(
        "bytes of the log could not be written to standard output: nobody reads it\n"
    )
    read_all(pipe[0], 1000 * len(LINE))


def test_a_forked_process_writes_its_own_lines_and_none_of_its_parents(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1])
    writer.write(1000 * LINE)  # more than the pipe takes: the thread is in the middle of it
    with writer._changed:  # as somebody may hold it when the process is forked
        child = os.fork()
    if child == 0:
        writer.write(b"from the fork\n")
        writer.flush()
        os._exit(writer._size)
    written = read_all(pipe[0], 1000 * len(LINE) + len(b"from the fork\n"))
    assert os.waitpid(child, 0)[1] == 0
    assert written.count(b"from the fork\n") == 1


def test_a_writer_without_work_keeps_no_thread(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE", 0.01)
    threads = set(threading.enumerate())
    writer = LineWriter(pipe[1])
    for _ in range(2):
        writer.write(LINE)
        writer.flush()
        eventually(lambda: set(threading.enumerate()) <= threads)  # those of other tests may end meanwhile
    assert os.read(pipe[0], 1000) == 2 * LINE
