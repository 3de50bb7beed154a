"""Idempotency keys: which are valid, and how long they are kept."""

from typing import Any

import pytest
from factories import ANN, make_task

from todo_adapters import memory
from todo_adapters.memory import MemoryTaskStore
from todo_core import (
    KEY_LIFE,
    IdempotencyKey,
    InvalidInput,
    Once,
    TaskQuery,
    idempotency_key,
)
from todo_core.testing.writing import add_once

KEY = idempotency_key("8e03978e-40d5-43e8-bc93-6894a57f9324")


@pytest.mark.parametrize("text", ["a", " ", "~" * 255, '"', "".join(map(chr, range(0x20, 0x7F)))])
def test_printable_ascii_is_a_key(text: str) -> None:
    assert idempotency_key(text) == text


@pytest.mark.parametrize(
    "text", ["", "x" * 256, "a\n", "\x00", "\x1f", "\x7f", "é", "\x80", "\ud800", "１", None, 3, b"a"]
)
def test_any_other_key_is_refused(text: Any) -> None:
    with pytest.raises(InvalidInput, match="idempotency_key must be 1 to 255"):
        idempotency_key(text)


@pytest.mark.parametrize("text", ["x" * 65, "é", "a\n", "\x00"])
def test_a_fingerprint_is_short_printable_text(text: str) -> None:
    assert Once(KEY, "").fingerprint == ""
    with pytest.raises(ValueError, match="at most 64"):
        Once(KEY, text)


async def test_memory_forgets_a_key_after_its_life_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(memory, "monotonic", lambda: now)
    store = MemoryTaskStore()
    tasks = store.tasks_of(ANN)
    old, young = IdempotencyKey("old"), IdempotencyKey("young")
    await add_once(tasks, old, first := make_task())
    now += KEY_LIFE.total_seconds()
    await add_once(tasks, young, second := make_task(title="Young"))
    assert await add_once(tasks, old, make_task()) == first
    now += 1
    await add_once(tasks, old, third := make_task(title="New"))
    assert await add_once(tasks, young, make_task(title="Young")) == second
    assert set((await tasks.page(TaskQuery())).items) == {first, second, third}
    assert len(store._owners[ANN].keys) == 2
