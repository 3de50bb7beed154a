"""The rate limit in memory, with a test clock."""

import pytest
from clocks import Seconds

from todo_adapters.rate_limit import MemoryRateLimiter, memory


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    monkeypatch.setattr(memory, "monotonic", clock := Seconds())
    return clock


async def test_exactly_the_limit_passes_and_each_key_has_its_own(clock: Seconds) -> None:
    limiter = MemoryRateLimiter("3/hour")
    assert [(await limiter.hit("ann")).allowed for _ in range(5)] == [True, True, True, False, False]
    assert (await limiter.hit("bob")) == (True, 2, 3600)


async def test_the_count_restarts_when_the_window_has_ended_and_not_before(clock: Seconds) -> None:
    limiter = MemoryRateLimiter("1/minute")
    await limiter.hit("ann")
    clock.now += 59.5
    assert await limiter.hit("ann") == (False, 0, 1)
    clock.now += 0.5
    assert await limiter.hit("ann") == (True, 0, 60)


async def test_a_peek_reports_the_remaining_count_and_counts_nothing(clock: Seconds) -> None:
    limiter = MemoryRateLimiter("2/minute")
    assert limiter.peek("ann") == limiter.peek("ann") == (True, 2, 60)
    await limiter.hit("ann")
    assert limiter.peek("ann") == (True, 1, 60)
    await limiter.hit("ann")
    assert limiter.peek("ann") == (False, 0, 60)
    await limiter.hit("ann")
    assert limiter.peek("ann") == (False, 0, 60)


async def test_windows_that_have_ended_are_forgotten(clock: Seconds) -> None:
    limiter = MemoryRateLimiter("1/minute")
    for number in range(1000):
        await limiter.hit(f"user{number}")
    clock.now += 59
    await limiter.hit("bob")
    clock.now += 1
    lengths = [len(limiter._windows)]
    for number in range(1000 // memory.SWEPT):
        await limiter.hit(f"another{number}")
        lengths.append(len(limiter._windows))
    assert lengths[0] - lengths[1] == memory.SWEPT - 1  # a part at a time: all of many would take long
    assert len(limiter._windows) == 1 + 1000 // memory.SWEPT
    assert not (await limiter.hit("bob")).allowed


async def test_a_flood_of_keys_takes_bounded_memory_and_frees_and_denies_nobody(
    clock: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "KEYS_MAX", 100)
    limiter = MemoryRateLimiter("2/minute")
    assert [(await limiter.hit("ann")).allowed for _ in range(3)] == [True, True, False]
    for number in range(1000):
        assert (await limiter.hit(f"flood{number}")).allowed
    assert len(limiter._windows) == 100
    assert not (await limiter.hit("ann")).allowed
    assert [await limiter.hit("bob") for _ in range(3)] == [(True, 1, 60)] * 3
    clock.now += 60
    assert [(await limiter.hit("bob")).allowed for _ in range(3)] == [True, True, False]
