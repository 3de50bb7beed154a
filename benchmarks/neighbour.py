"""How much one user slows down another: latencies of a victim during each attack.

    nox -s neighbour                                # rewrites the table in docs/performance.md
    nox -s neighbour -- --dry --only pages unread   # prints it

Each attack is repeated until the victim has had `SAMPLES` answers beside it.

One worker process on a PostgreSQL of its own. The victim, in a process of its own, sends one small request after the
other; its worst answer beside an attack is compared with its 99th percentile when nothing else goes on. The time in
which the machine itself stood still (`standstill`) is not counted, and reported apart. Attackers have valid tokens, and
no limit on requests an hour. What they cost themselves is not to be measured: their process gives way to all others, as
if it had a machine of its own.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import httpx
import uvloop

from benchmarks import report, usage
from benchmarks.load import User, send
from benchmarks.standstill import Standstills, overlap, watched
from benchmarks.subjects import Server, database, serving, user_named
from todo_adapters.postgres.migrations import migrate
from todo_app.http.headers import TAGS_MAX
from todo_core.queries import folded
from todo_core.use_cases.batch import BATCH_MAX

ALLOWED = 10  # times the quiet 99th percentile
PAUSE = 0.005  # seconds between two requests of the victim
HOARD = 10_000  # tasks, as many as a user may have
FAMILY = 4000
SETTLE = 1.0  # seconds after an attack
SAMPLES = 100  # requests of the victim beside each attack, at least
FULL = "😀" * 1000  # no description takes more bytes
SEPARATES = "abcdefghijklmnopqrstuvwxy"  # repeated four times it is what `strpos` compares most of
WIDEST = "\ufdfa"  # no character is longer folded: 18


class Search(NamedTuple):
    """What somebody searches through, and for what: nearly everywhere in the text, but nowhere quite."""

    text: str
    needle: str


# Each needle is as long as a search may be once folded. Each text is a whole description.
SEARCHES = {
    "repeats at its end": Search("a" * 1000, "b" + "a" * 99),
    "does not repeat at its end": Search("a" * 1000, "a" * 99 + "b"),
    "repeats too seldom to be treated as one that does": Search(SEPARATES * 40, "b" + (SEPARATES * 4)[1:]),
    "grows when it is folded": Search(WIDEST * 1000, "b" + WIDEST * 5 + folded(WIDEST)[:9]),
}

ORIGIN = "http://localhost:3000"
SETTINGS = {"TODO_CORS_ORIGINS": ORIGIN, "TODO_TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8"}
_BLANKS, _DIGITS = " " * 60_000, "1" * 60_000
LONG_HEADERS = {
    "Accept": ["application/json," * 4_000, f"application/json,{_BLANKS}text/event-stream"],
    "Accept-Encoding": ["gzip;q=0.," * 6_000, f",{_BLANKS}gzip"],
    "Access-Control-Request-Headers": ["a," * 30_000, "a" * 60_000, f"a{_BLANKS},"],
    "Access-Control-Request-Method": ["A" * 60_000],
    "Authorization": [f"Bearer {'a' * 60_000}", f"Bearer {'a.' * 30_000}", f"Bearer{_BLANKS}", "b" * 60_000],
    "Content-Encoding": [f"identity{_BLANKS}", "a" * 60_000],
    "Content-Length": ["0" * 60_000 + "13", _DIGITS],
    "Content-Type": [f"application/json;{_BLANKS}x", f"application/json{_BLANKS}x", "a" * 60_000],
    "Host": ["a" * 60_000],
    "Idempotency-Key": [f'"{"a" * 60_000}', '"' + "\\\\" * 30_000, _DIGITS],
    "If-Match": [f'"1"{_BLANKS}x', '"1",' * 15_000, "," * 60_000, f'"{_DIGITS}"'],
    "If-None-Match": [f'"1"{_BLANKS}x', '"1",' * 15_000],
    "Last-Event-ID": ["a" * 60_000, _DIGITS],
    "MCP-Protocol-Version": ["2025-11-25" * 6_000],
    "Merge-Base": [f'"{_DIGITS}"', f'"1"{_BLANKS}x'],
    "Origin": ["https://" + "a" * 60_000],
    "Time-Zone": ["Europe/" * 8_000, "a" * 60_000],
    "Transfer-Encoding": ["chunked," * 7_000, f"chunked{_BLANKS}"],
    "X-Forwarded-For": ["10.0.0.1:1," * 5_800],
    "X-Request-Id": ["a" * 60_000],
}
BESIDE = {"X-Forwarded-For": {"Authorization": "Bearer unknown"}}
"""With which other headers one is read at all."""


@dataclass
class Victim:
    """Sends requests from a process of its own; `seen` is when each was sent, how long it took, and its status."""

    standstills: Standstills
    seen: list[tuple[float, float, int]] = field(default_factory=list)

    def during(self, began: float, ended: float) -> list[tuple[float, int]]:
        """Latency in milliseconds, without standstills of the machine, and status of those that were under way then."""
        still = self.standstills.seen()
        return [
            ((took - overlap(still, at, at + took)) * 1e3, status)
            for at, took, status in self.seen
            if at + took >= began and at <= ended
        ]

    async def one_after(self, moment: float) -> None:
        """Wait until one that was sent after that moment has been answered."""
        while not self.seen or self.seen[-1][0] < moment:  # noqa: ASYNC110  (a benchmark may look again and again)
            await asyncio.sleep(0.1)


@dataclass
class Stage:
    """Where it happens, and who takes part."""

    server: Server
    user: User
    searchers: list[User]
    hoarder: User
    """Has 10 000 tasks in one list, whose id is `tasks[0]`."""
    batcher: User
    """Has one list, whose id is `tasks[0]`."""
    parent: User
    """Has 4000 tasks below `tasks[0]`."""
    changes: int = 0
    """The number of the hoarder's last change."""
    statuses: Counter[int] = field(default_factory=Counter)

    def head(self, user: User, method: str, path: str, *fields: str) -> bytes:
        """The head of a request to what that user has."""
        lines = [f"{method} /api/{user.name}/{path} HTTP/1.1", "Host: x", f"Authorization: Bearer {user.token}"]
        return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1")

    def call(self, tool: str) -> bytes:
        """The attacker's call of a tool."""
        asked = {"name": tool, "arguments": {"limit": 200}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}).encode()
        lines = ["POST /mcp HTTP/1.1", "Host: x", f"Authorization: Bearer {self.user.token}"]
        lines += ["Accept: application/json, text/event-stream", "Content-Type: application/json"]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body

    async def ask(self, request: bytes, *, reads: bool = True) -> asyncio.StreamWriter:
        """Send a request on a connection of its own, and count how it is answered."""
        address = urlsplit(self.server.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**14 if reads else 1)
        writer.write(request)
        if reads:
            with suppress(OSError, asyncio.IncompleteReadError, ValueError):
                head = await reader.readuntil(b"\r\n\r\n")
                self.statuses[int(head[9:12])] += 1
                length = head.lower().partition(b"content-length:")[2].split(b"\r", 1)[0]
                await reader.readexactly(int(length or 0))
            writer.transport.abort()
        return writer


async def toggles(stage: Stage) -> None:
    """900 simultaneous toggles of one task"""
    request = stage.head(stage.user, "PATCH", f"tasks/{stage.user.tasks[0]}/complete")
    await asyncio.gather(*(stage.ask(request) for _ in range(900)))


async def pages(stage: Stage) -> None:
    """900 full pages"""
    request = stage.head(stage.user, "GET", "tasks?limit=200")
    await asyncio.gather(*(stage.ask(request) for _ in range(900)))


async def tags(stage: Stage) -> None:
    """320 DELETEs with as many entity tags as 8 KiB hold, which are refused"""
    await _delete(stage, list(range(100_000, 100_909)))


async def allowed_tags(stage: Stage) -> None:
    """320 DELETEs with as many entity tags as are allowed, none of them the task's"""
    await _delete(stage, list(range(999_999_999, 999_999_999 - TAGS_MAX, -1)))


async def _delete(stage: Stage, versions: list[int]) -> None:
    listed = ",".join(f'"{version}"' for version in versions)
    request = stage.head(stage.user, "DELETE", f"tasks/{stage.user.tasks[1]}", f"If-Match: {listed}")
    await asyncio.gather(*(stage.ask(request) for _ in range(320)))


async def searches(stage: Stage) -> None:
    """four searchers with 4000 tasks each, three searches at a time"""
    end = time.monotonic() + 5

    async def search(user: User, needle: str) -> None:
        while time.monotonic() < end:
            await stage.ask(stage.head(user, "GET", f"tasks?q={quote(needle)}"))

    pairs = zip(stage.searchers, SEARCHES.values(), strict=True)
    await asyncio.gather(*(search(user, kind.needle) for user, kind in pairs for _ in range(3)))


async def unread(stage: Stage) -> None:
    """500 full pages that nobody reads"""
    request = stage.head(stage.user, "GET", "tasks?limit=200")
    held = await asyncio.gather(*(stage.ask(request, reads=False) for _ in range(500)))
    await asyncio.sleep(4)
    for writer in held:
        writer.transport.abort()


async def long_headers(stage: Stage) -> None:
    """long headers of every kind that is parsed"""
    message = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    body = b'{"title":"x"}'.ljust(len(message))
    usual = {
        "Accept": "application/json, text/event-stream",
        "Host": "x", "Authorization": f"Bearer {stage.user.token}", "Content-Type": "application/json",
        "Content-Length": str(len(body)), "Origin": ORIGIN, "Access-Control-Request-Method": "POST",
    }  # fmt: skip
    task = f"tasks/{stage.user.tasks[2]}"
    for name, values in LONG_HEADERS.items():
        for value in values:
            fields = usual | BESIDE.get(name, {}) | {name: value}
            lines = "".join(f"{each}: {sent}\r\n" for each, sent in fields.items())
            for method, path in (
                ("POST", "tasks"),
                ("GET", task),
                ("PATCH", task),
                ("GET", "events"),
                ("OPTIONS", task),
                ("GET", "/docs"),
                ("POST", "/mcp"),
            ):
                target = path if path.startswith("/") else f"/api/{stage.user.name}/{path}"
                head = f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
                sent = head + (message if path == "/mcp" else body)
                await asyncio.gather(*(stage.ask(sent) for _ in "1234"))


async def slow_bodies(stage: Stage) -> None:
    """300 bodies that arrive byte by byte"""
    request = stage.head(stage.user, "POST", "tasks", "Content-Type: application/json", "Content-Length: 60000")
    held = await asyncio.gather(*(stage.ask(request, reads=False) for _ in range(300)))
    for _ in range(40):
        for writer in held:
            if not writer.is_closing():  # which those are that were refused
                writer.write(b" ")
        await asyncio.sleep(0.1)
    for writer in held:
        writer.transport.abort()


async def idle(stage: Stage) -> None:
    """1000 idle connections, half of them within a head"""
    held = await asyncio.gather(*(stage.ask(b"POST / HT" * (each % 2), reads=False) for each in range(1000)))
    await asyncio.sleep(4)
    for writer in held:
        writer.transport.abort()


async def large(stage: Stage) -> None:
    """a list of 10 000 tasks is deleted, and that is undone"""
    await stage.ask(stage.head(stage.hoarder, "DELETE", f"lists/{stage.hoarder.tasks[0]}"))
    stage.changes += 2
    await stage.ask(stage.head(stage.hoarder, "POST", f"changes/{stage.changes - 1}/undo", "Content-Length: 0"))


async def batches(stage: Stage) -> None:
    """64 simultaneous batches, each of 100 creations in one list"""
    task = {"title": "Buy oat milk", "list_id": stage.batcher.tasks[0]}
    body = json.dumps({"operations": [{"op": "create", "task": task}] * BATCH_MAX}).encode()
    fields = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    request = stage.head(stage.batcher, "POST", "batch", *fields) + body
    await asyncio.gather(*(stage.ask(request) for _ in range(64)))


async def refused(stage: Stage) -> None:
    """16 simultaneous batches of a megabyte each, which are refused"""
    body = b'{"operations":[%b]}' % b",".join([b"{}"] * 333_000)
    fields = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    request = stage.head(stage.batcher, "POST", "batch", *fields) + body
    await asyncio.gather(*(stage.ask(request) for _ in range(16)))


async def family(stage: Stage) -> None:
    """a task with 4000 subtasks is moved to the trash, and restored"""
    await stage.ask(stage.head(stage.parent, "DELETE", f"tasks/{stage.parent.tasks[0]}"))
    await stage.ask(stage.head(stage.parent, "POST", f"trash/{stage.parent.tasks[0]}/restore", "Content-Length: 0"))


async def previews(stage: Stage) -> None:
    """400 simultaneous previews of 100 dates, which wait for nothing"""
    rule = "FREQ%3DMONTHLY%3BBYDAY%3D-1FR%3BBYMONTH%3D2"
    request = stage.head(stage.user, "GET", f"occurrences?limit=100&due_date=2026-01-01&recurrence={rule}")
    await asyncio.gather(*(stage.ask(request) for _ in range(400)))


async def texts(stage: Stage) -> None:
    """400 simultaneous creations of the texts that grow most when they are folded"""
    tags = [f"{WIDEST * 45}{number}" for number in range(20)]
    body = json.dumps({"title": WIDEST * 200, "description": WIDEST * 1000, "tags": tags}).encode()
    fields = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    request = stage.head(stage.user, "POST", "tasks", *fields) + body
    await asyncio.gather(*(stage.ask(request) for _ in range(400)))


async def agents(stage: Stage) -> None:
    """200 simultaneous calls of `list_tasks` by agents, each of 200 tasks"""
    await _call(stage, "list_tasks")


async def log(stage: Stage) -> None:
    """200 simultaneous calls of `search_changes` by agents, each of 200 changes"""
    await _call(stage, "search_changes")


async def _call(stage: Stage, tool: str) -> None:
    request = stage.call(tool)
    await asyncio.gather(*(stage.ask(request) for _ in range(200)))


async def bad_tokens(stage: Stage) -> None:
    """900 simultaneous requests with as many bad tokens"""
    head = stage.head(stage.user, "GET", "tasks").replace(b"Bearer ", b"Bearer %b")
    await asyncio.gather(*(stage.ask(head % (b"%d" % number)) for number in range(900)))


async def paths(stage: Stage) -> None:
    """900 simultaneous requests to a path that does not exist"""
    request = stage.head(stage.user, "GET", "nothing")
    await asyncio.gather(*(stage.ask(request) for _ in range(900)))


async def quiet(_: Stage) -> None:
    """nothing"""
    await asyncio.sleep(6)


ATTACKS: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "toggles": toggles, "pages": pages, "tags": tags, "allowed-tags": allowed_tags, "searches": searches,
    "unread": unread, "large": large, "family": family, "batches": batches, "refused": refused, "headers": long_headers,
    "bodies": slow_bodies, "idle": idle, "previews": previews, "texts": texts, "agents": agents, "log": log,
    "bad-tokens": bad_tokens, "paths": paths,
}  # fmt: skip


def _fill(server: Server, user: User, tasks: int, description: str) -> None:
    body = json.dumps({"title": "Buy oat milk", "description": description}).encode()
    lines = [f"POST /api/{user.name}/tasks HTTP/1.1", "Host: x", f"Authorization: Bearer {user.token}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]

    def note(status: int, answer: bytes, _: float) -> None:
        if status != 201:
            raise SystemExit(f"a task could not be made: {status} {answer.decode(errors='replace')}")
        user.tasks.append(json.loads(answer)["id"])

    asyncio.run(send(server.url, ("\r\n".join(lines).encode() + body for _ in range(tasks)), note, 16))


def _hoard(server: Server, user: User, batches: int, *, below: str = "list_id") -> int:
    """Give that user a list, or a task, with the tasks of that many batches. Returns the number of the last change."""
    url = f"{server.url}/api/{user.name}"
    path, top = ("lists", {"name": "Everything"}) if below == "list_id" else ("tasks", {"title": "Everything"})
    with httpx.Client(headers={"Authorization": f"Bearer {user.token}"}, timeout=30) as client:
        user.tasks.append(client.post(f"{url}/{path}", json=top).json()["id"])
        task = {"title": "Buy oat milk", "description": "from the corner shop", below: user.tasks[0]}
        batch = {"operations": [{"op": "create", "task": task}] * BATCH_MAX}
        for _ in range(batches):
            client.post(f"{url}/batch", json=batch).raise_for_status()
    return 1 + batches


@contextmanager
def _stage(options: argparse.Namespace) -> Iterator[tuple[Stage, User]]:
    with database() as base:
        migrate(url := base.make("neighbour"))
        with serving("todo-api", url, settings=SETTINGS) as server:
            searchers = [user_named(f"searcher-{number}") for number in range(len(SEARCHES))]
            named = [user_named(name) for name in ("hoarder", "batcher", "parent")]
            stage = Stage(server, user_named("attacker"), searchers, *named)
            stage.changes = _hoard(server, stage.hoarder, HOARD // BATCH_MAX)
            _hoard(server, stage.batcher, 0)
            _hoard(server, stage.parent, FAMILY // BATCH_MAX, below="parent_id")
            _fill(server, victim := user_named("victim"), 20, "from the corner shop")
            _fill(server, stage.user, 200, FULL)
            for searcher, kind in zip(stage.searchers, SEARCHES.values(), strict=True):
                _fill(server, searcher, options.searched, kind.text)
            asyncio.run(stage.ask(stage.call("list_tasks")))  # the first one loads the SDK, for a second
            yield stage, victim


async def _measure(stage: Stage, victim: User, names: list[str], standstills: Standstills) -> list[list[object]]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.neighbour", "--victim", stdin=pipe, stdout=pipe, start_new_session=True
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
    process.stdin.write(json.dumps([stage.server.url, victim.name, victim.token, victim.tasks]).encode())
    process.stdin.close()
    seen = Victim(standstills)

    async def follow(lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            seen.seen.append(tuple(json.loads(line)))

    following = asyncio.create_task(follow(process.stdout))
    _give_way()  # what has been started keeps its own
    try:
        await seen.one_after(time.monotonic())
        await asyncio.sleep(SETTLE)
        rows = [await _row(stage, seen, quiet)]
        for name in names:
            rows.append(await _row(stage, seen, ATTACKS[name]))
            print(*rows[-1], file=sys.stderr, flush=True)
    finally:
        process.terminate()
        await following
    usual = float(str(rows[0][3]))
    return [[*row[:5], float(str(row[4])) / usual, *row[5:]] for row in rows]


def _give_way() -> None:
    """Let this process use only the processor time that no other process wants.

    Beside a process that is only `nice`, Linux left two threads of the server on one processor: one that runs nothing
    but `SCHED_IDLE` counts as idle. With autogroups (sched(7)), sessions share the processors equally, whatever the
    priorities of their processes: hence the session's own, and a session of the victim's.
    """
    if sys.platform != "linux":
        os.nice(19)
        return
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


async def _row(stage: Stage, seen: Victim, attack: Callable[[Stage], Awaitable[None]]) -> list[object]:
    stage.statuses.clear()
    before, began = usage.memory_mib(stage.server.pid), time.monotonic()
    attacking = asyncio.ensure_future(_repeat(stage, seen, attack, began))
    most = before
    while not attacking.done():
        await asyncio.wait({attacking}, timeout=0.5)
        most = max(most, usage.memory_mib(stage.server.pid))
    attacking.result()
    ended = time.monotonic()
    await seen.one_after(ended)  # and so the last that the attack delayed has been answered
    await asyncio.sleep(SETTLE)
    found = sorted(took for took, _ in seen.during(began, ended))
    failed = sum(not 200 <= status < 300 for _, status in seen.during(began, ended))
    answers = ", ".join(f"{count} × {status}" for status, count in sorted(stage.statuses.items())) or "–"
    p99 = found[min(len(found) - 1, int(len(found) * 0.99))]
    return [attack.__doc__, len(found), statistics.median(found), p99, found[-1], failed, most - before, answers]


async def _repeat(stage: Stage, seen: Victim, attack: Callable[[Stage], Awaitable[None]], began: float) -> None:
    """Attack until enough answers of the victim's fall into it."""
    while len(seen.during(began, time.monotonic())) < SAMPLES:
        await attack(stage)


async def _be_victim(url: str, name: str, token: str, tasks: list[str]) -> None:
    """One request after the other, each reported on standard output."""
    address = urlsplit(url)
    gets = [f"/{tasks[0]}", "?limit=1", "?limit=20", "?completed=false&limit=5", "?q=shop&limit=5"]
    kinds = [*(("GET", below) for below in gets), ("PATCH", f"/{tasks[1]}/complete"), ("POST", ""), ("DELETE", "")]
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    made = None
    for method, below in cycle(kinds):
        at = time.monotonic()
        body = json.dumps({"title": "Buy oat milk"}) if method == "POST" else ""
        writer.write(
            f"{method} /api/{name}/tasks{f'/{made}' if method == 'DELETE' else below} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            f"{body}".encode()
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"content-length:")[2].split(b"\r", 1)[0]
        content = await reader.readexactly(int(length or 0))
        if method == "POST":
            made = json.loads(content).get("id")
        print(json.dumps([at, time.monotonic() - at, int(answer[9:12])]), flush=True)
        await asyncio.sleep(PAUSE)


def _summary(rows: list[list[object]]) -> str:
    """The two figures that count."""
    worst = max(rows[1:], key=lambda row: float(str(row[5])))
    return (
        f"The victim's 99th percentile with nothing else going on: {float(str(rows[0][3])):.1f} ms. "
        f"Its worst answer beside an attack took {float(str(worst[5])):.1f} times that: {worst[0]}."
    )


def _told(standstills: Standstills) -> str:
    if not standstills.are_known():
        return "Whether the machine itself stood still is not known."
    spans = ", ".join(f"{(to - since) * 1e3:.0f}" for since, to in standstills.seen())
    return f"Milliseconds in which the machine itself stood still, which are not counted: {spans or 'none'}."


def _main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.neighbour", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--searched", type=int, default=4000, help="tasks of each searcher")
    parser.add_argument("--dry", action="store_true", help="print, but write no file")
    parser.add_argument("--victim", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.victim:
        uvloop.run(_be_victim(*json.load(sys.stdin)))
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    busy = usage.load()
    with _stage(options) as (stage, victim), watched() as standstills:
        rows = uvloop.run(_measure(stage, victim, options.only, standstills))
        stood = _told(standstills)
    head = ["beside", "requests", "median ms", "p99 ms", "worst ms", "worst ÷ quiet p99", "failed", "server + MiB"]
    made = f"Made by `nox -s neighbour`; {busy} before, {usage.load()} after."
    text = f"{made}\n{_summary(rows)}\n{stood}\n\n{report.table([*head, 'the attacker is answered'], rows)}"
    print(text)
    if not options.dry:
        report.put("neighbour", text)
    felt = [str(row[0]) for row in rows[1:] if float(str(row[5])) > ALLOWED or row[6]]
    if felt:
        sys.exit(f"felt by another: {'; '.join(felt)}")


if __name__ == "__main__":
    _main()
