"""A primary dies with its disk, under load, and its standby is promoted."""

from collections.abc import Callable, Iterator

import pytest
from faults.pair import Pair, pair
from faults.stage import TIMEOUT, Stage, settings
from serving import Serve, token_for

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def synchronous(prepare: Callable[[str], None], serve: Serve) -> Iterator[tuple[Stage, Pair]]:
    with pair(synchronous=True) as made:
        prepare(made.both)
        yield staged(made, serve), made


@pytest.fixture
def asynchronous(prepare: Callable[[str], None], serve: Serve) -> Iterator[tuple[Stage, Pair]]:
    with pair(synchronous=False) as made:
        prepare(made.both)
        yield staged(made, serve), made


def staged(made: Pair, serve: Serve) -> Stage:
    """Two servers of two workers each, which know both hosts."""
    return Stage(made, [serve("--workers", "2", **settings(made.both)).started() for _ in range(2)])


def test_with_a_synchronous_standby_nothing_is_lost(synchronous: tuple[Stage, Pair]) -> None:
    stage, machines = synchronous
    with stage.load("primary: killed, its disk lost; the synchronous standby is promoted") as load:
        load.goes_on(3)
        machines.kill()
        machines.start()
        stage.comes_back(load)
    assert stage.begun_anew == 0


def test_with_a_synchronous_standby_that_was_cut_off_nothing_is_lost(synchronous: tuple[Stage, Pair]) -> None:
    """What waits for the standby is not acknowledged, however often it is repeated."""
    stage, machines = synchronous
    with stage.load(
        "primary: killed, its disk lost, 4 s after its synchronous standby was cut off; the standby is promoted"
    ) as load:
        with machines.cut_off():
            load.goes_on(TIMEOUT)
            before = load.acknowledged
            load.goes_on(3)
            assert load.acknowledged == before
            machines.kill()
        machines.start()
        stage.comes_back(load)
    assert load.unavailable > 0


def test_a_disconnected_synchronous_standby_blocks_writes_only(synchronous: tuple[Stage, Pair]) -> None:
    stage, machines = synchronous
    with stage.load("standby: synchronous, cut off from the primary for 6 s") as load:
        with machines.cut_off(), stage.servers[0].client(token_for("first")) as client:
            for _ in range(3):
                load.goes_on(2)
                stage.first_works(client)
        stage.comes_back(load)
    assert load.unavailable > 0
    assert stage.begun_anew == 0


def test_with_an_asynchronous_standby_the_loss_is_counted(asynchronous: tuple[Stage, Pair]) -> None:
    stage, machines = asynchronous
    with stage.load(
        "primary: killed, its disk lost, 1 s after its asynchronous standby was cut off; the standby is promoted"
    ) as load:
        load.goes_on(3)
        with machines.cut_off():
            load.goes_on(1)
            machines.kill()
        with load.held(), load.ledger.forgiving(machines):
            machines.start()
            load.rests()
            machines.quiet()
        stage.comes_back(load)
    assert load.ledger.given_up > 0, "the standby was not behind, so nothing was tested"
    assert stage.begun_anew > 0
