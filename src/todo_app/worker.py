"""Worker processes end when they should: when the server is told to, and when it has been killed."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Final

from granian.server.mp import MPServer

from todo_app.http.exchange import App

GRACE: Final = 30  # seconds that requests under way have when the server is told to stop
LOOK_EVERY: Final = 0.5  # seconds between two looks at how the other process is


def create_worker() -> App:
    """The application, in a worker process that ends with its parent, `GRACE` later at the most."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    # Not before the process has been forked: what is imported here looks at the process's environment.
    from todo_app.main import create_app

    return create_app()


def insist(server: MPServer) -> None:
    """From the moment that `server` is told to end, tell its workers so until they do; returns at once.

    Granian tells them once. A worker that has just been forked, or whose event loop does not run yet, does not hear it.
    """
    threading.Thread(target=_repeat_the_end, args=[server], daemon=True).start()


def _repeat_the_end(server: MPServer) -> None:
    while True:
        time.sleep(LOOK_EVERY)
        if server.interrupt_signal:
            for worker in list(server.wrks):
                worker.terminate()  # type: ignore[no-untyped-call]  # granian's, not annotated


def _follow_parent() -> None:
    """End this process when the one that started it has been killed: it must not go on serving, holding the port."""
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform == "win32":  # there, the pid of a dead parent remains
        return
    while os.getppid() == parent.pid:
        time.sleep(LOOK_EVERY)
    for _ in range(int(GRACE / LOOK_EVERY)):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGKILL)
