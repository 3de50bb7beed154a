"""Notes when the machine itself stood still: on each processor a process that comes before all others was late.

A virtual machine is stopped by its host for some milliseconds now and then, and whoever measures latencies measures
that too. A stop counts if it stopped all of two or more processors: what keeps one from a process may be the work of
those that are measured. In theory so may be what keeps all from it, for example memory that is short.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

EVERY = 0.002  # seconds
LATE = 0.002  # seconds: less is not counted
READY = "ready\n"

Spans = list[tuple[float, float]]
"""From when to when, in seconds of `time.monotonic`."""


class Standstills:
    """When the machine stood still, as far as is known."""

    def __init__(self, notes: list[Path], watchers: list[subprocess.Popen[bytes]]) -> None:
        self._notes = notes
        self._watchers = watchers

    def are_known(self) -> bool:
        """Whether a process on each of several processors looks for them."""
        look = all(watcher.poll() is None for watcher in self._watchers)
        return look and len(self._notes) > 1 and all(note.read_text().startswith(READY) for note in self._notes)

    def seen(self) -> Spans:
        """All of them so far; none where they are not known."""
        if not self.are_known():
            return []
        common, *others = map(_read, self._notes)
        for other in others:
            spans = [(max(a, c), min(b, d)) for a, b in common for c, d in other]
            common = [(since, to) for since, to in spans if since < to]
        return common


def overlap(spans: Spans, began: float, ended: float) -> float:
    """How many seconds between these moments are in the spans."""
    return sum(max(0.0, min(ended, to) - max(began, since)) for since, to in spans)


@contextmanager
def watched() -> Iterator[Standstills]:
    """Standstills are noted in the block."""
    processors = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    with tempfile.TemporaryDirectory(prefix="todo-bench-") as folder, ExitStack() as ending:
        notes = [Path(folder) / f"{each}" for each in processors]
        watchers: list[subprocess.Popen[bytes]] = []
        for processor, note in zip(processors, notes, strict=True):
            note.touch()
            command = [sys.executable, "-m", "benchmarks.standstill", f"{processor}", f"{note}", f"{os.getpid()}"]
            watchers.append(ending.enter_context(subprocess.Popen(command)))
            ending.callback(watchers[-1].terminate)
        yield Standstills(notes, watchers)


def _read(note: Path) -> Spans:
    _, *lines = note.read_text().split("\n")[:-1]  # whole ones
    return [(float(since), float(to)) for since, to in map(str.split, lines)]


def _watch(processor: int, note: Path, parent: int) -> None:
    """Until the process that wants to know has ended, or ends this one. Raises `PermissionError`."""
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    if os.sched_getscheduler(0) != os.SCHED_FIFO:
        raise PermissionError
    with note.open("a", buffering=1) as noted:
        noted.write(READY)
        while os.getppid() == parent:
            due = time.monotonic() + EVERY
            time.sleep(EVERY)
            if (now := time.monotonic()) > due + LATE:
                noted.write(f"{due} {now}\n")


if __name__ == "__main__":
    try:
        _watch(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except PermissionError:
        sys.exit("standstills of the machine cannot be noted: this user may not use SCHED_FIFO")
