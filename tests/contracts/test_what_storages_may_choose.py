"""The published contract requires what `todo_core.ports` promises and no more, and reports differences early."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from effort import examples
from factories import ANN, LATER, make_task

from todo_adapters.memory import MemoryOwnedTasks, MemoryTaskStore
from todo_core import (
    Committed,
    Entry,
    OwnerId,
    Page,
    Plan,
    Task,
    TaskId,
    TaskNotFound,
    TaskQuery,
    TaskStore,
    VersionConflict,
)
from todo_core.testing import TaskStoreContract, assert_stores_agree
from todo_core.testing.log import replayed


class NotYours(ValueError):
    """A storage's own way to say `ValueError`."""


class NoSuchRow(TaskNotFound):
    """A storage's own way to say `TaskNotFound`."""


class Another:
    """One owner's tasks in memory, from which a storage differs in what its class says."""

    def __init__(self, inner: MemoryOwnedTasks) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class InItsOwnWords(Another):
    async def commit(self, plan: Plan) -> Committed:
        try:
            return await self.inner.commit(plan)
        except ValueError as problem:
            if "a change must" in str(problem):  # raised by the core where the plan decides: it passes as it is
                raise
            raise NotYours("fremd") from None

    async def get(self, task_id: TaskId) -> Task:
        try:
            return await self.inner.get(task_id)
        except TaskNotFound:
            raise NoSuchRow from None


class WithAnotherVersionInItsConflicts(Another):
    async def commit(self, plan: Plan) -> Committed:
        try:
            return await self.inner.commit(plan)
        except VersionConflict as conflict:
            raise VersionConflict(conflict.current + 1) from None


class WithAnotherError(Another):
    async def commit(self, plan: Plan) -> Committed:
        try:
            return await self.inner.commit(plan)
        except TaskNotFound:
            raise ValueError("there is none") from None


class WithPagesThatEndTooSoon(Another):
    async def page(self, query: TaskQuery) -> Page:
        page = await self.inner.page(query)
        return replace(page, items=page.items[:-1])


class WithoutKeys(Another):
    async def commit(self, plan: Plan) -> Committed:
        return await self.inner.commit(replace(plan, once=None))


class Store(MemoryTaskStore):
    def __init__(self, kind: Callable[[MemoryOwnedTasks], Any]) -> None:
        super().__init__()
        self.kind = kind

    def tasks_of(self, owner: OwnerId) -> Any:
        return self.kind(super().tasks_of(owner))


class TestInItsOwnWords(TaskStoreContract):
    @pytest.fixture
    def store(self) -> TaskStore:
        return Store(InItsOwnWords)


def agree(kind: Callable[[MemoryOwnedTasks], Any], histories: int) -> None:
    with asyncio.Runner() as runner:
        assert_stores_agree(MemoryTaskStore(), Store(kind), run=runner.run, examples=histories)


def test_a_storage_may_word_its_errors_as_it_likes() -> None:
    agree(InItsOwnWords, histories=examples(50))


@pytest.mark.timeout(600)  # how many histories it takes is chance
@pytest.mark.parametrize(
    "kind",
    [
        WithAnotherError,
        *(pytest.param(kind, marks=pytest.mark.ci) for kind in (WithAnotherVersionInItsConflicts, WithoutKeys)),
    ],
)
def test_storages_must_agree_on_the_meaning_of_errors(kind: type[Another]) -> None:
    with pytest.raises(AssertionError):
        agree(kind, histories=200)


def test_a_difference_is_reported_with_its_history() -> None:
    with pytest.raises(AssertionError) as failure:
        agree(WithPagesThatEndTooSoon, histories=200)
    assert "state = Histories()" in "".join(failure.value.__notes__)


@pytest.mark.parametrize("before", [{"title": "Bread"}, {"priority": "high"}], ids=["another value", "no such member"])
def test_a_log_whose_entries_do_not_follow_from_each_other_is_detected(before: dict[str, str]) -> None:
    task = make_task(title="Milk")
    created = Entry(number=1, at=LATER, client=None, id=task.id, action="created", before=None, after={"title": "Milk"})
    edited = replace(created, number=2, action="edited", before=before, after={"title": "Oats"})
    with pytest.raises(AssertionError, match="before change 2, not"):
        replayed(ANN, [created, edited])
