"""Shared statements are linearizable: for each task, the concurrent calls of its clients have an order.

The last tests break that on purpose, each in a way that sharing statements invites: the judge must notice.
"""

import asyncio
import pickle
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import histories
import pytest
from histories import History, record_store
from linearizability import NO_TASKS, first_impossible, model
from psycopg import AsyncConnection

from todo_adapters.postgres import PostgresTaskStore, create_engine, reading, sender, store, transaction, writing
from todo_adapters.postgres.coalescer import Coalescer
from todo_adapters.postgres.connections import Connections
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.writing import Writing

Change: TypeAlias = Callable[[pytest.MonkeyPatch], None]
Batch: TypeAlias = Callable[[AsyncConnection[Any], Sequence[Any]], Awaitable[Sequence[Any]]]


def as_it_is(patch: pytest.MonkeyPatch) -> None:
    """Shares statements as in production."""


def in_batches(max_calls: int, max_concurrent: int) -> Change:
    """Shares them so that many interleave."""

    def apply(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(sender, "MAX_CALLS", max_calls)
        patch.setattr(sender, "MAX_CONCURRENT", max_concurrent)

    return apply


def over_a_slow_network(patch: pytest.MonkeyPatch) -> None:
    """Questions and answers are on their way for up to three milliseconds."""
    run, chance = Connections.run, random.Random(1)

    async def dawdling(self: Connections, work: Any, **how: int) -> Any:
        await asyncio.sleep(chance.random() * 0.003)
        answer = await run(self, work, **how)
        await asyncio.sleep(chance.random() * 0.003)
        return answer

    patch.setattr(Connections, "run", dawdling)


def dawdle_with_answers(patch: pytest.MonkeyPatch) -> None:
    """Delays what was read by some milliseconds: this is allowed, and stale reads need it to show."""
    read = reading.read_many

    async def read_many(connection: AsyncConnection[Any], keys: Sequence[Any]) -> Sequence[Any]:
        answers = await read(connection, keys)
        await asyncio.sleep(0.005)
        return answers

    patch.setattr(store, "read_many", read_many)


SHARING: dict[str, Change] = {
    "as it is": as_it_is,
    "in batches of three": in_batches(3, 2),
    "in single calls": in_batches(1, 4),
    "over a slow network": over_a_slow_network,
    "with late answers": dawdle_with_answers,
}


def assert_linearizable(history: History) -> None:
    assert len({call.action.kind for call in history}) == len(histories.KINDS), "too few calls to prove anything"
    assert (impossible := first_impossible(history, NO_TASKS, model)) is None, impossible


@pytest.fixture(params=["whole", "sharded"])
def tables(request: pytest.FixtureRequest) -> str:
    """Whether they are in one piece, or in partitions by owner and used as on several machines."""
    return str(request.param)


@pytest.fixture
def database_url(tables: str, database_url: str, partitioned_database_url: str) -> str:
    return partitioned_database_url if tables == "sharded" else database_url


@pytest.fixture
async def engine(database_url: str, tables: str) -> AsyncIterator[Engine]:
    engine = create_engine(database_url, sharded=tables == "sharded")
    yield engine
    await engine.dispose()


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(share, id=name, marks=[] if name == "as it is" else pytest.mark.ci)
        for name, share in SHARING.items()
    ],
)
async def test_one_process_is_linearizable(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch, share: Change
) -> None:
    share(monkeypatch)
    for history in await asyncio.gather(*(record_store(postgres_store, owner) for owner in ("ann", "bob"))):
        assert_linearizable(history)


async def test_two_stores_in_one_process_are_linearizable(postgres_store: PostgresTaskStore, engine: Engine) -> None:
    other = PostgresTaskStore(engine)
    one, two = await asyncio.gather(record_store(postgres_store), record_store(other, seed=100))
    await other.aclose()
    assert_linearizable(one + two)


@pytest.mark.ci
async def test_two_processes_are_linearizable(database_url: str, tables: str) -> None:
    recorders = await asyncio.gather(*(recorder(database_url, tables, seed) for seed in (0, 100)))
    outputs = await asyncio.gather(*(each.communicate(b"go\n") for each in recorders))
    one, two = (pickle.loads(output) for output, _ in outputs)  # noqa: S301  (our own)
    assert max(call.began for call in one) > min(call.began for call in two) < max(call.ended for call in one)
    assert_linearizable(one + two)


async def recorder(url: str, tables: str, seed: int) -> asyncio.subprocess.Process:
    """A process that is ready to record when it reads a line."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(histories.__file__)), url, tables, str(seed), "8", "40", stdin=pipe, stdout=pipe
    )
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    return process


def join_what_is_under_way(patch: pytest.MonkeyPatch) -> None:
    """A read that is already under way is not sent again, although its batch began before the call."""
    dawdle_with_answers(patch)
    under_way: dict[object, asyncio.Future[Any]] = {}
    ask = Coalescer.call

    def call(self: Coalescer[Any, Any], question: Any, **others: Any) -> asyncio.Future[Any]:
        if not (isinstance(question, tuple) and len(question) == 2 and isinstance(question[0], str)):
            return ask(self, question, **others)
        key = repr(question)
        if key not in under_way or under_way[key].done():
            under_way[key] = ask(self, question, **others)
        return under_way[key]

    patch.setattr(Coalescer, "call", call)


def answer_from_an_earlier_batch(patch: pytest.MonkeyPatch) -> None:
    """One of three reads of a task is answered from memory."""
    read, known, count = reading.read_many, {}, iter(range(10**9))

    async def read_many(connection: AsyncConnection[Any], keys: Sequence[Any]) -> Sequence[Any]:
        fresh = await read(connection, keys)
        answers = [known.get(key, now) if next(count) % 3 == 0 else now for key, now in zip(keys, fresh, strict=True)]
        known.update(zip(keys, fresh, strict=True))
        return answers

    patch.setattr(store, "read_many", read_many)


def swap_without_comparing(patch: pytest.MonkeyPatch) -> None:
    """What is written is not compared with what was seen."""
    condition = """
    and tasks.version = call.was_version and tasks.updated_at = call.was_updated_at"""
    assert condition in writing._SAME
    patch.setattr(writing, "_SAME", writing._SAME.replace(condition, ""))
    patch.setattr(store, "SWAPPING", writing._swapping())
    patch.setattr(store, "SWAPPING_ONCE", writing._swapping(keyed=True))
    patch.setattr(store, "REMOVING", writing._removing())
    patch.setattr(store, "REMOVING_ONCE", writing._removing(keyed=True))


def without_the_lock(patch: pytest.MonkeyPatch) -> None:
    """Decides without the owner's lock, and stores the result whatever happened in between."""
    patch.setattr(transaction, "_LOCK_IF_FREE", transaction._LOCK.replace("for no key update", ""))
    patch.setattr(transaction, "_READ", transaction._READ.replace("for no key update", ""))


def exchanged(send: Batch) -> Batch:
    """Two calls of one batch get each other's answer."""

    async def sending(connection: AsyncConnection[Any], calls: Sequence[Any]) -> Sequence[Any]:
        first, *rest = await send(connection, calls)
        return [*rest, first]

    return sending


def exchange_what_was_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store, "read_many", exchanged(reading.read_many))


def exchange_what_was_swapped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store, "SWAPPING", Writing(*map(exchanged, writing.SWAPPING)))


def exchange_what_was_added(patch: pytest.MonkeyPatch) -> None:
    wrong = Writing(*map(exchanged, writing.creating(10_000, keyed=False)))
    patch.setattr(store, "creating", lambda *_, **__: wrong)


def page_in_two_moments(patch: pytest.MonkeyPatch) -> None:
    """Half of a batch's listing is as it was a moment ago."""
    make = store.PagesOf

    def pages_of(shape: Any) -> Any:
        send = make(shape)

        async def torn(connection: AsyncConnection[Any], listings: Sequence[Any]) -> Sequence[Any]:
            before = await send(connection, listings)
            await asyncio.sleep(0.002)
            return [
                type(new)((*old.items[:1], *new.items[1:]), new.next)
                for old, new in zip(before, await send(connection, listings), strict=True)
            ]

        return made.setdefault(shape, torn)

    made: dict[Any, Callable[..., Awaitable[Any]]] = {}
    patch.setattr(store, "PagesOf", pages_of)


BREAKS: dict[str, Change] = {
    "join what is under way": join_what_is_under_way,
    "answer from an earlier batch": answer_from_an_earlier_batch,
    "swap without comparing": swap_without_comparing,
    "decide without the lock": without_the_lock,
    "exchange what was read": exchange_what_was_read,
    "exchange what was swapped": exchange_what_was_swapped,
    "exchange what was added": exchange_what_was_added,
    "page in two moments": page_in_two_moments,
}


@pytest.mark.ci
@pytest.mark.parametrize("sabotage", BREAKS.values(), ids=BREAKS)
async def test_a_store_that_is_not_linearizable_is_detected(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, sabotage: Change
) -> None:
    sabotage(monkeypatch)
    stores = [PostgresTaskStore(engine) for _ in range(2)]  # as in two processes
    try:
        for attempt in range(10):  # what goes wrong is a matter of luck
            recording = (
                record_store(store, f"{attempt}", seed=100 * place + attempt) for place, store in enumerate(stores)
            )
            one, two = await asyncio.gather(*recording, return_exceptions=True)
            if isinstance(one, BaseException) or isinstance(two, BaseException):
                return  # a plan that was shown another task than it asked for is refused, a number used twice too
            if first_impossible(one + two, NO_TASKS, model) is not None:
                return
    finally:
        for each in stores:
            await each.aclose()
    pytest.fail("the fault was not detected")
