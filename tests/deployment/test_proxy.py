"""The Caddyfile as compose.yaml uses it: a real Caddy, with TLS, in front of two real servers."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from databases import ScratchCluster
from serving import SECRET, Server, environment, eventually, free_port, run

ROOT = Path(__file__).parents[2]
TASKS = "/api/ann/tasks"


@dataclass
class Site:
    """What a visitor sees, and what is behind it."""

    url: str
    tls: ssl.SSLContext
    servers: list[Server]
    restart: Callable[[int], None]

    def client(self, **headers: str) -> httpx.Client:
        """A visitor from 127.0.0.1."""
        return httpx.Client(base_url=self.url, verify=self.tls, headers=headers, timeout=30)


@pytest.fixture
def site(cluster: ScratchCluster, migrated: str, tmp_path: Path) -> Iterator[Site]:
    url = cluster.create_database(migrated)
    variables = {
        "DATABASE_URL": url,
        "BETTER_AUTH_SECRET": SECRET,
        "TODO_BAD_TOKEN_LIMIT": "5/minute",
        "TODO_TRUSTED_PROXIES": "127.0.0.1/32",
    }
    servers = [Server(tmp_path / "logs", **variables) for _ in range(2)]
    port = free_port()
    caddy = _start_caddy(tmp_path, port, [server.port for server in servers])

    def restart(number: int) -> None:
        servers[number] = Server(tmp_path / "logs", port=servers[number].port, **variables).started()

    try:
        for server in servers:
            server.started()
        root = tmp_path / "data/caddy/pki/authorities/local/root.crt"
        eventually(root.exists, 60)
        visited = Site(f"https://localhost:{port}", ssl.create_default_context(cafile=str(root)), servers, restart)
        with visited.client() as client:
            eventually(lambda: _status(client, "/health/live") == 200, 60)
        yield visited
    finally:
        caddy.terminate()
        caddy.wait(30)
        for server in servers:
            server.discard()
        cluster.drop(url)


def _start_caddy(folder: Path, port: int, replicas: list[int]) -> "subprocess.Popen[bytes]":
    text = (ROOT / "deploy/Caddyfile").read_text()
    # One thing is a machine's own: port 80, from which Caddy would redirect.
    config = folder / "Caddyfile"
    config.write_text(text.replace("admin off", f"admin off\n\thttp_port {free_port()}", 1))
    variables = {
        "TODO_SITE": f"localhost:{port}",
        "TODO_TLS": "internal",
        "TODO_REPLICAS": " ".join(f"127.0.0.1:{replica}" for replica in replicas),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    with (folder / "caddy.log").open("wb") as log:
        return subprocess.Popen(
            [Path(sys.executable).with_name("caddy"), "run", "--config", config, "--adapter", "caddyfile"],
            env=environment(**variables),
            stdout=log,
            stderr=log,
        )


def _status(client: httpx.Client, path: str) -> int | None:
    with suppress(httpx.TransportError):
        return client.get(path).status_code
    return None


@pytest.fixture(scope="module")
def token() -> str:
    return run("token", "ann", BETTER_AUTH_SECRET=SECRET).stdout.strip()


def test_visitors_reach_tasks_over_tls_but_no_metrics(site: Site, token: str) -> None:
    with site.client(Authorization=f"Bearer {token}") as client:
        made = client.post(TASKS, json={"title": "Milk"})
        assert made.status_code == 201
        assert client.get(made.headers["location"]).json() == made.json()
        assert client.get("/health/live").status_code == 200
        for private in (
            "/metrics",
            "/METRICS",
            "//metrics",
            "/%6detrics",
            "/metrics/",
            "/x/../metrics",
            "/health/ready",
        ):
            answer = client.get(f"{site.url}{private}")  # of "//metrics" alone httpx would make "/"
            assert answer.status_code in (400, 404), private
            assert b"todo_http" not in answer.content


def test_clients_are_identified_by_their_real_address_not_by_headers(site: Site) -> None:
    def ask(address: str, **headers: str) -> int:
        transport = httpx.HTTPTransport(local_address=address, verify=site.tls)
        with httpx.Client(transport=transport, base_url=site.url, headers=headers, timeout=30) as client:
            return client.get(TASKS, headers={"Authorization": "Bearer bad"}).status_code

    if sys.platform != "linux":
        pytest.skip("only Linux has more than one address on loopback")
    # Each replica counts for itself: 5 and 5.
    statuses = [ask("127.0.0.2", **{"X-Forwarded-For": f"192.0.2.{number}"}) for number in range(30)]
    assert set(statuses) == {401, 429}
    assert statuses[-1] == 429
    assert ask("127.0.0.3") == 401


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_replicas_are_replaced_under_load_without_failed_requests(
    site: Site, token: str, number: signal.Signals
) -> None:
    made = []
    with site.client(Authorization=f"Bearer {token}") as client:
        for replica in range(2):
            for turn in range(60):
                if turn == 20:
                    for pid in site.servers[replica].family():
                        os.kill(pid, number)
                key = f"{replica}-{turn}"
                answer = client.post(TASKS, json={"title": key}, headers={"Idempotency-Key": key})
                assert answer.status_code == 201, answer.text
                made.append(answer.json()["id"])
                assert client.get(f"{TASKS}/{made[-1]}").status_code == 200
                assert client.put(f"{TASKS}/{made[-1]}", json={"title": "put"}).status_code == 200
            site.servers[replica].process.wait(60)
            site.restart(replica)
            eventually(lambda: _healthy_again(client), 60)
        listed = client.get(TASKS, params={"limit": 200}).json()["items"]
    assert sorted(task["id"] for task in listed) == sorted(made)


def _healthy_again(client: httpx.Client) -> bool:
    """Whether Caddy uses both replicas again: all of these requests, in turn at each, are answered."""
    return all(_status(client, "/health/live") == 200 for _ in range(10))


def test_events_pass_as_they_happen_from_either_replica(site: Site, token: str) -> None:
    with site.client(Authorization=f"Bearer {token}") as client, client.stream("GET", "/api/ann/events") as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry: ")
        for number in range(4):
            assert client.post(TASKS, json={"title": f"task {number}"}).status_code == 201
            data = next(line for line in lines if line.startswith("data: "))
            assert f'"title":"task {number}"' in data
