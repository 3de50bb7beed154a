"""The signals that end a command: none may be missed, and the database must not be left running."""

import asyncio
import signal
import sys
import threading
from typing import Final, Protocol

_IGNORABLE: Final = frozenset({signal.SIGHUP, signal.SIGQUIT})


class Ending(Protocol):
    """A server that can be stopped."""

    def end(self) -> None:
        """Start to shut down."""
        ...


class Signals:
    """SIGINT, SIGTERM, SIGHUP and SIGQUIT end the command, the last two unless they were ignored at the start.

    A terminal sends SIGHUP when it is closed, which `nohup` ignores, and SIGQUIT for Ctrl-\\.
    """

    def __init__(self) -> None:
        """Raise `KeyboardInterrupt` for each signal, until `end` is called."""
        self.came = False
        """Whether one of them has come."""
        heeded = {number for number in _IGNORABLE if signal.getsignal(number) != signal.SIG_IGN}
        self._ending = {signal.SIGINT, signal.SIGTERM, *heeded}
        sys.unraisablehook = _unraisable
        self.interrupt()

    def interrupt(self) -> None:
        """From now on, raise `KeyboardInterrupt` for each signal."""
        for number in self._ending:
            signal.signal(number, self._interrupt)

    def cancel(self, task: "asyncio.Task[object]") -> None:
        """From now on, until its event loop is closed, cancel that task for each signal.

        An exception raised at an arbitrary place could be converted to another one by a library.
        """

        def cancel() -> None:
            self.came = True
            task.cancel()

        for number in self._ending:
            task.get_loop().add_signal_handler(number, cancel)

    def _interrupt(self, *_: object) -> None:
        self.came = True
        raise KeyboardInterrupt

    def end(self, server: Ending) -> None:
        """From now on, end that server for each signal. Workers inherit the blocked signals until they handle them.

        Granian's handlers (2.8) take a lock that the interrupted thread may hold, and its handler of SIGHUP replaces
        the workers. An ignored signal stays ignored: it is blocked, and nothing waits for it.
        """
        # Inherited by threads and processes that are started later.
        signal.pthread_sigmask(signal.SIG_BLOCK, self._ending | _IGNORABLE)
        if self.came:  # the exception was lost, for example in a finalizer
            raise KeyboardInterrupt

        def wait() -> None:
            while True:
                signal.sigwait(self._ending)
                server.end()

        threading.Thread(target=wait, daemon=True).start()


def _unraisable(lost: "sys.UnraisableHookArgs") -> None:
    """Do not report a `KeyboardInterrupt` that a finalizer lost: `Signals` has noted it."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
