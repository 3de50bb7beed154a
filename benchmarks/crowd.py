"""One process of the soak's clients: modelled users, and hostile clients beside them.

As a program it takes a `Crowd` as JSON on standard input. On standard output it reports, one JSON object a line, how
many requests have been answered so far; the last line has the counts by kind and status. A wrong answer ends it, and is
reported on standard error.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import uvloop

from benchmarks.hostile import Attacker
from benchmarks.http1 import Client
from benchmarks.judging import Tally, WrongAnswer
from benchmarks.modelled import ModelledUser
from todo_adapters.jwt_identity import issue_token

REPORT_EVERY = 0.25  # seconds
GREED = 0.5  # the greedy ask that much more than their share
CONCURRENT = 0.5  # the share of the others that ask concurrently
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Crowd:
    """Who asks, how often in all, and the secret and the limits with which the server was started."""

    host: str
    port: int
    secret: str
    limit: int
    names: list[str]
    greedy: int  # so many of them ask more, and without waiting for their turns: more than the limit lets pass
    requests: int
    seconds: float  # beyond which nobody asks any more
    hostile: int  # so many requests more
    attackers: int
    idle: int  # connections on which a request is begun and never ended
    seed: int


def _token(secret: str, name: str, life: timedelta = _DAY) -> str:
    return issue_token(secret.encode(), name, _DAY, datetime.now(UTC) - _DAY + life)


def _bad_tokens(crowd: Crowd) -> list[str]:
    """Expired, signed with another secret, altered, of another algorithm, and nonsense."""
    name = crowd.names[0]
    good = _token(crowd.secret, name)
    head, claims, signature = good.split(".")
    return [
        _token(crowd.secret, name, -timedelta(minutes=5)),
        _token("another secret that is long enough to be one", name),
        f"{head}.{claims[:-2]}.{signature}",
        f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.",
        "x.y.z",
    ]


def _users(crowd: Crowd, bad_tokens: list[str], tally: Tally) -> list[ModelledUser]:
    users = [
        ModelledUser(
            Client(crowd.host, crowd.port), name, _token(crowd.secret, name),
            bad_tokens=bad_tokens, limit=crowd.limit, tally=tally, seed=f"{crowd.seed} {name}",
        )
        for name in crowd.names
    ]  # fmt: skip
    for user in users:
        user.others += [other for other in users if other is not user]
    return users


def _attackers(crowd: Crowd, victims: list[ModelledUser], bad_tokens: list[str], tally: Tally) -> list[Attacker]:
    names = [f"attacker-{crowd.names[0]}-{number}" for number in range(crowd.attackers)]
    return [
        Attacker(
            (crowd.host, crowd.port), name, _token(crowd.secret, name),
            victims=victims, bad_tokens=bad_tokens, tally=tally, seed=f"{crowd.seed} {name}",
        )
        for name in names
    ]  # fmt: skip


async def _hold(crowd: Crowd) -> None:
    """Keep a request begun for as long as the server lets it, again and again."""
    while True:
        reader, writer = await asyncio.open_connection(crowd.host, crowd.port)
        writer.write(b"POST / HTTP/1.1\r\nHost:")
        try:
            await reader.read()
        finally:
            writer.transport.abort()


async def _report(everybody: Sequence[ModelledUser | Attacker]) -> None:
    while True:
        await asyncio.sleep(REPORT_EVERY)
        print(json.dumps({"asked": sum(each.asked for each in everybody)}), flush=True)


async def drive(crowd: Crowd) -> Tally:
    """Let them all ask concurrently. Raises the first `WrongAnswer`."""
    tally: Tally = Counter()
    bad_tokens = _bad_tokens(crowd)
    users = _users(crowd, bad_tokens, tally)
    attackers = _attackers(crowd, users, bad_tokens, tally)
    share = round(crowd.requests / (len(users) + GREED * crowd.greedy))
    wants = [share + (place < crowd.greedy) * round(GREED * share) for place in range(len(users))]
    wants[-1] += crowd.requests - sum(wants)
    background = [
        asyncio.create_task(_report([*users, *attackers])),
        *(asyncio.create_task(_hold(crowd)) for _ in range(crowd.idle)),
    ]
    end, turns = monotonic() + crowd.seconds, asyncio.Semaphore(max(1, round(CONCURRENT * len(users))))
    async with asyncio.TaskGroup() as group:
        for place, (user, want) in enumerate(zip(users, wants, strict=True)):
            group.create_task(user.live(want, end, nullcontext() if place < crowd.greedy else turns))
        for place, attacker in enumerate(attackers):
            want = crowd.hostile // crowd.attackers + (place < crowd.hostile % crowd.attackers)
            group.create_task(attacker.live(want, end))
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    return tally


def _main() -> None:
    given: dict[str, Any] = json.load(sys.stdin)
    try:
        tally = uvloop.run(drive(Crowd(**given)))
    except* WrongAnswer as wrong:
        sys.exit(f"a wrong answer: {wrong.exceptions[0]}")
    counted = [[kind, status, count] for (kind, status), count in tally.items()]
    print(json.dumps({"asked": sum(tally.values()), "tally": counted}), flush=True)


if __name__ == "__main__":
    _main()
