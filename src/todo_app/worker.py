"""Worker processes end when they should: when the server is stopped, and when it has been killed."""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from todo_app.http.exchange import App
from todo_app.settings import METRICS_FOLDER

if TYPE_CHECKING:
    from todo_app.container import Container

GRACE: Final = 30  # seconds that requests under way have when the server is stopped
LOOK_EVERY: Final = 0.5  # seconds between two looks at whether the parent lives
_YOUNG_COLLECTIONS: Final = 1000  # between two looks at everything


def create_worker() -> App:
    """The application, in a worker process that ends with its parent, at most `GRACE` later.

    The process is to be born with SIGINT and SIGTERM blocked.
    """
    before_the_end: list[Callable[[], None]] = []
    if sys.platform != "win32":
        threading.Thread(target=_end_once, args=[asyncio.get_event_loop(), before_the_end], daemon=True).start()
        threading.Thread(target=_follow_parent, daemon=True).start()
    if (folder := os.environ.get(METRICS_FOLDER)) is not None:
        Path(folder).mkdir(exist_ok=True)  # a worker that finds it swept away must not die of that
    app, container = prepared()
    before_the_end.append(container.live().end)  # the server waits for every answer that is under way
    exclude_from_collection()
    return app


@cache
def prepared() -> "tuple[App, Container]":
    """The application, made once: workers that are forked from the process that has made it share its memory.

    It has no connection, thread or file of its own before it is served.
    """
    # Not before the environment says what is to be served: what is imported here looks at it.
    from todo_app.main import create_app, create_container

    container = create_container()
    return create_app(container), container


def exclude_from_collection() -> None:
    """Spare the garbage collector what will never be garbage: every look at it costs all requests some 100 ms.

    So does a look at all that one large request holds: what has survived two collections is looked at ever so seldom.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], _YOUNG_COLLECTIONS)


def _end_once(loop: asyncio.AbstractEventLoop, before_the_end: Iterable[Callable[[], None]]) -> None:
    """Let the first SIGTERM through, once, while the event loop runs.

    Granian (2.8) misses a signal that comes while its loop does not run, and a second one blocks it for good, and
    with it the requests under way. SIGINT is not let through at all: Ctrl-C reaches the parent too, which signals us.
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
    """End this process when the one that started it was killed: it must not go on serving, holding the port."""
    parent = multiprocessing.parent_process()
    while parent is not None and os.getppid() == parent.pid:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
