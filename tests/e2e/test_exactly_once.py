"""`Idempotency-Key` on two real servers with one database: simultaneous repeats, and repeats after a kill."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import psycopg
import pytest
from databases import ScratchCluster
from serving import SECRET, Serve, Server, eventually, token_for

TASKS = "/api/ann/tasks"


@pytest.fixture
def variables(database_url: str) -> dict[str, str]:
    """The settings of both replicas."""
    return {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT": "1000000/hour"}


@pytest.fixture(scope="module")
def replicas(
    cluster: ScratchCluster, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Server]]:
    """Two servers on one database, for tests that kill neither and have a user of their own."""
    url = cluster.create_database(migrated)
    variables = {"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT": "1000000/hour"}
    folder = tmp_path_factory.mktemp("replicas")
    servers = [Server(folder / "two", "--workers", "2", **variables), Server(folder / "one", **variables)]
    yield [server.started() for server in servers]
    for server in servers:
        server.discard()
    cluster.drop(url)


def post(client: httpx.Client, key: str, title: str = "Milk") -> httpx.Response:
    return client.post(TASKS, json={"title": title}, headers={"Idempotency-Key": f'"{key}"'})


def distinct(answers: list[httpx.Response]) -> set[tuple[int, bytes, str, str]]:
    return {(each.status_code, each.content, each.headers["etag"], each.headers["location"]) for each in answers}


def listed(client: httpx.Client) -> list[str]:
    """The ids of all of Ann's tasks."""
    found: list[str] = []
    page = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        page = client.get(
            TASKS, params={"limit": 200, "cursor": page["next_cursor"]} if found else {"limit": 200}
        ).json()
        found += [task["id"] for task in page["items"]]
    return found


def kill(server: Server) -> None:
    """End it as a power cut would: every process of it, without notice."""
    for pid in server.family():
        os.kill(pid, signal.SIGKILL)
    server.process.wait(20)


@contextmanager
def inserts_held_up(url: str) -> Iterator[None]:
    """Keep everybody's new tasks waiting in the database."""
    with psycopg.connect(url) as connection:
        connection.execute("lock table tasks in exclusive mode")
        yield


def waiting(url: str) -> int:
    """How many statements wait for somebody's lock."""
    statement = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    with psycopg.connect(url) as connection:
        return int(connection.execute(statement).fetchall()[0][0])


def test_concurrent_repeats_on_two_replicas_create_one_task_for_each_key(replicas: list[Server], token: str) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client(token)) for server in replicas]
        pool = stack.enter_context(ThreadPoolExecutor(16))
        for number in range(6):
            doing = [pool.submit(post, clients[n % 2], f"key {number}", f"Task {number}") for n in range(24)]
            answers = [each.result() for each in doing]
            assert len(distinct(answers)) == 1
            assert {answer.status_code for answer in answers} == {201}
            assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
        assert len(listed(clients[0])) == 6
        refused = post(clients[1], "key 0", "Other")
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")


def test_repeats_of_every_kind_of_write_on_two_replicas_happen_once(replicas: list[Server]) -> None:
    token = token_for("bob")
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client(token)) for server in replicas]
        pool = stack.enter_context(ThreadPoolExecutor(8))
        task = clients[0].post("/api/bob/tasks", json={"title": "Milk"}).headers["location"]
        writes = [
            ("PATCH", f"{task}/complete", None),
            ("PATCH", task, {"title": "x"}),
            ("PUT", task, {"title": "y"}),
            ("DELETE", task, None),
        ]
        for number, (method, path, body) in enumerate(writes, 2):
            key = {"Idempotency-Key": f"{number}"}
            doing = [pool.submit(clients[n % 2].request, method, path, json=body, headers=key) for n in range(16)]
            answers = [each.result() for each in doing]
            assert len({(each.status_code, each.content, each.headers.get("etag")) for each in answers}) == 1
            assert {each.headers["change"] for each in answers} == {f"{number}"}
            assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


def test_a_task_that_was_committed_when_its_server_was_killed_is_not_created_again(
    serve: Serve, variables: dict[str, str], token: str, database_url: str
) -> None:
    one_connection = variables | {"TODO_DATABASE_POOL_SIZE": "1"}
    doomed, other = serve(**one_connection).started(), serve(**variables).started()
    with doomed.client(token) as client:
        # A user's first write is several statements, and a connection's first prepares it: that would wait instead.
        assert post(client, "before").status_code == 201
        [before] = listed(client)
    with ThreadPoolExecutor(1) as pool, doomed.client(token) as client, inserts_held_up(database_url):
        asking = pool.submit(post, client, "key")
        eventually(lambda: waiting(database_url) == 1)
        kill(doomed)
        with pytest.raises(httpx.TransportError):
            asking.result()
        # The database knows nothing of the server's end: it carries the statement out.
    with other.client(token) as client:
        eventually(lambda: len(listed(client)) == 2)
        first = post(client, "key")
        assert (first.status_code, first.headers["idempotency-replayed"]) == (201, "true")
        assert listed(client) == [first.json()["id"], before]
        assert client.delete(first.headers["location"]).status_code == 204
        assert distinct([post(client, "key")]) == distinct([first])
        assert listed(client) == [before]


def test_requests_repeated_after_a_server_was_killed_happen_exactly_once(
    serve: Serve, variables: dict[str, str], token: str
) -> None:
    doomed, other = serve(**variables).started(), serve(**variables).started()
    acknowledged: dict[str, httpx.Response] = {}

    def ask(number: int) -> None:
        try:
            acknowledged[f"{number}"] = post(client, f"{number}", f"Task {number}")
        except httpx.TransportError:
            return
        if len(acknowledged) == 100:
            kill(doomed)

    with doomed.client(token) as client, ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(200)))
    assert 100 <= len(acknowledged) < 200
    with other.client(token) as client:
        for number in range(200):
            again = post(client, f"{number}", f"Task {number}")
            assert again.status_code == 201
            if (first := acknowledged.get(f"{number}")) is not None:
                assert distinct([again]) == distinct([first])
                assert again.headers["idempotency-replayed"] == "true"
        assert len(listed(client)) == 200
