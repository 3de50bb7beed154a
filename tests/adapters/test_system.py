"""The system's clock, and UUIDv7 as RFC 9562 defines it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from factories import LATER, NOON
from hypothesis import given
from hypothesis import strategies as st

from todo_adapters.system import SystemClock, SystemIds
from todo_core import Clock, IdGenerator

ids: IdGenerator = SystemIds()
clock: Clock = SystemClock()
moments = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime.max, timezones=st.just(UTC))


def test_the_clock_gives_the_current_time_in_utc() -> None:
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)
    assert clock.now().utcoffset() == timedelta(0)


@given(moments)
def test_an_id_holds_its_moment_as_the_rfc_lays_it_out(at: datetime) -> None:
    made = ids.new(at)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    milliseconds, microseconds = divmod((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1), 1000)
    assert made.int >> 80 == milliseconds
    assert made.int >> 64 & 0xFFF == microseconds * 4096 // 1000


def test_an_id_matches_the_example_of_the_rfc() -> None:
    assert str(ids.new(datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC))).startswith("017f22e2-79b0-7000-")


@given(st.lists(moments | st.sampled_from([NOON, LATER]), min_size=2, max_size=20))
def test_ids_sort_as_their_moments_do(ats: Sequence[datetime]) -> None:
    made = [(at, ids.new(at)) for at in ats]
    for at, each in made:
        assert all(each < other for later, other in made if at < later)


def test_ids_of_moments_one_microsecond_apart_are_in_order() -> None:
    made = [ids.new(NOON + timedelta(microseconds=number)) for number in range(2000)]
    assert made == sorted(made)


def test_ids_of_one_moment_increase_in_the_order_of_asking() -> None:
    made = [ids.new(LATER) for _ in range(10_000)]
    assert made == sorted(set(made))
    assert ids.new(LATER + timedelta(microseconds=1)) > made[-1]


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that interrupt each other all the time."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [ids.new(NOON) for _ in range(10_000)], range(8)))
    assert len({each for some in made for each in some}) == 80_000
    assert all(some == sorted(some) for some in made)


def test_separate_generators_make_different_ids() -> None:
    made = {SystemIds().new(NOON) for _ in range(1000)}
    assert len(made) == 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_goes_on_with_ids_of_its_own() -> None:
    # The child is forked while another thread holds the generator's lock, which nobody will ever release there.
    program = """
import os
from datetime import UTC, datetime
from todo_adapters.system import SystemIds
ids, at = SystemIds(), datetime(2026, 11, 5, tzinfo=UTC)
ids.new(at)
ids._lock.acquire()
if not (child := os.fork()):
    print(*(ids.new(at) for _ in range(100)), sep="\\n", flush=True)
    os._exit(0)
os.waitpid(child, 0)
ids._lock.release()
print(*(ids.new(at) for _ in range(100)), sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert len(set(done.stdout.split())) == 200


def test_a_moment_before_the_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="1970"):
        ids.new(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
