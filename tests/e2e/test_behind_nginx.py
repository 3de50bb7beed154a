"""A real nginx in front, as docs/how-to/proxy.md and docs/deploy-systemd.md have it."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from databases import ScratchCluster
from debian import program
from pages import ROOT, blocks_of
from serving import NO_TLS, SECRET, TODO, Server, answers, eventually, free_port

from todo_adapters.embedded.account import Account
from todo_adapters.embedded.binaries import find_binaries

(LOCATION,) = (block.text for block in blocks_of(ROOT / "docs/how-to/proxy.md") if block.language == "nginx")
CONFIG = """
daemon off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off; gzip on; gzip_min_length 0; gzip_types application/json;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    {site}
}}
"""
SETTINGS, UNIT, SITE, CHECK, SHOWN, UPSTREAM, UPDATE, BACKUP, TIMER = (
    block.text for block in blocks_of(ROOT / "docs/deploy-systemd.md") if block.runner
)
# What stands for systemd: `systemctl restart todo@PORT` ends that server, and returns when it was started again.
SYSTEMCTL = """#!/bin/sh
port=${2#todo@}
mv "pid-$port" ended && kill -TERM "$(cat ended)"
until [ -e "pid-$port" ]; do sleep 0.05; done
"""

pytestmark = pytest.mark.ci


@contextmanager
def nginx(folder: Path, site: str, live: str) -> Iterator[str]:
    """The URL of an nginx with that `server`, at its port PORT; the service answers at the path `live`."""
    found, port = program("nginx"), free_port()
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, site=site.replace("PORT", str(port))))
    with (
        (folder / "nginx.log").open("wb") as log,
        subprocess.Popen(
            [found.path, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"],
            env={**os.environ, **found.environment}, stdout=log, stderr=log,
        ) as process,
    ):  # fmt: skip
        try:
            eventually(lambda: answers(f"http://127.0.0.1:{port}{live}"), 30)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def server(cluster: ScratchCluster, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is reached below `/todo`, for all tests that need no other settings."""
    program("nginx")  # skips before anything is started
    url = cluster.create_database(migrated)
    variables = {"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET}
    variables |= {"TODO_TRUSTED_PROXIES": "127.0.0.1", "TODO_BAD_TOKEN_LIMIT": "5/minute"}
    server = Server(tmp_path_factory.mktemp("server"), TODO_PUBLIC_URL="https://example.org/todo", **variables)
    yield server.started()
    server.discard()
    cluster.drop(url)


@pytest.fixture
def behind(request: pytest.FixtureRequest, server: Server, token: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """Somebody outside, who reaches the service below `/todo`, as the page has it but for what the test changes."""
    location = LOCATION.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    for page, here in getattr(request, "param", {}).items():
        assert page in location
        location = location.replace(page, here)
    with (
        nginx(tmp_path, f"server {{ listen 127.0.0.1:PORT; {location} }}", "/todo/health/live") as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, verify=NO_TLS) as client,
    ):
        yield client


def test_every_address_works_from_outside(behind: httpx.Client) -> None:
    tasks = "/todo/api/ann/tasks"
    for title in ("x", "y"):
        made = behind.post(tasks, json={"title": title})
        assert behind.get(made.headers["location"]).json() == made.json()
    page = behind.get(tasks, params={"limit": 1})
    (second,) = behind.get(page.links["next"]["url"]).json()["items"]
    assert second["title"] == "x"
    docs = behind.get("/todo/", follow_redirects=True)
    assert docs.url.path == "/todo/docs"
    for name in re.findall(r'(?:src|href)="(?!data:)([^"]+)"', docs.text):
        assert behind.get(docs.url.join(name)).status_code == 200
    document = behind.get("/todo/openapi.json").json()
    assert behind.get(document["servers"][0]["url"] + "/health/live").status_code == 200


def test_an_etag_passes_nginx_unchanged(behind: httpx.Client) -> None:
    made = behind.post("/todo/api/ann/tasks", json={"title": "x"})
    read = behind.get(made.headers["location"])
    assert "content-encoding" not in read.headers
    put = behind.put(made.headers["location"], json={"title": "y"}, headers={"If-Match": read.headers["etag"]})
    assert put.status_code == 200


@pytest.mark.parametrize("behind", [{"gzip off;": ""}], indirect=True)
def test_an_etag_is_weak_if_nginx_compresses_and_the_version_replaces_it(behind: httpx.Client) -> None:
    """As the page says, nginx ignores `no-transform`."""
    made = behind.post("/todo/api/ann/tasks", json={"title": "x"})
    url = made.headers["location"]
    read = behind.get(url)
    assert (read.headers["content-encoding"], read.headers["etag"]) == ("gzip", 'W/"1"')
    assert "no-transform" in read.headers["cache-control"]
    assert behind.get(url, headers={"If-None-Match": read.headers["etag"]}).status_code == 304
    assert behind.put(url, json={"title": "y"}, headers={"If-Match": read.headers["etag"]}).status_code == 412
    strong = f'"{read.json()["version"]}"'
    assert behind.put(url, json={"title": "y"}, headers={"If-Match": strong}).status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has more than one address on loopback")
def test_a_client_cannot_choose_its_address(behind: httpx.Client) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(transport=transport, base_url=behind.base_url, headers={"Authorization": "Bearer bad"}) as client:
        forged = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(6)]
        statuses = [client.get("/todo/api/ann/tasks", headers=headers).status_code for headers in forged]
    assert statuses == [401] * 5 + [429]


def test_events_pass_as_they_happen(behind: httpx.Client) -> None:
    """nginx neither buffers events nor waits until there is enough to compress: each arrives before the next."""
    with behind.stream("GET", "/todo/api/ann/events") as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry: ")
        for title in ("one", "two"):
            assert behind.post("/todo/api/ann/tasks", json={"title": title}).status_code == 201
            data = next(line for line in lines if line.startswith("data: "))
            assert f'"title":"{title}"' in data


@pytest.fixture
def site(serve: Callable[..., Server], database_url: str, token: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """Somebody outside of the machine that docs/deploy-systemd.md describes, but for TLS."""
    program("nginx")
    variables = dict(line.split("=", 1) for line in SETTINGS.split())
    server = serve(**variables | {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET}).started()
    headers = {"Authorization": f"Bearer {token}", "Origin": "https://app.example.com"}
    plain = without_tls(SITE, {"127.0.0.1:8000": f"127.0.0.1:{server.port}"})
    with nginx(tmp_path, plain, "/health/live") as url, httpx.Client(base_url=url, headers=headers) as client:
        yield client


def without_tls(site: str, changes: dict[str, str]) -> str:
    """The page's `server` at a port of ours, with these changes."""
    plain = re.sub(r" *(?:ssl_certificate|server_name)[^\n]*\n", "", site)
    for page, here in {"listen 443 ssl": "listen 127.0.0.1:PORT", **changes}.items():
        assert page in plain
        plain = plain.replace(page, here)
    return plain


def before_two(ports: list[int]) -> str:
    """The page's `server` with its `upstream`, in front of servers at these ports."""
    upstream = UPSTREAM.replace(":8000", f":{ports[0]}").replace(":8001", f":{ports[1]}")
    return upstream + without_tls(SITE, {"http://127.0.0.1:8000": "http://todo"})


def test_the_site_of_the_page_serves_the_api_and_hides_what_is_internal(site: httpx.Client) -> None:
    made = site.post("/api/ann/tasks", json={"title": "x"})
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    assert made.headers["access-control-allow-origin"] == "https://app.example.com"
    assert [site.get(path).status_code for path in ("/metrics", "/health/ready", "/docs")] == [404, 404, 200]


def test_the_check_of_the_page_shows_what_a_ready_server_answers(server: Server) -> None:
    command = CHECK.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    assert subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout == SHOWN


class Pair:
    """Two servers with one database. Whoever ends one finds it started again at its port."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder, self._variables = folder, variables
        self.servers = [Server(folder / "logs", **variables) for _ in range(2)]
        self.ports = [server.port for server in self.servers]
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._keep, args=[number]) for number in range(2)]

    def _keep(self, number: int) -> None:
        while not self._stopping.is_set():
            process = self.servers[number].process
            (self.folder / f"pid-{self.ports[number]}").write_text(f"{process.pid}")
            while process.poll() is None and not self._stopping.wait(0.05):
                pass
            if not self._stopping.is_set():
                eventually(lambda: not self.servers[number].family())
                self.servers[number] = Server(self.folder / "logs", port=self.ports[number], **self._variables)

    def __enter__(self) -> "Pair":
        for server in self.servers:
            server.started()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        for server in self.servers:
            server.discard()


@pytest.fixture
def pair(database_url: str, token: str, tmp_path: Path) -> Iterator[tuple[Pair, httpx.Client]]:
    """The page's two servers, and somebody outside."""
    program("nginx")
    headers = {"Authorization": f"Bearer {token}"}
    with (
        Pair(tmp_path, DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET, TODO_RATE_LIMIT="1000000/hour") as pair,
        nginx(tmp_path, before_two(pair.ports), "/health/live") as url,
        httpx.Client(base_url=url, headers=headers, timeout=30, verify=NO_TLS) as client,
    ):
        yield pair, client


def write(client: httpx.Client, title: str) -> None:
    """Create a task and replace it, as a client does that follows docs/how-to/repeat-writes.md."""
    request = {"json": {"title": title}, "headers": {"Idempotency-Key": title}}
    made = client.post("/api/ann/tasks", **request)
    if made.status_code == 502:
        made = client.post("/api/ann/tasks", **request)
    assert made.status_code == 201, made.text
    assert client.put(made.headers["location"], json={"title": f"{title} again"}).status_code == 200


def test_the_update_of_the_page_restarts_both_servers_and_refuses_no_request(pair: tuple[Pair, httpx.Client]) -> None:
    both, client = pair
    before, written = [server.process.pid for server in both.servers], 0
    (both.folder / "systemctl").write_text(SYSTEMCTL)
    (both.folder / "systemctl").chmod(0o755)
    loop = UPDATE.replace("8000 8001", " ".join(map(str, both.ports)))
    environment = {**os.environ, "PATH": f"{both.folder}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(
        ["bash", "-c", loop], cwd=both.folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as update:
        while update.poll() is None:
            written += 1
            write(client, f"task-{written}")
        assert update.stdout is not None
        assert update.stdout.read() == SHOWN * 2
    assert not {server.process.pid for server in both.servers} & set(before)
    assert client.get("/api/ann/summary").json()["open"] == written


def test_a_killed_server_is_replaced_by_the_other_one(pair: tuple[Pair, httpx.Client]) -> None:
    both, client = pair
    for number in range(2):
        for turn in range(60):
            if turn == 20:
                for pid in both.servers[number].family():
                    os.kill(pid, signal.SIGKILL)
            write(client, f"{number}-{turn}")
        eventually(both.servers[number].answers, 60)
        time.sleep(3.5)  # until nginx uses it again
    assert client.get("/api/ann/summary").json()["open"] == 120


class Dies(BaseHTTPRequestHandler):
    """Ends each connection instead of answering; counts what it received, by method."""

    received: ClassVar[Counter[str]] = Counter()

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline()
        assert self.parse_request()
        if self.path == "/health/live":  # of the fixture
            self.send_response(200)
            self.end_headers()
            return
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.received[self.command] += 1

    def log_message(self, *_: object) -> None:
        pass


def test_nginx_does_not_retry_non_idempotent_writes(tmp_path: Path) -> None:
    """Of two servers that end each connection instead of answering, as they do when they die."""
    Dies.received.clear()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Dies) for _ in range(2)]
    try:
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        both = before_two([server.server_port for server in servers])
        both = both.replace("fail_timeout=2s", "max_fails=0")  # it uses them again immediately
        with (
            nginx(tmp_path, both, "/health/live") as url,
            httpx.Client(base_url=url, verify=NO_TLS) as client,
        ):
            for method in ("POST", "PATCH", "PUT", "DELETE", "GET"):
                body = b"{}" if method in {"POST", "PATCH", "PUT"} else b""
                assert client.request(method, "/api/ann/tasks", content=body).status_code == 502
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
    assert Dies.received == {"POST": 1, "PATCH": 1, "PUT": 2, "DELETE": 2, "GET": 2}


def commands_of(unit: str, **variables: str) -> list[list[str]]:
    """The commands of a unit's ExecStart, as systemd reads them."""
    commands = [shlex.split(line) for line in re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)]
    for name, value in variables.items():
        commands = [[word.replace(f"${{{name}}}", value) for word in command] for command in commands]
    return [[word.replace("$$", "$").replace("%%", "%") for word in command] for command in commands]


def test_the_backup_of_the_page_keeps_two_weeks(database_url: str, tmp_path: Path) -> None:
    programs = find_binaries(Account(os.geteuid(), os.getegid(), dropped=False))
    for name, days in {"new.dump": 14, "old.dump": 16}.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - 86_400 * days,) * 2)
    for command in commands_of(BACKUP, DATABASE_URL=database_url):
        command[0] = command[0].replace("/usr/bin/pg_dump", f"{programs / 'pg_dump'}")
        subprocess.run(command, cwd=tmp_path, check=True)
    made, new = sorted(tmp_path.iterdir())
    assert (bool(re.fullmatch(r"\d{4}-\d\d-\d\d\.dump", made.name)), new.name) == (True, "new.dump")
    listed = subprocess.run([programs / "pg_restore", "--list", made], capture_output=True, text=True, check=True)
    assert "TABLE DATA public tasks" in listed.stdout


def test_the_units_of_the_page_are_ones_that_systemd_takes(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze")
    for name, text in {"todo@.service": UNIT, "todo-backup.service": BACKUP, "todo-backup.timer": TIMER}.items():
        text = text.replace("/opt/todo/bin/todo", TODO).replace("/usr/bin/pg_dump", TODO)  # programs that are there
        (tmp_path / name).write_text(text)
    units = [tmp_path / name for name in ("todo@8000.service", "todo-backup.service", "todo-backup.timer")]
    done = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "todo" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
