"""How cost grows with the work (connections, tasks, workers, requests served), and what sharded tables cost.

    nox -s growth                                # into docs/performance.md: about twenty minutes
    nox -s growth -- --only plans,latency --dry
    nox -s growth -- --seconds 1 --requests 10000 --rows 10000 --dry

CPU is that of the server's processes plus PostgreSQL's, per request.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import count as counting
from itertools import repeat, takewhile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import uvloop

from benchmarks import latency, plans, profile, report, usage
from benchmarks.events import idle
from benchmarks.limit import NEW, fill
from benchmarks.load import Job, Result, User, request, run_apart, send
from benchmarks.memory import table as memory_of_all_kinds
from benchmarks.subjects import Database, Server, database, seed, serving
from todo_adapters.postgres.migrations import migrate
from todo_core import OwnerId, SyncToken
from todo_core.sync import Mark

OURS = "todo-api"
CONNECTIONS = (1, 8, 32, 128, 512)
TABLE_ROWS = (100, 10_000, 1_000_000)
USERS_ROWS = (10, 1_000, 10_000)
KINDS = ("get", "list", "create", "toggle")
LOG_ROWS = (1_000, 10_000, 100_000)
PARTITION = Path(__file__).parents[1] / "deploy/partition.sql"
STREAMS = (100, 300, 1000)
PAGE, PAGES = 10, 100
SYNCED = 100
_FILL = f"""
    insert into tasks {NEW} select 'other-' || n / 1000, uuidv7(), 'Task number ' || n, 'of somebody else', 1,
        now(), now(), 'task number ' || n from generate_series(1, {{rows}}) n
"""
_FILL_LOG = (
    "insert into owners select 'other-' || n, 1000, 1000 from generate_series(0, {rows} / 10) n",
    """
    insert into changes (user_id, number, id, at, action, after)
        select user_id, row_number() over (partition by user_id order by id), id, now(), 'created',
            jsonb_build_object('title', title) from tasks where user_id like 'other-%'
    """,
    """
    insert into used_keys select 'other-' || n / 1000, 'key ' || n, now() - interval '1 ms' * n, 'x', n, '[]'
        from generate_series(1, {rows}) n
    """,
)
_FILL_USER = f"""
    insert into tasks {NEW} select %s, uuidv7(), 'Task number ' || n, 'of one user', 1, now(), now(),
        'task number ' || n || ' of one user' from generate_series(1, %s) n
"""
_FILL_USERS_LOG = """
    insert into changes (user_id, number, id, at, action, before, after)
        select %(user)s, 1 + n, ids.list[1 + n %% 100], clock_timestamp(), 'edited', '{"title": "a"}', '{"title": "b"}'
        from generate_series(1, %(count)s) n, (select array_agg(id) as list from tasks where user_id = %(user)s) as ids
"""


def _new_database(base: Database, name: str) -> str:
    url = base.make(name)
    migrate(url)
    return url


def _execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


def _cost(server: Server, base: Database, job: Job) -> tuple[float, Result]:
    """CPU microseconds per request, and the rest."""
    before = usage.cpu_seconds(server.pid) + usage.cpu_seconds(base.pid)
    result = asyncio.run(run_apart(job))
    if result.bad:
        raise SystemExit(f"{result.bad} of {result.requests} answers were bad")
    return (usage.cpu_seconds(server.pid) + usage.cpu_seconds(base.pid) - before) / result.requests * 1e6, result


def connections(base: Database, options: argparse.Namespace) -> str:
    """One table: get and list over more and more connections."""
    rows = []
    with serving(OURS, _new_database(base, "connections")) as server:
        users = seed(server.url, 300, 20)
        for count in CONNECTIONS:
            row: list[object] = [count]
            for kind in ("get", "list"):
                cpu, result = _cost(server, base, Job(server.url, users, kind, count, options.seconds))
                row += [cpu, result.requests / result.seconds, result.p50, result.p99]
            rows.append(row)
    columns = [f"{kind} {what}" for kind in ("get", "list") for what in ("CPU µs", "requests/s", "p50 ms", "p99 ms")]
    return report.table(["connections", *columns], rows)


def table_rows(base: Database, options: argparse.Namespace) -> str:
    """One table: every kind, in tables of others' tasks."""
    rows = []
    for count in (min(count, options.rows) for count in TABLE_ROWS):
        url = _new_database(base, f"rows{count}-{len(rows)}")
        _execute(url, _FILL.format(rows=count), "vacuum analyze tasks")
        with serving(OURS, url) as server:
            users = seed(server.url, 100, 20)
            job = {"connections": 32, "seconds": options.seconds}
            costs = [_cost(server, base, Job(server.url, users, kind, **job))[0] for kind in KINDS]
        rows.append([f"{count:,}", *costs])
    return report.table(["tasks of others in the table", *(f"{kind} CPU µs" for kind in KINDS)], rows)


def users_rows(base: Database, options: argparse.Namespace) -> str:
    """One table: what one user's many tasks cost that user, asking one thing at a time."""
    url, rows = _new_database(base, "users"), []
    with serving(OURS, url) as server:
        for count in sorted({min(count, options.rows) for count in USERS_ROWS}):
            [user] = seed(server.url, 1, 1, prefix=f"user-{count}-")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(_FILL_USER, [user.name, count - 1])
                connection.execute("vacuum analyze tasks")
            figures = _of_user(server, base, user, count, options.seconds)
            undos = _alone(server, base, _undos(server, url, user), options.seconds)
            rows.append([f"{count:,}", *figures, *undos])
    asked = ("get", f"first page of {PAGE}", f"page {PAGES} by cursor", "search, found nowhere", "toggle", "undo of it")
    columns = [f"{name}, {what}" for name in asked for what in ("CPU µs", "p50 ms")]
    return report.table(["tasks of the user", *columns], rows)


def _of_user(server: Server, base: Database, user: User, count: int, seconds: float) -> list[float]:
    host = urlsplit(server.url).netloc
    first = f"?limit={PAGE}"
    asked = [request(host, user, "get", user.tasks[0]), request(host, user, "list", query=first)]
    figures = [_alone(server, base, repeat(each), seconds) for each in asked]
    if count >= PAGE * PAGES:
        figures.append(_alone(server, base, repeat(request(host, user, "list", query=_deep(server, user))), seconds))
    else:
        figures.append((float("nan"), float("nan")))
    asked = [request(host, user, "list", query=f"{first}&q=nowhere"), request(host, user, "toggle", user.tasks[0])]
    figures += [_alone(server, base, repeat(each), seconds) for each in asked]
    return [value for figure in figures for value in figure]


def _undos(server: Server, url: str, user: User) -> Iterator[bytes]:
    """Requests that undo a toggle, then that, and so on, as long as nobody else changes anything of the user."""
    host = urlsplit(server.url).netloc
    asyncio.run(send(server.url, [request(host, user, "toggle", user.tasks[0])], lambda *_: None, 1))
    with psycopg.connect(url) as connection:
        [(number,)] = connection.execute("select number from owners where user_id = %s", [user.name]).fetchall()
    return (request(host, user, "undo", f"{each}") for each in counting(number))


def _deep(server: Server, user: User) -> str:
    """The query of page 100, found by walking there."""
    host, query = urlsplit(server.url).netloc, f"?limit={PAGE}"
    pages: list[bytes] = []
    for _ in range(PAGES - 1):
        asking = [request(host, user, "list", query=query)]
        asyncio.run(send(server.url, asking, lambda _, body, __: pages.append(body), 1))
        query = f"?limit={PAGE}&cursor={json.loads(pages[-1])['next_cursor']}"
    return query


def _alone(server: Server, base: Database, asked: Iterable[bytes], seconds: float) -> tuple[float, float]:
    """CPU microseconds and median milliseconds of one of these requests, sent one by one over one connection."""
    took: list[float] = []

    def note(status: int, _: bytes, seconds: float) -> None:
        took.append(seconds)
        if status != 200:
            raise SystemExit(f"an answer was bad: {status}")

    end = time.monotonic() + seconds
    before = usage.cpu_seconds(server.pid) + usage.cpu_seconds(base.pid)
    asyncio.run(send(server.url, takewhile(lambda _: time.monotonic() < end, asked), note, 1))
    cpu = usage.cpu_seconds(server.pid) + usage.cpu_seconds(base.pid) - before
    return cpu / len(took) * 1e6, sorted(took)[len(took) // 2] * 1e3


def sync(base: Database, options: argparse.Namespace) -> str:
    """One table: a page of changes, of one user's longer and longer log, beside that of others."""
    url, rows = _new_database(base, "sync"), []
    _execute(url, _FILL.format(rows=options.rows), *(each.replace("{rows}", f"{options.rows}") for each in _FILL_LOG))
    with serving(OURS, url) as server:
        for count in sorted({min(count, options.rows) for count in LOG_ROWS}):
            [user] = seed(server.url, 1, 1, prefix=f"log-{count}-")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(_FILL_USER, [user.name, SYNCED - 1])
                connection.execute(_FILL_USERS_LOG, {"user": user.name, "count": count})
                connection.execute("update owners set number = 1 + %s where user_id = %s", [count, user.name])
                connection.execute("vacuum analyze")
            host = urlsplit(server.url).netloc
            since = ("", *(f"&since={_token(url, user, behind)}" for behind in (SYNCED, 0)))
            asked = [repeat(request(host, user, "changes", query=f"?limit={SYNCED}{each}")) for each in since]
            figures = [_alone(server, base, each, options.seconds) for each in asked]
            figures.append(_alone(server, base, _undos(server, url, user), options.seconds))
            rows.append([f"{count:,}", *(value for figure in figures for value in figure)])
    names = (f"first page of {SYNCED} things", f"{SYNCED} changes behind", "nothing new", "undo of a toggle")
    columns = [f"{name}, {what}" for name in names for what in ("CPU µs", "p50 ms")]
    return report.table([f"log of the user, beside {options.rows:,} rows of others", *columns], rows)


def _token(url: str, user: User, behind: int) -> str:
    """The token of a client that has come so close to the end of the log."""
    near = "select number, id, at from changes where user_id = %s order by number desc, id desc limit 1 offset %s"
    with psycopg.connect(url) as connection:
        [(number, thing, at)] = connection.execute(near, [user.name, behind]).fetchall()
    return SyncToken(Mark(number, thing, at)).encode(OwnerId(user.name))


def streams(base: Database, options: argparse.Namespace) -> str:
    """One table: what more and more streams cost on which nothing happens."""
    rows = []
    for count in (min(count, options.rows) for count in STREAMS):
        with serving(OURS, _new_database(base, f"streams{count}")) as server:
            users = seed(server.url, count, 1)
            rows.append([f"{count:,}", *asyncio.run(idle(server, users, base.pid, options.seconds))])
    return report.table(["idle streams, each of a user", "server, % of a core", "PostgreSQL, %", "memory, MiB"], rows)


def workers(base: Database, options: argparse.Namespace) -> str:
    """One table: one worker process, two, and four."""
    rows = []
    for count in (1, 2, 4):
        with serving(OURS, _new_database(base, f"workers{count}"), workers=count) as server:
            users = seed(server.url, 300, 20)
            for kind in ("get", "list", "toggle"):
                cpu, result = _cost(server, base, Job(server.url, users, kind, 32, options.seconds))
                rows.append([f"{count}, {kind}", cpu, result.requests / result.seconds, result.p50, result.p99])
    return report.table(["workers, kind", "CPU µs", "requests/s", "p50 ms", "p99 ms"], rows)


def sharded(base: Database, options: argparse.Namespace) -> str:
    """One table: what the mode for sharded tables costs on one PostgreSQL, with plain and with partitioned tables."""
    subjects = {
        "neither": (False, False),
        "the mode, on plain tables": (True, False),
        "without the mode, on 16 partitions by user": (False, True),
        "the mode, on 16 partitions by user": (True, True),
    }
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    with ExitStack() as stack:
        servers = {}
        for number, (name, (mode, partitioned)) in enumerate(subjects.items()):
            url = _new_database(base, f"sharded{number}")
            if partitioned:
                _execute(url, PARTITION.read_text())
            setting = {"TODO_DATABASE_SHARDED": str(mode).lower()}
            server = servers[name] = stack.enter_context(serving(OURS, url, settings=setting))
            server.users = seed(server.url, 300, 20)
        for _ in range(3):
            for kind in KINDS:
                for name, server in servers.items():
                    cost, _ = _cost(server, base, Job(server.url, server.users, kind, 32, options.seconds))
                    costs[name, kind].append(cost)
    usual, *others = subjects
    ratios = [
        [name, *(statistics.median(costs[name, kind]) / statistics.median(costs[usual, kind]) for kind in KINDS)]
        for name in others
    ]
    return report.table(["CPU ÷ that without the mode, on plain tables", *KINDS], ratios)


def memory(base: Database, options: argparse.Namespace) -> str:
    """One table: the memory of a server with one worker as requests of every kind go by."""
    with serving(OURS, _new_database(base, "memory")) as server:
        return memory_of_all_kinds(server, seed(server.url, 300, 20), options.requests)


def explained(base: Database, options: argparse.Namespace) -> str:
    """What the plans are at the greatest number of rows, a tenth of them one user's."""
    url = _new_database(base, "plans")
    fill(url, 1, options.rows // 10)
    fillings = [_FILL.format(rows=options.rows - options.rows // 10)]
    fillings += [filling.replace("{rows}", f"{options.rows}") for filling in _FILL_LOG]
    _execute(url, *fillings, "vacuum analyze")
    return asyncio.run(plans.check(url, options.rows))


def alone(base: Database, options: argparse.Namespace) -> str:
    """One table: sharing statements against not sharing them, for somebody who is alone."""
    return uvloop.run(latency.measure(_new_database(base, "latency"), int(options.seconds * 500)))


def layers(base: Database, options: argparse.Namespace) -> str:
    """One table: where a request's time goes."""
    url = _new_database(base, "profile")
    with serving(OURS, url) as server:
        users = seed(server.url, 300, 20)
    return profile.measure(url, users, int(options.seconds * 2500))


PARTS: dict[str, Callable[[Database, argparse.Namespace], str]] = {
    "plans": explained,
    "latency": alone,
    "profile": layers,
    "connections": connections,
    "table": table_rows,
    "user": users_rows,
    "sync": sync,
    "streams": streams,
    "workers": workers,
    "sharded": sharded,
    "memory": memory,
}


def _main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s growth --", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="some of: %(default)s")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rows", type=int, default=1_000_000, help="tasks in the greatest table")
    parser.add_argument("--requests", type=int, default=1_000_000, help="for the memory's curve")
    parser.add_argument("--dry", action="store_true", help="print, but write no file")
    options = parser.parse_args()
    with database() as base:
        for name in options.only.split(","):
            made = f"Made by `nox -s growth -- --only {name}`; {usage.load()}."
            text = f"{made}\n\n{PARTS[name](base, options)}"
            print(f"\n{name}: {text}", flush=True)
            if not options.dry:
                report.put(f"growth {name}", text)


if __name__ == "__main__":
    _main()
