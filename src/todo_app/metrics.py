"""The metrics for Prometheus, by route template. They contain no user's data."""

import asyncio
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from sqlalchemy import event
from sqlalchemy.pool import ConnectionPoolEntry

from todo_adapters.postgres.engine import Engine
from todo_adapters.threads import in_thread
from todo_app.http.exchange import Exchange
from todo_app.settings import METRICS_FOLDER
from todo_core import SyncPage

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_TAKEN: Final = "todo_taken"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)  # seconds


class StreamMetrics:
    """The metrics of event streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open = Gauge("todo_event_streams", "Open event streams.", multiprocess_mode="livesum", registry=registry)
        self._lag = Histogram(
            "todo_event_lag_seconds",
            "Time from a change (database's clock) until it is sent to a waiting stream (this machine's clock).",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._dropped = Counter(
            "todo_event_streams_dropped",
            "Streams that were ended because their client did not read.",
            registry=registry,
        )

    def opened(self) -> None:
        """A stream was opened."""
        self._open.inc()

    def closed(self) -> None:
        """A stream was closed."""
        self._open.dec()

    def pushed(self, page: SyncPage) -> None:
        """Observe how long after its last change a page was sent."""
        self._lag.observe(max(0.0, (datetime.now(UTC) - page.next.mark.at).total_seconds()))

    def dropped(self) -> None:
        """A stream was ended because its client does not read."""
        self._dropped.inc()


class Metrics:
    """One process's metrics; `exposition` includes those of the other workers."""

    def __init__(self) -> None:
        self._scrape: asyncio.Task[bytes] | None = None
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "todo_http_request_duration_seconds",
            "Time from the request's headers to the answer's last byte; `_count` is the number of requests.",
            ("route", "method", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._pool = Gauge(
            "todo_database_connections",
            "Database connections: open ones, and those of them that are in use.",
            ("state",),
            multiprocess_mode="livesum",
            registry=self._registry,
        )
        self.streams = StreamMetrics(self._registry)
        self.limiter_failures = self._counter("todo_rate_limit_store_failures", "Requests that were not limited.")
        self.key_fetch_failures = self._counter("todo_key_fetch_failures", "Failed fetches of the issuer's keys.")
        self.dropped_lines = self._counter("todo_log_lines_dropped", "Log lines dropped because of a full buffer.")
        self._known: dict[tuple[str, str, int], Histogram] = {}
        if METRICS_FOLDER not in os.environ:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, registry=self._registry)

    def request(self, exchange: Exchange, seconds: float) -> None:
        """Count an answered request."""
        route = exchange.route or "none"
        method = exchange.method if exchange.method in METHODS else "other"
        key = route, method, exchange.status
        histogram = self._known.get(key)
        if histogram is None:
            histogram = self._known[key] = self._requests.labels(*key)
        histogram.observe(seconds)

    def watch(self, engine: Engine) -> None:
        """Observe the pool's connections."""
        in_use, open_ = self._pool.labels("in_use"), self._pool.labels("open")
        pool = engine.sync_engine

        @event.listens_for(pool, "checkout")
        def taken(_: object, entry: ConnectionPoolEntry, __: object) -> None:
            entry.info[_TAKEN] = True
            in_use.inc()

        @event.listens_for(pool, "checkin")
        def given_back(_: object, entry: ConnectionPoolEntry) -> None:
            if entry.info.pop(_TAKEN, False):  # what could not be reconnected is given back, but was not taken
                in_use.dec()

        @event.listens_for(pool, "connect")
        def opened(*_: object) -> None:
            open_.inc()

        @event.listens_for(pool, "close")
        def closed(*_: object) -> None:
            open_.dec()

    async def scrape(self) -> bytes:
        """The exposition, made in a thread, one at a time: who asks while one is being made gets that one.

        It takes 30 to 300 ms. It goes on if those who asked go away, so that they cannot start several.
        """
        scrape = self._scrape
        if scrape is None or scrape.done() or scrape.get_loop() is not asyncio.get_running_loop():
            scrape = self._scrape = asyncio.create_task(in_thread(self.exposition))
        return await asyncio.shield(scrape)

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format; only this process's if the shared folder has been removed."""
        folder = os.environ.get(METRICS_FOLDER)
        if folder is None or not Path(folder).is_dir():
            return generate_latest(self._registry)
        _forget_the_dead()
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def _forget_the_dead() -> None:
    """Remove the gauges of workers that have ended; their counters stay."""
    for file in Path(os.environ[METRICS_FOLDER]).glob("gauge_live*_*.db"):
        pid = int(file.stem.rsplit("_", 1)[1])
        if not _lives(pid):
            with suppress(FileNotFoundError):  # another worker removed it first
                mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # gone, or the pid belongs to another user's process now
        return False
    return True
