"""A real nginx in front, as docs/how-to/proxy.md and docs/deploy-systemd.md have it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from databases import ScratchCluster
from debian import program
from pages import ROOT, blocks_of
from serving import NO_TLS, SECRET, TODO, Server, answers, eventually, free_port

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
SETTINGS, UNIT, SITE, CHECK, SHOWN = (
    block.text for block in blocks_of(ROOT / "docs/deploy-systemd.md") if block.runner
)

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
    plain = re.sub(r" *(?:ssl_certificate|server_name)[^\n]*\n", "", SITE)
    for page, here in {"listen 443 ssl": "listen 127.0.0.1:PORT", "127.0.0.1:8000": f"127.0.0.1:{server.port}"}.items():
        assert page in plain
        plain = plain.replace(page, here)
    headers = {"Authorization": f"Bearer {token}", "Origin": "https://app.example.com"}
    with nginx(tmp_path, plain, "/health/live") as url, httpx.Client(base_url=url, headers=headers) as client:
        yield client


def test_the_site_of_the_page_serves_the_api_and_hides_what_is_internal(site: httpx.Client) -> None:
    made = site.post("/api/ann/tasks", json={"title": "x"})
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    assert made.headers["access-control-allow-origin"] == "https://app.example.com"
    assert [site.get(path).status_code for path in ("/metrics", "/health/ready", "/docs")] == [404, 404, 200]


def test_the_check_of_the_page_shows_what_a_ready_server_answers(server: Server) -> None:
    command = CHECK.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    assert subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout == SHOWN


def test_the_unit_of_the_page_is_one_that_systemd_takes(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze")
    unit = tmp_path / "todo.service"
    assert "/opt/todo/bin/todo" in UNIT
    unit.write_text(UNIT.replace("/opt/todo/bin/todo", TODO))
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "todo.service" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
