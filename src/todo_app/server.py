"""Serves the application: checks that it can, starts the embedded database and Granian, and ends them in that order."""

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import replace
from datetime import timedelta
from multiprocessing import resource_tracker
from typing import Final

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from todo_adapters.postgres.migrations import is_current, migrate
from todo_app.local import LocalDatabase, local_secret, token_for
from todo_app.settings import METRICS_FOLDER, Settings, SettingsError
from todo_app.troubles import troubles_named
from todo_app.worker import GRACE, keep_for_good

DEVELOPMENT_USER = "dev"
DEVELOPMENT_TOKEN_LIFE = timedelta(days=1)
# How long a client may take over a request's head, and sit idle between two. Longer than the 60 s for which proxies
# commonly keep idle connections: one that sends on a connection that is just being closed answers 502.
HEAD_SECONDS = 65
HEAD_BYTES = 64 * 1024
OPEN_FILES: Final = 10_000  # of one process; macOS allows no more than 10 240
_OWN_FILES: Final = 256  # what a worker opens itself: its database connections above all
_CONNECTIONS_ON_WINDOWS: Final = 1024


def serve(settings: Settings, *, host: str, port: int, workers: int) -> None:
    """Serve until SIGINT or SIGTERM. Raises `SettingsError` if the server cannot start as configured."""
    if settings.database_url is not None and not (settings.secret or settings.jwks_url):
        raise SettingsError("BETTER_AUTH_SECRET or BETTER_AUTH_URL must be set: without them no token can be verified")
    _require_free(host, port)
    signals = Signals()
    with LocalDatabase(settings) as database_url:
        with troubles_named():
            if settings.database_url is None:
                migrate(database_url)
            elif not is_current(database_url):
                raise SettingsError("DATABASE_URL: the schema is not up to date; run `todo migrate` first")
        if settings.database_url is None:
            settings = _with_local_secret(settings)
            _greet(settings, host, port)
        # The workers read their settings from the environment, which only this user can see.
        os.environ["DATABASE_URL"] = database_url
        if settings.secret is not None:
            os.environ["BETTER_AUTH_SECRET"] = settings.secret
        with tempfile.TemporaryDirectory(prefix="todo-metrics-") as folder:
            if workers > 1:
                os.environ[METRICS_FOLDER] = folder
            _run(signals, host, port, workers)


class Signals:
    """SIGINT and SIGTERM end the server, whatever it is doing: none may be missed, and no database left behind."""

    _ENDING: Final = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        """Raise `KeyboardInterrupt` at either, until `end` takes over."""
        self._told = False
        sys.unraisablehook = _unraisable
        for number in self._ENDING:
            signal.signal(number, self._interrupt)

    def _interrupt(self, *_: object) -> None:
        self._told = True
        raise KeyboardInterrupt

    def end(self, server: MPServer) -> None:
        """From now on, end that server at either, and let none reach the workers before they heed it.

        Granian's own handlers (2.8) take a lock which the thread that they interrupt may be holding.
        """
        if sys.platform == "win32":
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, self._ENDING)  # threads and processes started later inherit it
        if self._told:  # and the exception was lost, which may happen in a finalizer
            raise KeyboardInterrupt

        def wait() -> None:
            while True:
                signal.sigwait(self._ENDING)
                server.signal_handler_interrupt()  # type: ignore[no-untyped-call]

        threading.Thread(target=wait, daemon=True).start()


def _unraisable(lost: "sys.UnraisableHookArgs") -> None:
    """Say nothing of an interrupt that a finalizer lost: `Signals` has not lost it, and somebody pressed Ctrl-C."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)


def _run(signals: Signals, host: str, port: int, workers: int) -> None:
    server = MPServer(
        "todo_app.worker:create_worker",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.auto if sys.platform == "win32" else Loops.uvloop,
        # HTTP/2 ends at the proxy: without TLS no browser speaks it, and its own floods need its own defences.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000, max_buffer_size=HEAD_BYTES),
        websockets=False,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE,
        backpressure=_connections(),
    )
    if sys.platform == "linux":
        # Python 3.14 has another default, with which Granian starts each worker from nothing.
        multiprocessing.set_start_method("fork", force=True)
    elif sys.platform != "win32":
        # Up to Python 3.13 its start unblocks the signals that `Signals.end` blocks: it must have been started before.
        resource_tracker.ensure_running()
    import todo_app.main  # noqa: F401  (once for all workers, which then share the memory and start in no time)

    keep_for_good()
    signals.end(server)
    server.serve()


def _connections() -> int:
    """How many clients a worker may hold at once. Granian's own 1024 for all workers are soon held by idle ones.

    Raises the limit on open files, which the workers inherit, as far as it may.
    """
    if sys.platform == "win32":
        return _CONNECTIONS_ON_WINDOWS
    import resource  # there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        soft = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = OPEN_FILES if soft == resource.RLIM_INFINITY else min(soft, OPEN_FILES)
    return max(files - _OWN_FILES, files // 2)


def _require_free(host: str, port: int) -> None:
    """Granian would share a port that another instance of it has; nobody who starts a second server means that."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(f"--host {host} --port {port} cannot be used: {error.strerror}") from error


def _with_local_secret(settings: Settings) -> Settings:
    return settings if settings.secret else replace(settings, secret=local_secret(settings.data_dir))


def _greet(settings: Settings, host: str, port: int) -> None:
    """Tell a newcomer, on standard error, where things are and a first request that works."""
    assert settings.secret is not None  # noqa: S101  (settled by _with_local_secret)
    token = token_for(DEVELOPMENT_USER, DEVELOPMENT_TOKEN_LIFE, settings.secret, settings)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = [
        f"Serving {address} (documentation at {address}/docs)",
        f"Data in {settings.data_dir}",
        "A first task, with a token for the user `dev` that is good for a day:",
        f"  curl {address}/api/{DEVELOPMENT_USER}/tasks -H 'Content-Type: application/json' \\",
        f"    -H 'Authorization: Bearer {token}' -d '{{\"title\": \"Buy oat milk\"}}'",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201
