"""What a worker process of the server is, besides the application: a process that ends when it should."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Final

from todo_app.http.exchange import App

GRACE: Final = 30  # seconds that requests under way have when the server is told to stop
LOOK_EVERY: Final = 0.5  # seconds between two looks at whether the parent lives


def create_worker() -> App:
    """The application, in a worker process that ends with its parent, `GRACE` later at the most."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    # Not before the process has been forked: what is imported here looks at the process's environment.
    from todo_app.main import create_app

    return create_app()


def heed_signals_while_starting() -> None:
    """Have processes forked from now on die of SIGTERM, and leave Ctrl-C to their parent, until they are set up.

    A forked worker would otherwise run its parent's handlers, to no effect, and be waited for in vain.
    """
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=_heed_signals)


def _heed_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _follow_parent() -> None:
    """End this process when the one that started it has been killed: it must not go on serving, holding the port."""
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform == "win32":  # there, the pid of a dead parent remains
        return
    while os.getppid() == parent.pid:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
