"""Turns of owners: those whose last turn took long leave a place to others."""

import asyncio

import pytest

from todo_adapters.postgres.turns import TurnsOfOwners
from todo_core import StoreUnavailable

LONG = 0.05


async def take(turns: TurnsOfOwners, owner: str, seconds: float = 0.0) -> None:
    async with turns.of(owner):
        await asyncio.sleep(seconds)


@pytest.fixture
def turns() -> TurnsOfOwners:
    return TurnsOfOwners(2, timeout=5, long=LONG)


async def test_owners_with_long_turns_leave_a_place_to_others(turns: TurnsOfOwners) -> None:
    await asyncio.gather(*(take(turns, owner, 2 * LONG) for owner in ("ann", "bob")))
    gate = asyncio.Event()

    async def hold(owner: str) -> None:
        async with turns.of(owner):
            await gate.wait()

    held = [asyncio.ensure_future(hold(owner)) for owner in ("ann", "bob")]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        for _ in range(3):
            await take(turns, "eve")
    assert not any(each.done() for each in held)
    gate.set()
    await asyncio.gather(*held)


async def test_an_owner_whose_last_turn_was_short_may_have_any_place(turns: TurnsOfOwners) -> None:
    await asyncio.gather(*(take(turns, owner, 2 * LONG) for owner in ("ann", "bob")))
    await take(turns, "ann")
    async with asyncio.timeout(5), turns.of("bob"), turns.of("ann"):
        pass


async def test_long_turns_wait_for_each_other() -> None:
    turns = TurnsOfOwners(2, timeout=LONG, long=0)
    await asyncio.gather(*(take(turns, owner) for owner in ("ann", "bob")))
    async with turns.of("ann"):
        with pytest.raises(StoreUnavailable):
            await take(turns, "bob")
        await take(turns, "eve")
