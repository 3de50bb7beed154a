"""Fair turns: what an owner has used lately delays it; heavy owners have a quarter of the places, new ones half."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from todo_adapters.postgres import turns
from todo_adapters.postgres.turns import FairTurns
from todo_core import StoreUnavailable

LIGHT = 0.1


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets that many seconds pass: the clock stands still otherwise."""
    now = 1000.0

    def pass_(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(turns, "monotonic", lambda: now)
    return pass_


@pytest.fixture
def fair() -> FairTurns:
    return FairTurns(2, timeout=5, light=LIGHT)


@pytest.fixture
def uses(fair: FairTurns, passes: Callable[[float], None]) -> Callable[..., None]:
    """Has these owners use that many seconds each, one after the other."""

    async def use(owner: str, seconds: float) -> None:
        async with fair.of(owner):
            passes(seconds)

    def all_use(**seconds: float) -> None:
        for owner, each in seconds.items():
            asyncio.run(use(owner, each))

    return all_use


@asynccontextmanager
async def asking(fair: FairTurns, *owners: str) -> AsyncIterator[tuple[list[str], dict[str, asyncio.Event]]]:
    """Let these owners ask for a turn, in that order; gives those who got one, and events that end the turns."""
    ends, begun = {owner: asyncio.Event() for owner in owners}, list[str]()

    async def hold(owner: str) -> None:
        async with fair.of(owner):
            begun.append(owner)
            await ends[owner].wait()

    holding = [asyncio.ensure_future(hold(owner)) for owner in owners]
    await asyncio.sleep(0)
    try:
        yield begun, ends
    finally:
        for end in ends.values():
            end.set()
        await asyncio.gather(*holding)


async def after(end: asyncio.Event) -> None:
    end.set()
    for _ in range(3):
        await asyncio.sleep(0)


def test_heavy_owners_have_one_of_two_places(fair: FairTurns, uses: Callable[..., None]) -> None:
    uses(eve=0.001, ann=1, bob=1)

    async def all_ask() -> None:
        async with asking(fair, "ann", "bob", "eve", "new") as (begun, ends):
            assert begun == ["ann", "eve"]
            await after(ends["eve"])
            assert begun == ["ann", "eve", "new"]
            await after(ends["ann"])
            assert begun == ["ann", "eve", "new", "bob"]  # whoever has the other place

    asyncio.run(all_ask())


@pytest.mark.parametrize(
    "used",
    [{"ann": 1, "bob": 1}, {"ann": 1, "bob": 1, "eve": 0.3}, {"ann": LIGHT, "bob": LIGHT, "eve": 0.001}, {}],
    ids=["all use as much", "others use nearly as much", "all use little", "nobody is known"],
)
def test_nobody_is_heavy_without_using_much_more_than_another(
    fair: FairTurns, uses: Callable[..., None], used: dict[str, float]
) -> None:
    uses(**used)

    async def both_ask() -> None:
        async with asking(fair, "ann", "bob") as (begun, _):
            assert begun == ["ann", "bob"]

    asyncio.run(both_ask())


@pytest.mark.parametrize(("places", "heavy"), [(4, 1), (8, 2)])
async def test_heavy_owners_have_at_most_a_quarter_of_the_places(
    passes: Callable[[float], None], places: int, heavy: int
) -> None:
    fair, light = FairTurns(places, timeout=5, light=LIGHT), [f"light {number}" for number in range(places)]
    for owner, seconds in {**dict.fromkeys(light, 0.001), "ann": 1, "bob": 1, "joe": 1}.items():
        async with fair.of(owner):
            passes(seconds)
    async with asking(fair, "ann", "bob", "joe", *light) as (begun, _):
        assert begun == [*["ann", "bob", "joe"][:heavy], *light[: places - heavy]]


def test_a_heavy_owner_that_has_waited_for_half_of_the_timeout_takes_a_free_place(
    fair: FairTurns, uses: Callable[..., None], passes: Callable[[float], None]
) -> None:
    uses(ann=1, bob=1, eve=0.001)

    async def all_ask() -> None:
        async with asking(fair, "ann", "bob") as (begun, ends):
            passes(2.4)
            async with asking(fair, "joe") as (later, _):
                assert (begun, later) == (["ann"], ["joe"])
            passes(0.2)
            async with asking(fair, "joe") as (later, _):
                await asyncio.sleep(0)
                begun_by_then = [*begun, *later]
                await after(ends["ann"])
        assert begun_by_then == ["ann", "bob"]

    asyncio.run(all_ask())


async def test_it_takes_one_in_time_where_nobody_else_asks_or_ends() -> None:
    fair = FairTurns(2, timeout=1, light=0.001)
    async with fair.of("eve"):
        pass
    for owner in ("ann", "bob"):
        async with fair.of(owner):
            await asyncio.sleep(0.1)
    async with asking(fair, "ann", "bob") as (begun, _):
        assert begun == ["ann"]
        await asyncio.sleep(0.7)
        assert begun == ["ann", "bob"]


async def test_heavy_owners_that_have_waited_for_half_of_the_timeout_leave_one_of_four_places(
    passes: Callable[[float], None],
) -> None:
    fair, heavy = FairTurns(4, timeout=5, light=LIGHT), [f"heavy {number}" for number in range(6)]
    for owner, seconds in {"eve": 0.001, **dict.fromkeys(heavy, 1)}.items():
        async with fair.of(owner):
            passes(seconds)
    async with asking(fair, *heavy) as (begun, _):
        assert begun == heavy[:1]
        passes(2.6)
        async with asking(fair, "new") as (later, _):
            await asyncio.sleep(0)
            assert (begun, later) == (heavy[:3], ["new"])


@pytest.mark.parametrize("seconds", [60, LIGHT])
async def test_new_owners_that_have_waited_for_a_light_turn_take_all_places(seconds: float) -> None:
    async with asking(FairTurns(4, timeout=seconds, light=LIGHT), *"abcd") as (begun, _):
        assert begun == ["a", "b"]
        await asyncio.sleep(2 * LIGHT)
        assert begun == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("places", "for_new"), [(1, 1), (2, 2), (3, 3), (4, 2), (8, 4)])
async def test_new_owners_have_half_of_many_places(passes: Callable[[float], None], places: int, for_new: int) -> None:
    fair = FairTurns(places, timeout=5, light=LIGHT)
    known, new = ([f"{kind} {number}" for number in range(places)] for kind in ("known", "new"))
    for owner in known:
        async with fair.of(owner):
            passes(0.001)
    async with asking(fair, *new, *known) as (begun, ends):
        assert begun == [*new[:for_new], *known[: places - for_new]]
        await after(ends[new[0]])
        assert begun[places:] == [*new[for_new:], *known[places - for_new :]][:1]
    passes(10.1)
    async with asking(fair, *known) as (begun, _):
        assert begun == known[:for_new]  # they have been forgotten


def test_the_seconds_an_owner_used_lately_are_added_to_its_arrival_time(
    fair: FairTurns, uses: Callable[..., None], passes: Callable[[float], None]
) -> None:
    uses(ann=0.05, bob=0.02)

    async def all_ask() -> None:
        order = ["eve", "sue", "joe", "bob", "new", "ann"]
        async with asking(fair, "eve", "sue", "ann", "bob", "joe") as (begun, ends):
            passes(0.03)
            async with asking(fair, "new") as (later, more):
                for owner in order[:4]:
                    await after(ends[owner])
                assert (begun, later) == ([*order[:4], "ann"], ["new"])
                more["new"].set()

    asyncio.run(all_ask())


def test_a_heavy_owner_becomes_light_by_time_and_not_by_a_quick_turn(
    fair: FairTurns, uses: Callable[..., None], passes: Callable[[float], None]
) -> None:
    uses(ann=1, bob=1, eve=0.001)
    uses(ann=0.0001, bob=0.0001)

    async def begin() -> list[str]:
        async with asking(fair, "ann", "bob") as (begun, _):
            return list(begun)

    assert asyncio.run(begin()) == ["ann"]
    passes(9)
    assert asyncio.run(begin()) == ["ann", "bob"]


def test_a_timed_out_or_cancelled_caller_keeps_no_place_taken() -> None:
    async def all_ask() -> None:
        fair = FairTurns(1, timeout=0.05, light=LIGHT)
        held = fair.of("ann")
        await held.__aenter__()
        with pytest.raises(StoreUnavailable):
            await fair.of("bob").__aenter__()
        leaving = [asyncio.ensure_future(fair.of(owner).__aenter__()) for owner in ("joe", "sue")]
        await asyncio.sleep(0)
        leaving[0].cancel()
        await held.__aexit__(None, None, None)  # before Joe has noticed; so Sue gets the place
        leaving[1].cancel()  # before she has noticed that
        await asyncio.wait(leaving)
        assert all(each.cancelled() for each in leaving)
        async with asyncio.timeout(5), fair.of("eve"):
            assert not fair._waiting

    asyncio.run(all_ask())


def test_only_owners_of_the_last_seconds_are_remembered(
    fair: FairTurns, uses: Callable[..., None], passes: Callable[[float], None]
) -> None:
    uses(**{f"owner {number}": 0 for number in range(1500)})
    assert len(fair._used) == 1000
    passes(11)
    uses(ann=0)
    assert fair._used.keys() == {"ann"}
