"""Serves the application: checks the settings, starts the embedded database and Granian, and stops both."""

import ctypes
import http.client
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from multiprocessing import resource_tracker
from typing import Any, Final

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from todo_app.listening import BACKLOG, ListeningSocket
from todo_app.loading import without_collections
from todo_app.local import (
    LocalDatabase,
    allow_files_of,
    bring_up_to_date,
    check_pool,
    local_secret,
    open_files,
    token_for,
)
from todo_app.log import Log, own_handler
from todo_app.metrics_folder import metrics_folder
from todo_app.settings import METRICS_FOLDER, Settings, SettingsError
from todo_app.signals import Signals
from todo_app.streams import say
from todo_app.worker import GRACE, exclude_from_collection, prepared

DEVELOPMENT_USER = "dev"
DEVELOPMENT_TOKEN_LIFE = timedelta(days=1)
HEAD_BYTES = 64 * 1024
_OWN_FILES: Final = 64  # of a worker itself, besides its connections to clients and to the database
_USUAL_OPEN_FILES: Final = 1024  # what Linux allows without a setting
_METRICS_FILE: Final = 1024**2  # bytes: more than the metrics of a worker take
_ANSWER_RETRY: Final = 0.05  # seconds
_ANSWER_SECONDS: Final = 10.0  # until it is said that the server does not reach itself
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared only)


def serve(settings: Settings, *, host: str, port: int, workers: int) -> None:
    """Serve until a signal of `Signals`. Raises `SettingsError` if the server cannot start as configured."""
    if settings.database_url is not None and not (settings.secret or settings.jwks_url):
        raise SettingsError(
            "BETTER_AUTH_SECRET, BETTER_AUTH_URL or TODO_JWKS_URL must be set: without them no token can be verified; "
            "for a first try, `export BETTER_AUTH_SECRET=$(openssl rand -hex 32)`"
        )
    connections = _connections(settings)
    with closing(ListeningSocket(host, port)) as listener:
        signals = Signals()
        with LocalDatabase(settings) as database_url, ExitStack() as stack:
            bring_up_to_date(settings, database_url)
            check_pool(settings, database_url, workers)
            greeting = None
            if settings.database_url is None:
                settings = _with_local_secret(settings)
                greeting = _greeting(settings, listener.url)
            # The workers read their settings from the environment, which only this user can read.
            os.environ["DATABASE_URL"] = database_url
            if settings.secret is not None:
                os.environ["BETTER_AUTH_SECRET"] = settings.secret
            if workers > 1:
                allow_files_of(_METRICS_FILE, "each of several workers", "use --workers 1")
                os.environ[METRICS_FOLDER] = str(stack.enter_context(metrics_folder(settings.data_dir)))
            server = _server(listener, workers, settings, connections)
            _run(signals, server, listener, lambda: _report(listener, workers, settings, greeting))


class _Server(MPServer):
    """Granian on an existing socket, which its workers share."""

    def __init__(self, listener: ListeningSocket, **options: Any) -> None:
        super().__init__("todo_app.worker:create_worker", **options)
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Private: Granian (2.8) has no public way. The stub of `SocketHolder` is outdated.
        holder: Any = SocketHolder
        self._ssp, self._sso = None, self._listener.socket
        self._shd = holder(self._sso.fileno(), False, BACKLOG)

    def end(self) -> None:
        self.signal_handler_interrupt()  # type: ignore[no-untyped-call]


def _server(listener: ListeningSocket, workers: int, settings: Settings, connections: int) -> _Server:
    return _Server(
        listener,
        factory=True,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.uvloop,
        # HTTP/2 is left to the proxy: browsers need TLS for it, and its floods need defences of their own.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=settings.keep_alive * 1000, max_buffer_size=HEAD_BYTES),
        websockets=False,
        log_level=LogLevels.warning,
        # Granian's own handlers block if nobody reads standard output, and then no worker is replaced.
        log_dictconfig={"handlers": {name: {"()": own_handler} for name in ("console", "access")}},
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE,
        backpressure=connections + 1,  # Granian (2.8) sometimes accepts one less
    )


def _run(signals: Signals, server: _Server, listener: ListeningSocket, report: Callable[[], None]) -> None:
    _prepare_workers()
    listener.listen()
    signals.end(server)
    threading.Thread(target=report, daemon=True).start()
    server.serve()


def _report(listener: ListeningSocket, workers: int, settings: Settings, greeting: str | None) -> None:
    _wait_until_answered(listener)
    log = Log(settings.log_level)
    for name, meant in settings.misspelt:
        log.events.warning("setting_misspelt", setting=name, meant=meant, consequence="it is ignored")
    for name in settings.trimmed:
        log.events.warning("setting_trimmed", setting=name, consequence="the newline at its end is ignored")
    log.events.info("serving", url=listener.url, workers=workers)
    if greeting is not None:
        say(greeting)


def _prepare_workers() -> None:
    if sys.platform == "linux":
        # Python 3.14 has another default, with which each worker would load everything again.
        multiprocessing.set_start_method("fork", force=True)
    else:
        # Up to Python 3.13, starting it unblocks the signals that `Signals.end` blocks, so start it before.
        resource_tracker.ensure_running()
    with without_collections():
        prepared()
        exclude_from_collection()
    # Return free memory to the system, or each worker would copy it when it uses it. Only glibc can.
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _wait_until_answered(listener: ListeningSocket) -> None:
    """Return once a request to the listener's port has been answered. Say so if that takes long."""
    address, port, *more = listener.socket.getsockname()
    address = _LOOPBACK.get(address, address)
    if more and more[1]:  # the interface of a link-local address
        address += f"%{more[1]}"
    warning = threading.Timer(_ANSWER_SECONDS, _warn, [listener.url])
    warning.daemon = True
    warning.start()
    while True:
        with closing(http.client.HTTPConnection(address, port, timeout=_ANSWER_SECONDS)) as connection:
            try:
                connection.request("GET", "/health/live")
                connection.getresponse()
            except (OSError, http.client.HTTPException):  # the worker that accepted the connection has ended
                time.sleep(_ANSWER_RETRY)
            else:
                warning.cancel()
                return


def _warn(url: str) -> None:
    say(
        f"todo: this machine gets no answer from {url}: if it is not just slow, others may not reach it either; "
        "choose another --host, such as 127.0.0.1, or set the network interface up"
    )


def _connections(settings: Settings) -> int:
    """The maximum number of connections of a worker. Granian's default, 1024 for all workers, is too low for idle ones.

    Raises `SettingsError` if the limit on open files is below what a worker needs to hold all database connections and
    all requests that one user may have.
    """
    files = open_files()
    connections = files - _OWN_FILES - settings.database_pool_size
    of_one_user = settings.concurrent_requests_per_user + settings.waiting_requests_per_user
    if connections < of_one_user:
        needed = files - connections + of_one_user
        raise SettingsError(
            f"the limit on open files is {files}, and a process with these settings needs {needed}: "
            f"raise it (`ulimit -n {max(needed, _USUAL_OPEN_FILES)}`)"
        )
    return connections


def _with_local_secret(settings: Settings) -> Settings:
    return settings if settings.secret else replace(settings, secret=local_secret(settings.data_dir))


def _greeting(settings: Settings, address: str) -> str:
    """Where things are, with a first request that works."""
    assert settings.secret is not None  # noqa: S101  (set by _with_local_secret)
    token = token_for(DEVELOPMENT_USER, DEVELOPMENT_TOKEN_LIFE, settings.secret, settings)
    lines = [
        f"Serving {address} (documentation at {address}/docs)",
        f"Data in {settings.data_dir}",
        "A first task, with a token for the user `dev` that is valid for a day:",
        f"  curl -w '\\n' {address}/api/{DEVELOPMENT_USER}/tasks -H 'Content-Type: application/json' \\",
        f"    -H 'Authorization: Bearer {token}' -d '{{\"title\": \"Buy oat milk\"}}'",
    ]
    return "\n".join(lines)
