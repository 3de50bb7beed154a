"""The published contract finds faults that are seeded into a store, each by the test that is named."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

import pytest

from todo_adapters import memory
from todo_adapters.memory import MemoryOwnedTasks, MemoryTaskStore
from todo_core import Entry, OwnerId, Page, ResyncRequired, Seen, TaskQuery, TooMany
from todo_core.changes import entry_of
from todo_core.testing import TaskStoreContract

Fault: TypeAlias = Callable[[pytest.MonkeyPatch], None]


def _pages_without_limit_are_capped(at: int) -> Fault:
    class Capped(Seen):
        __slots__ = ()

        def with_read(self, *, pages: Mapping[TaskQuery, Any], **more: Any) -> Seen:
            return Seen.with_read(self, pages={query: found[:at] for query, found in pages.items()}, **more)

    return lambda patch: patch.setattr(memory, "Seen", Capped)


def _only_the_first_100_are_erased(patch: pytest.MonkeyPatch) -> None:
    right = memory._erase
    patch.setattr(memory, "_erase", lambda mine, erased: right(mine, frozenset(sorted(erased)[:100])))


def _what_is_too_much_is_stored_in_part(patch: pytest.MonkeyPatch) -> None:
    right = MemoryOwnedTasks._store

    def store(self: MemoryOwnedTasks, mine: Any, decision: Any, client: str | None) -> int | None:
        try:
            return right(self, mine, decision, client)
        except TooMany:
            right(self, mine, replace(decision, pairs=decision.pairs[:1]), client)
            raise

    patch.setattr(MemoryOwnedTasks, "_store", store)


def _only_the_last_20_keys_are_kept(patch: pytest.MonkeyPatch) -> None:
    right = memory._replayed

    def replayed(mine: Any, once: Any) -> Any:
        while len(mine.keys) > 20:
            mine.keys.popitem(last=False)
        return right(mine, once)

    patch.setattr(memory, "_replayed", replayed)


def _every_change_is_of_the_year_2000(patch: pytest.MonkeyPatch) -> None:
    def entry(pair: Any, *, at: datetime, **more: Any) -> Entry:
        return entry_of(pair, at=at.replace(year=2000, month=1, day=1), **more)

    patch.setattr(memory, "entry_of", entry)


def _names_of_clients_are_cut(patch: pytest.MonkeyPatch) -> None:
    def entry(pair: Any, *, client: str | None, **more: Any) -> Entry:
        return entry_of(pair, client=client and client[:100], **more)

    patch.setattr(memory, "entry_of", entry)


def _a_whole_day_is_its_midnight(patch: pytest.MonkeyPatch) -> None:
    async def page(self: MemoryOwnedTasks, query: TaskQuery) -> Page:
        first = f"{query.due_from}T00:00:00"[:19] if query.due_from else ""
        found = [task for task in self._all() if not first or f"{task.due_date or ''}T00:00:00"[:19] >= first]
        return replace(query, due_from=None).page_of(found)

    patch.setattr(MemoryOwnedTasks, "page", page)


def _tags_are_compared_in_lower_case(patch: pytest.MonkeyPatch) -> None:
    async def page(self: MemoryOwnedTasks, query: TaskQuery) -> Page:
        wanted = set(map(str.lower, query.tags))
        return replace(query, tags=()).page_of(
            task for task in self._all() if wanted.issubset(map(str.lower, task.tags))
        )

    patch.setattr(MemoryOwnedTasks, "page", page)


def _owners_without_changes_have_change_0(patch: pytest.MonkeyPatch) -> None:
    right = MemoryTaskStore.changed

    async def changed(self: MemoryTaskStore, seen: Mapping[OwnerId, int]) -> Mapping[OwnerId, int]:
        without = {owner: 0 for owner in seen.keys() - self._owners.keys() if seen[owner] != 0}
        return {**await right(self, seen), **without}

    patch.setattr(MemoryTaskStore, "changed", changed)


C = TaskStoreContract
FAULTS: list[tuple[Fault, Callable[..., Any], tuple[object, ...]]] = [
    (_pages_without_limit_are_capped(200), C.test_a_list_is_deleted_with_all_of_its_tasks_however_many_there_are, ()),
    (_pages_without_limit_are_capped(1000), C.test_a_list_is_deleted_with_all_of_its_tasks_however_many_there_are, ()),
    (_only_the_first_100_are_erased, C.test_everything_that_a_deletion_took_is_erased_however_much_it_is, ()),
    (_what_is_too_much_is_stored_in_part, C.test_one_list_more_than_there_may_be_is_refused, ()),
    (_only_the_last_20_keys_are_kept, C.test_a_key_is_kept_however_many_are_used_after_it, ()),
    (_every_change_is_of_the_year_2000, C.test_the_log_has_the_moment_of_a_change, ()),
    (_every_change_is_of_the_year_2000, C.test_a_client_that_was_here_a_moment_ago_is_not_too_far_behind, ()),
    (_names_of_clients_are_cut, C.test_the_log_has_the_whole_name_of_the_client, ("x" * 255,)),
    (_a_whole_day_is_its_midnight, C.test_due_dates_are_compared_as_text, ()),
    (_tags_are_compared_in_lower_case, C.test_tags_are_compared_as_a_search_compares, ("STRASSE", "Straße")),
    (_owners_without_changes_have_change_0, C.test_changed_returns_the_owners_whose_number_differs, ()),
]


@pytest.mark.parametrize(("fault", "test", "values"), FAULTS, ids=[test.__name__ for _, test, _ in FAULTS])
async def test_a_seeded_fault_is_found(
    fault: Fault, test: Callable[..., Any], values: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    await test(C(), MemoryTaskStore(), *values)
    fault(monkeypatch)
    with pytest.raises((AssertionError, ResyncRequired)):
        await test(C(), MemoryTaskStore(), *values)
