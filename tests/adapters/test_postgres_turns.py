"""Turns of owners: those whose last two turns took long have one place together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from todo_adapters.postgres.turns import TurnsOfOwners
from todo_core import StoreUnavailable

LONG = 0.05


async def take(turns: TurnsOfOwners, owner: str, seconds: float = 0.0) -> None:
    async with turns.of(owner):
        await asyncio.sleep(seconds)


@asynccontextmanager
async def held(turns: TurnsOfOwners, *owners: str) -> AsyncIterator[list[str]]:
    """Let these owners take a turn that ends with the context; gives those whose turn has begun."""
    gate, begun = asyncio.Event(), list[str]()

    async def hold(owner: str) -> None:
        async with turns.of(owner):
            begun.append(owner)
            await gate.wait()

    holding = [asyncio.ensure_future(hold(owner)) for owner in owners]
    await asyncio.sleep(0)
    try:
        yield begun
    finally:
        gate.set()
        await asyncio.gather(*holding)


async def make_long(turns: TurnsOfOwners, *owners: str) -> None:
    for _ in range(2):
        await asyncio.gather(*(take(turns, owner, 2 * LONG) for owner in owners))


async def test_owners_with_long_turns_have_one_place_together() -> None:
    turns = TurnsOfOwners(2, timeout=5, long=LONG)
    await make_long(turns, "ann", "bob")
    async with asyncio.timeout(5), held(turns, "ann", "bob") as begun:
        for _ in range(3):
            await take(turns, "eve")
        assert begun == ["ann"]


async def test_after_one_long_turn_an_owner_may_have_any_place() -> None:
    turns = TurnsOfOwners(2, timeout=5, long=LONG)
    await asyncio.gather(*(take(turns, owner, 2 * LONG) for owner in ("ann", "bob")))
    async with held(turns, "ann", "bob") as begun:
        assert begun == ["ann", "bob"]


async def test_after_a_short_turn_an_owner_may_have_any_place() -> None:
    turns = TurnsOfOwners(2, timeout=5, long=LONG)
    await make_long(turns, "ann", "bob")
    await take(turns, "ann")
    async with held(turns, "bob", "ann") as begun:
        assert begun == ["bob", "ann"]


async def test_a_place_is_kept_for_owners_whose_turns_are_known_to_be_short() -> None:
    turns = TurnsOfOwners(4, timeout=5, long=LONG)
    await take(turns, "eve")
    async with held(turns, "ann", "bob", "joe", "sue", "eve") as begun:
        assert begun == ["ann", "bob", "joe", "eve"]


async def test_a_long_turn_is_waited_for_as_long_as_any() -> None:
    turns = TurnsOfOwners(2, timeout=LONG, long=0)
    await make_long(turns, "ann", "bob")
    async with held(turns, "ann"):
        with pytest.raises(StoreUnavailable):
            await take(turns, "bob")


async def test_owners_are_forgotten_before_they_fill_the_memory() -> None:
    turns = TurnsOfOwners(2, timeout=5, long=LONG)
    for number in range(5000):
        await take(turns, f"owner {number}")
    assert len(turns._long_in_a_row) <= 1000
