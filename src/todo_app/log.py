"""The log: one JSON line per event on standard output."""

import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, TypedDict, Unpack

import msgspec

from todo_app.http.exchange import Exchange
from todo_app.line_writer import LineWriter
from todo_app.loading import without_packages

with without_packages("rich"):  # colors for a terminal, which would be a third of the command line's loading time
    import structlog

QUIET_FOR: Final = 60.0  # seconds between two warnings of the same outage
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Lines(structlog.BytesLogger):
    """structlog's output: receives a rendered event."""

    def __init__(self, lines: LineWriter) -> None:
        self._lines = lines

    def msg(self, message: bytes) -> None:
        self._lines.write(message + b"\n")

    log = debug = info = warn = warning = error = critical = exception = fatal = msg


def _safe(value: Any) -> str:
    return repr(value)


def _render(_: Any, __: str, event: structlog.typing.EventDict) -> bytes:
    try:
        return msgspec.json.encode(event, enc_hook=_safe)
    except UnicodeEncodeError:  # lone surrogates
        return msgspec.json.encode({key: _printable(value) for key, value in event.items()}, enc_hook=_safe)


def _printable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


class _RequestLine(msgspec.Struct, frozen=True, gc=False):
    """A line of the access log, in the form of structlog's events at a fifth of their cost (docs/performance.md)."""

    time: datetime
    method: str
    route: str | None
    status: int
    ms: float
    user: str | None
    request_id: str
    reason: str | msgspec.UnsetType = msgspec.UNSET
    event: str = "request"
    level: str = "info"


_encode: Final = msgspec.json.Encoder().encode


class _Where(TypedDict, total=False):
    """The request in which a bug showed."""

    method: str
    route: str | None
    request_id: str


class Log:
    """The service's log. Never contains a token, header, body, query or raw path; of a token at most `alg` or `kid`."""

    def __init__(
        self, level: str = "info", descriptor: int | None = None, on_drop: Callable[[], object] = lambda: None
    ) -> None:
        self._lines = LineWriter(sys.stdout.fileno() if descriptor is None else descriptor, on_drop)
        self.events: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
            _Lines(self._lines),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                _render,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
            cache_logger_on_first_use=True,
        ).bind()
        self._logs_requests = _LEVELS[level] <= logging.INFO
        self._quiet_until: dict[tuple[str | None, ...], float] = {}
        self.flush: Callable[[], None] = self._lines.flush

    def request(self, exchange: Exchange, seconds: float) -> None:
        """Log a request that has been answered."""
        if self._logs_requests:
            line = _RequestLine(
                datetime.now(UTC),
                exchange.method if exchange.method.isascii() else _printable(exchange.method),
                exchange.route,
                exchange.status,
                round(seconds * 1000, 3),
                exchange.owner,
                exchange.request_id,
                msgspec.UNSET if exchange.reason is None else exchange.reason,
            )
            self._lines.write(_encode(line) + b"\n")

    def bug(self, exchange: Exchange, error: Exception) -> None:
        """Log where an unforeseen exception was raised, without its message, which may quote a user's data."""
        self._bug(error, method=exchange.method, route=exchange.route, request_id=exchange.request_id)

    def tool_bug(self, method: str, error: Exception) -> None:
        """As `bug`, for a request of the Model Context Protocol over standard input."""
        self._bug(error, method=method)

    def _bug(self, error: Exception, **where: Unpack[_Where]) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        at = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self.events.error("bug", exception=type(error).__name__, at=at, **where)

    def database_unavailable(self, cause: BaseException) -> None:
        """Log, at most once a minute for each type and SQLSTATE, why the database did not answer."""
        kind, state = type(cause).__name__, getattr(cause, "sqlstate", None)
        if self._is_due("database_unavailable", kind, state):
            self.events.warning("database_unavailable", exception=kind, sqlstate=state, message=_reason(cause))

    def rate_limit_store_unavailable(self, cause: BaseException) -> None:
        """Log, at most once a minute, that requests are not limited at the moment, and why."""
        if self._is_due("rate_limit_store_unavailable"):
            self.events.warning(
                "rate_limit_store_unavailable",
                exception=type(cause).__name__,
                message=_reason(cause),
                consequence="requests are not limited",
            )

    def _is_due(self, *what: str | None) -> bool:
        if monotonic() < self._quiet_until.get(what, 0.0):
            return False
        self._quiet_until[what] = monotonic() + QUIET_FOR
        return True

    def adopt(self) -> None:
        """Log what libraries log through `logging`, warnings and above."""
        logging.basicConfig(handlers=[_Adopting(self)], level=logging.WARNING, force=True)


def _reason(cause: BaseException) -> str:
    """The first line of the cause's message; of a server's error only the primary one: details may quote values."""
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    text = primary or (str(cause.args[0]) if cause.args else "")  # not `str`: SQLAlchemy adds a link
    return (text.splitlines() or ["no answer in time" if isinstance(cause, TimeoutError) else ""])[0]


def own_handler() -> logging.Handler:
    """A handler with a log of its own, for processes without a `Log`."""
    return _Adopting(Log())


class _Adopting(logging.Handler):
    """Logs a library's record as an event: its text only, without the traceback, which quotes values."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def flush(self) -> None:
        self._log.flush()

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        self._log.events.warning("library", logger=record.name, message=record.getMessage(), exception=error)
