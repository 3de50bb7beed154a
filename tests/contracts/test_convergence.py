"""Whoever follows the pages of a sync has what is stored, on every storage; what would break that is found."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
from effort import examples
from sqlalchemy import text
from sqlite_store import SqliteTaskStore

from todo_adapters.memory import MemoryOwnedTasks, MemoryTaskStore
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_core import Entry, OwnerId, SyncPage, SyncQuery, SyncToken, Thing
from todo_core.sync import LogState, Stage
from todo_core.testing import assert_clients_converge


class ForgetfulStore(MemoryTaskStore):
    async def forget(self, owner: OwnerId, before: datetime) -> None:
        if (mine := self._owners.get(owner)) is not None:
            mine.log = [entry for entry in mine.log if entry.at >= before]


def test_on_memory() -> None:
    with asyncio.Runner() as runner:
        store = ForgetfulStore()
        assert_clients_converge(store, run=runner.run, forget=store.forget, examples=examples(400))


def test_on_postgres(shared_database_url: str) -> None:
    with asyncio.Runner() as runner:
        engine = create_engine(shared_database_url)
        store = PostgresTaskStore(engine)

        async def forget(owner: OwnerId, before: datetime) -> None:
            forgotten = text("delete from changes where user_id = :owner and at < :before")
            async with engine.begin() as connection:
                await connection.execute(forgotten, {"owner": owner, "before": before})

        assert_clients_converge(store, run=runner.run, forget=forget, examples=examples(100))
        runner.run(store.aclose())
        runner.run(engine.dispose())


def test_on_sqlite(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        store = SqliteTaskStore(tmp_path / "tasks.db")

        async def forget(owner: OwnerId, before: datetime) -> None:
            forgotten = "delete from log where owner = ? and at < ?"
            moment = before.isoformat(timespec="microseconds")
            await store.transact(lambda connection: connection.execute(forgotten, [owner, moment]))

        assert_clients_converge(store, run=runner.run, forget=forget, examples=examples(100))
        runner.run(store.aclose())


Fault = Callable[[SyncQuery, LogState, SyncPage], SyncPage]


def newest_instead_of_last(_: SyncQuery, state: LogState, page: SyncPage) -> SyncPage:
    return replace(page, next=replace(page.next, mark=state.last or page.next.mark))


def deletions_left_out(_: SyncQuery, __: LogState, page: SyncPage) -> SyncPage:
    return replace(page, items=tuple(item for item in page.items if item.value is not None))


def cut_inside_a_change(_: SyncQuery, __: LogState, page: SyncPage) -> SyncPage:
    return replace(page, next=replace(page.next, mark=page.next.mark._replace(id=UUID(int=2**128 - 1))))


def listing_ends_at_the_newest(_: SyncQuery, state: LogState, page: SyncPage) -> SyncPage:
    return newest_instead_of_last(_, state, page) if page.next.stage is Stage.LISTED else page


def two_listings_without_an_end_between(_: SyncQuery, __: LogState, page: SyncPage) -> SyncPage:
    return replace(page, next=SyncToken(page.next.mark)) if page.next.stage is Stage.LISTED else page


def never_full(_: SyncQuery, __: LogState, page: SyncPage) -> SyncPage:
    return replace(page, full=False)


FAULTS: dict[Fault, str] = {
    newest_instead_of_last: "changed",
    deletions_left_out: "changed",
    cut_inside_a_change: "changed",
    listing_ends_at_the_newest: "listing",
    two_listings_without_an_end_between: "listing",
    never_full: "listing",
}


class CountingStore(ForgetfulStore):
    """Memory that counts whose tasks it was asked for: each history has an owner of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.histories: set[OwnerId] = set()

    def tasks_of(self, owner: OwnerId) -> MemoryOwnedTasks:
        self.histories.add(owner)
        return super().tasks_of(owner)


def found() -> int:
    """In which history the proof fails; it must."""
    store = CountingStore()
    with asyncio.Runner() as runner, pytest.raises(AssertionError):
        assert_clients_converge(store, run=runner.run, forget=store.forget, examples=5000)
    return len(store.histories)


@pytest.mark.ci
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_pages_is_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(SyncQuery, FAULTS[fault])
    monkeypatch.setattr(
        SyncQuery, FAULTS[fault], lambda query, state, found: fault(query, state, right(query, state, found))
    )
    found()


@pytest.mark.ci
def test_changes_that_were_forgotten_without_a_word_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SyncQuery, "_check", lambda *_: None)
    found()


@pytest.mark.ci
def test_numbers_that_come_up_behind_a_token_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they would where numbers were taken before the lock: the change before the last is stored after it."""
    right = SyncQuery.page_of

    def late(query: SyncQuery, things: Iterable[Thing], log: Iterable[Entry], number: int) -> SyncPage:
        return right(query, things, [entry for entry in log if entry.number != number - 1], number)

    monkeypatch.setattr(SyncQuery, "page_of", late)
    found()
