"""Worker processes: they end when the server is stopped, and when it has been killed."""

import asyncio
import fcntl
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from todo_app.http.admission import Admission
from todo_app.http.exchange import App
from todo_app.local import open_files
from todo_app.settings import METRICS_FOLDER

if TYPE_CHECKING:
    from todo_app.container import Container

GRACE: Final = 30  # seconds for requests under way when the server is stopped
LOOK_EVERY: Final = 0.5  # seconds between two checks that the parent is alive
_THRESHOLDS: Final = (5000, 3000, 30)  # the second counts `examine_young` too


def create_worker() -> App:
    """The application, in a worker process that ends at most `GRACE` seconds after its parent.

    The process must be started with SIGINT and SIGTERM blocked.
    """
    before_the_end: list[Callable[[], None]] = []
    _make_room_for_files()
    loop = asyncio.get_event_loop()
    threading.Thread(target=_end_once, args=[loop, before_the_end], daemon=True).start()
    threading.Thread(target=_follow_parent, daemon=True).start()
    if (folder := os.environ.get(METRICS_FOLDER)) is not None:
        Path(folder).mkdir(exist_ok=True)  # it may have been cleaned away
    app, container = prepared()
    Admission(loop, container.identification().whose).install()
    before_the_end.append(container.live().end)  # the server waits for every open stream
    exclude_from_collection()
    return app


@cache
def prepared() -> "tuple[App, Container]":
    """The application, made once per process: forked workers share its memory.

    It opens no connection, thread or file before it is served.
    """
    # Imported here, because prometheus_client and the settings read the environment.
    from todo_app.main import create_app, create_container

    container = create_container()
    return create_app(container), container


def exclude_from_collection() -> None:
    """Exclude loaded modules from garbage collection, which would pause all requests for some 100 ms each time.

    Older objects are collected rarely too: while a large request holds many, that would pause all requests for 17 ms.
    Young objects are collected only when their number exceeds what dozens of concurrent requests hold: requests leave
    almost no garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def _make_room_for_files() -> None:
    """Make the kernel's table of open files large once: each time it grew, Linux would stop the accepting thread.

    While it grows in a process with several threads, the thread that opens a file waits for all processors (an RCU
    grace period), 10 to 20 ms, and no connection is served meanwhile.
    """
    os.close(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, open_files() // 2))


def _end_once(loop: asyncio.AbstractEventLoop, before_the_end: Iterable[Callable[[], None]]) -> None:
    """Deliver the first SIGTERM once, while the event loop runs.

    Granian (2.8) misses a signal that arrives while its loop does not run, and a second one blocks it forever, with the
    requests under way. SIGINT is never delivered: Ctrl-C reaches the parent too, which sends SIGTERM.
    """
    signal.sigwait([signal.SIGTERM])
    loop.call_soon_threadsafe(_pass_on, before_the_end)


def _pass_on(before_the_end: Iterable[Callable[[], None]]) -> None:
    for call in before_the_end:
        call()
    while signal.SIGTERM in signal.sigpending():
        signal.sigwait([signal.SIGTERM])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    signal.raise_signal(signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _follow_parent() -> None:
    """End this process when its parent was killed: otherwise it would go on serving, and hold the port."""
    parent = multiprocessing.parent_process()
    while parent is not None and os.getppid() == parent.pid:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
