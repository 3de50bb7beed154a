"""The signals that end a server, whatever it is doing: none may be missed, and no database left behind."""

import asyncio
import signal
import sys
import threading
from typing import Final, Protocol

# A terminal that is closed sends SIGHUP to whatever was started in it. Windows has none.
HANGUP: Final[signal.Signals | None] = getattr(signal, "SIGHUP", None)


class Ending(Protocol):
    """A server that can be stopped."""

    def end(self) -> None:
        """End, soon."""
        ...


class Signals:
    """SIGINT, SIGTERM and SIGHUP end the server; SIGHUP not if it was ignored at the start, as `nohup` does."""

    def __init__(self) -> None:
        """Raise `KeyboardInterrupt` at each, until `end` takes over."""
        self._stopping = False
        self._ending = {signal.SIGINT, signal.SIGTERM}
        if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:
            self._ending.add(HANGUP)
        sys.unraisablehook = _unraisable
        self.interrupt()

    def interrupt(self) -> None:
        """From now on, raise `KeyboardInterrupt` at each."""
        for number in self._ending:
            signal.signal(number, self._interrupt)

    def cancel(self, task: "asyncio.Task[object]") -> None:
        """From now on, until its event loop is closed, cancel that task at each.

        Raised anywhere, an exception may come out of a library's task as another one.
        """
        if sys.platform != "win32":
            for number in self._ending:
                task.get_loop().add_signal_handler(number, task.cancel)

    def _interrupt(self, *_: object) -> None:
        self._stopping = True
        raise KeyboardInterrupt

    def end(self, server: Ending) -> None:
        """From now on, end that server at each, and let none reach the workers before they heed it.

        Granian's own handlers (2.8) take a lock which the thread that they interrupt may be holding, and its own for
        SIGHUP replaces the workers: blocked and waited for by nobody, an ignored SIGHUP stays ignored.
        """
        if sys.platform == "win32":
            return
        # Threads and processes that are started later inherit it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {*self._ending, signal.SIGHUP})
        if self._stopping:  # and the exception was lost, which may happen in a finalizer
            raise KeyboardInterrupt

        def wait() -> None:
            while True:
                signal.sigwait(self._ending)
                server.end()

        threading.Thread(target=wait, daemon=True).start()


def _unraisable(lost: "sys.UnraisableHookArgs") -> None:
    """Say nothing of an interrupt that a finalizer lost: `Signals` has not lost it, and somebody pressed Ctrl-C."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
