"""Side by side in one run: this server, two others and the database's own limit, as CPU time per request.

    nox -s bench                                     # everything, into docs/performance.md and docs/performance.svg
    nox -s bench -- --seconds 1 --rounds 1 --users 30 --dry
    nox -s bench -- --dry --also "Go + pgx=/tmp/go-peer"  # with another server; benchmarks/go tells how to build it
    BETTER_AUTH_SECRET=… nox -s bench -- --url https://todo.example.org --connections 8

The measure is CPU time of the server's processes plus PostgreSQL's: it holds on a busy machine, where requests per
second and latency (printed beside it) do not. The load generator and pgbench are not counted. Rounds are interleaved,
figures are medians. Each server has one worker process and a database of its own in one embedded PostgreSQL.

With `--url` a deployed server is measured from outside: throughput and latency only. Tokens for made-up users
(`bench-…`) are signed with the secret in the environment variable that `--token-secret-from` names; their tasks are
deleted at the end. Mind its rate limit: it counts per user.
"""

import argparse
import asyncio
import os
import shlex
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks import limit, report, usage
from benchmarks.load import MIX, Job, Result, run_apart
from benchmarks.subjects import COMMANDS, Database, Server, comparable, database, forget, seed, serving
from todo_adapters.postgres.migrations import migrate

KINDS = ("get", "list", "create", "toggle", "mix")
OURS, LIMIT = "todo-api", "PostgreSQL alone (pgbench)"
PEER_THREADS = 40
PGBENCH_MAX = 32  # more only take time to connect
HEAD = ("", "CPU µs", "of it server", "of it PostgreSQL", "requests/s", "p50 ms", "p99 ms")


@dataclass(frozen=True)
class Figure:
    """One subject's answer to one kind of load: CPU in microseconds per request."""

    subject: str
    kind: str
    server: float
    postgres: float
    result: Result

    @property
    def cpu(self) -> float:
        return self.server + self.postgres


Measure = Callable[[str, int], Figure]


@contextmanager
def _server(name: str, base: Database, options: argparse.Namespace) -> Iterator[Measure]:
    url = base.make(name.split()[0].lower())
    if name == OURS:
        migrate(url)
    pool = {"PEER_POOL_SIZE": str(options.connections)} if options.connections > PEER_THREADS else {}
    with serving(name, url, settings=pool) as server:
        server.users = seed(server.url, options.users, options.tasks)
        yield lambda kind, number: _measured(server, base, name, kind, number, options)


def _measured(server: Server, base: Database, name: str, kind: str, number: int, options: argparse.Namespace) -> Figure:
    job = Job(server.url, server.users, kind, options.connections, options.seconds, number)
    before = usage.cpu_seconds(server.pid), usage.cpu_seconds(base.pid)
    result = asyncio.run(run_apart(job))
    after = usage.cpu_seconds(server.pid), usage.cpu_seconds(base.pid)
    if result.bad:
        raise SystemExit(f"{name} answered {result.bad} of {result.requests} requests badly")
    spent = [(late - early) / result.requests * 1e6 for early, late in zip(before, after, strict=True)]
    return Figure(name, kind, spent[0], spent[1], result)


@contextmanager
def _limit(base: Database, options: argparse.Namespace) -> Iterator[Measure]:
    url = base.make("pgbench")
    migrate(url)
    limit.fill(url, options.users, options.tasks)
    numbers = {"users": options.users, "tasks": options.tasks, "connections": min(options.connections, PGBENCH_MAX)}

    def measure(kind: str, _: int) -> Figure:
        before = usage.cpu_seconds(base.pid)
        result = asyncio.run(limit.drive(url, kind, **numbers, seconds=options.seconds))
        return Figure(LIMIT, kind, 0.0, (usage.cpu_seconds(base.pid) - before) / result.requests * 1e6, result)

    yield measure


def _side_by_side(options: argparse.Namespace) -> list[Figure]:
    figures = []
    with ExitStack() as stack:
        base = stack.enter_context(database())
        measures = [stack.enter_context(_server(name, base, options)) for name in comparable()]
        measures.append(stack.enter_context(_limit(base, options)))
        for number in range(options.rounds):
            for kind in KINDS:
                for measure in measures:
                    figures.append(figure := measure(kind, number))
                    print(f"{number} {kind:7} {figure.subject:27} {figure.cpu:6.0f} µs", flush=True)
    return figures


def _text(figures: list[Figure], options: argparse.Namespace) -> str:
    subjects = _subjects(figures)
    made = (
        f"Medians of {options.rounds} rounds of {options.seconds:g} s; {options.connections} connections, "
        f"{options.users} users with {options.tasks} tasks each at first; {usage.load()}. Made by `nox -s bench`.\n"
    )
    parts = [made]
    cost = _costs(figures)
    ratios = [[kind, *(cost[OURS][kind] / cost[other][kind] for other in subjects[1:])] for kind in KINDS]
    parts.append(report.table([f"CPU of {OURS} ÷", *subjects[1:]], ratios))
    apart = [[subject, cost[subject]["mix"] / _sum_of_parts(cost[subject])] for subject in subjects]
    parts.append("\n" + report.table(["mix ÷ the weighted sum of its kinds", ""], apart))
    for kind in KINDS:
        rows = [[subject, *_medians(figures, subject, kind)] for subject in subjects]
        parts.append(f"\n**{kind}**\n\n{report.table(HEAD, rows)}")
    rows = [[kind, 1e6 / cost[LIMIT][kind], 1e6 / cost[OURS][kind]] for kind in KINDS]
    parts.append("\n" + report.table(["per CPU second", "transactions, pgbench", f"requests, {OURS}"], rows))
    return "\n".join(parts)


def _costs(figures: list[Figure]) -> dict[str, dict[str, float]]:
    return {subject: {kind: _medians(figures, subject, kind)[0] for kind in KINDS} for subject in _subjects(figures)}


def _subjects(figures: list[Figure]) -> list[str]:
    return list(dict.fromkeys(each.subject for each in figures))


def _sum_of_parts(cost: dict[str, float]) -> float:
    """What a mixed request would cost if its kinds did not disturb each other."""
    return sum(cost[kind] * share for kind, share in MIX.items()) / sum(MIX.values())


def _medians(figures: list[Figure], subject: str, kind: str) -> list[float]:
    mine = [each for each in figures if (each.subject, each.kind) == (subject, kind)]
    columns: list[Callable[[Figure], float]] = [
        lambda each: each.cpu,
        lambda each: each.server,
        lambda each: each.postgres,
        lambda each: each.result.requests / each.result.seconds,
        lambda each: each.result.p50,
        lambda each: each.result.p99,
    ]
    return [statistics.median(map(column, mine)) for column in columns]


def _deployed(options: argparse.Namespace) -> None:
    secret = os.environ.get(options.token_secret_from)
    if not secret:
        raise SystemExit(f"{options.token_secret_from} must hold the secret that the server verifies tokens with")
    users = seed(options.url, options.users, options.tasks, secret, f"bench-{os.getpid()}-")
    try:
        rows = []
        for kind in KINDS:
            job = Job(options.url, users, kind, options.connections, options.seconds)
            result = asyncio.run(run_apart(job))
            rows.append([kind, result.requests / result.seconds, result.p50, result.p99, result.bad])
        print(report.table(["", "requests/s", "p50 ms", "p99 ms", "refused or failed"], rows))
    finally:
        forget(options.url, users)


def _add(text: str) -> None:
    """Measure another server too. Its command gets the variables that the others get."""
    name, _, command = text.partition("=")
    COMMANDS[name] = shlex.split(command)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--dry", action="store_true", help="print, but write no file")
    parser.add_argument("--url", help="measure this server instead")
    parser.add_argument("--token-secret-from", metavar="VARIABLE", default="BETTER_AUTH_SECRET")
    parser.add_argument("--also", metavar="NAME=COMMAND", action="append", type=_add)
    options = parser.parse_args()
    if options.url:
        _deployed(options)
        return
    figures = _side_by_side(options)
    text = _text(figures, options)
    print(f"\n{text}")
    if not options.dry:
        report.put("bench", f"![CPU time per request]({report.PLOT.name})\n\n{text}")
        report.plot(_costs(figures))


if __name__ == "__main__":
    _main()
