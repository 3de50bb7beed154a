"""Connections are dropped while idle or in use, cut or silenced by the network, or lost by a pooler."""

from collections.abc import Iterator

import pytest
from faults.database import OneDatabase
from faults.stage import HANGING, Stage, settings
from poolers import Passage, passage_to, pooler_before
from serving import Serve, token_for

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def passage(a_database: OneDatabase) -> Iterator[tuple[Passage, str]]:
    with passage_to(a_database.url) as made:
        yield made


def test_idle_connections_that_were_dropped_are_replaced(stage: Stage) -> None:
    with stage.servers[0].client(token_for("idle")) as client:
        for number in range(10):
            made = [client.post("/api/idle/tasks", json={"title": f"{number}"}) for _ in range(4)]
            assert [answer.status_code for answer in made] == [201] * 4
            assert client.get("/api/idle/tasks").status_code == 200
            stage.database.terminate_connections()


def test_service_recovers_after_connections_were_dropped_under_load(stage: Stage) -> None:
    with stage.load("connections: the database ends all connections of the service, 20 times") as load:
        for _ in range(20):
            stage.database.terminate_connections()
            load.flows(20)
        stage.comes_back(load)


def test_service_recovers_after_connections_were_cut_on_the_network(
    a_database: OneDatabase, passage: tuple[Passage, str], serve: Serve
) -> None:
    between, url = passage
    stage = Stage(a_database, [serve("--workers", "2", **settings(url)).started()])
    with stage.load("connections: a gateway between server and database resets all connections, 20 times") as load:
        for _ in range(20):
            between.cut()
            load.flows(20)
        stage.comes_back(load)


def test_service_recovers_after_the_network_dropped_all_packets(
    a_database: OneDatabase, passage: tuple[Passage, str], serve: Serve
) -> None:
    between, url = passage
    stage = Stage(a_database, [serve("--workers", "2", **settings(url)).started()])
    with stage.load("connections: the network between server and database drops all packets for 15 s") as load:
        between.swallow(True)
        load.goes_on(HANGING)
        between.swallow(False)
        between.cut()
        stage.comes_back(load)
    assert load.unavailable > 0


def test_service_recovers_after_a_pooler_lost_its_connections(a_database: OneDatabase, serve: Serve) -> None:
    with pooler_before(a_database.url) as url:
        stage = Stage(a_database, [serve("--workers", "2", **settings(url)).started()])
        with stage.load("pooler: the database ends all connections of PgBouncer, 10 times") as load:
            for _ in range(10):
                a_database.terminate_pooled()
                load.flows(20)
            stage.comes_back(load)
