"""`todo serve` and `todo migrate` with `DATABASE_URL`, and the settings that prevent the start."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from databases import ScratchCluster
from serving import SECRET, Serve, free_port, run, serving_events

from todo_adapters.postgres.migrations import head, migrate

pytestmark = pytest.mark.timeout(300)  # a busy machine starts processes slowly


def refused(*arguments: str, **variables: str) -> str:
    """The one line that a command says when it cannot be carried out."""
    ended = run(*arguments, **variables)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def serve_refused(**variables: str) -> str:
    return refused("serve", "--port", str(free_port()), **variables)


def test_an_outdated_schema_is_refused_until_it_is_migrated_and_an_outage_is_reported(
    serve: Serve, cluster: ScratchCluster, empty_database_url: str, tmp_path: Path, token: str
) -> None:
    variables = {"DATABASE_URL": empty_database_url, "BETTER_AUTH_SECRET": SECRET, "TODO_DATA_DIR": str(tmp_path / "d")}
    assert "todo migrate" in serve_refused(**variables)
    migrated = run("migrate", **variables)
    assert (migrated.returncode, migrated.stdout) == (0, "")
    assert migrated.stderr.endswith(f" is now up to date, at revision {head()} (before: none)\n")
    assert run("migrate", **variables).returncode == 0  # nothing to do
    server = serve(**variables).started()
    assert server.said() == ""  # the greeting, and its token, are for newcomers
    assert serving_events(server) == [{"level": "info", "event": "serving", "url": server.url, "workers": 1}]
    with server.client(token) as client:
        assert client.post("/api/ann/tasks", json={"title": "x"}).status_code == 201
        assert client.get("/health/ready").status_code == 200

        migrate(empty_database_url, "base")
        assert "todo migrate" in serve_refused(**variables)

        cluster.drop(empty_database_url)
        for path in ("/health/ready", "/api/ann/tasks"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert answer.headers["retry-after"]
            assert urlsplit(empty_database_url).path[1:] not in answer.text
        assert client.get("/health/live").status_code == 200
    assert b'"event":"bug"' not in server.log()
    assert server.stop() == 0
    assert not (tmp_path / "d").exists()


def test_a_variable_of_a_library_that_names_nothing_usable_is_refused_in_one_line(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    good = {"DATABASE_URL": database_url, "BETTER_AUTH_URL": "https://example.org"}
    for name, value in [
        ("PROMETHEUS_MULTIPROC_DIR", "no/such"),
        ("SSLKEYLOGFILE", "no/such"),
        *(("SSL_CERT_FILE", value) for value in ("no/such", "empty", "folder")),
    ]:
        said = serve_refused(**good, **{name: str(tmp_path / value)})
        assert said.startswith(f"todo: {name}")
        assert "unset" in said


def test_tasks_survive_a_restart(serve: Serve, database_url: str, token: str) -> None:
    variables = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET}
    first = serve("--workers", "2", **variables).started()
    with first.client(token) as client:
        made = [client.post("/api/ann/tasks", json={"title": f"{number}"}).json() for number in range(5)]
    assert [event["workers"] for event in serving_events(first)] == [2]
    assert first.stop() == 0
    with serve(port=first.port, **variables).started().client(token) as client:
        assert client.get("/api/ann/tasks").json()["items"] == made[::-1]


def test_a_server_that_cannot_start_says_why_in_one_line(database_url: str) -> None:
    good = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET}
    for name, variables in [
        ("BETTER_AUTH_SECRET, BETTER_AUTH_URL or TODO_JWKS_URL must be set", {"DATABASE_URL": database_url}),
        ("TODO_JWT_ISSUER", {**good, "TODO_JWKS_URL": "https://keys.example/jwks"}),
        ("DATABASE_URL", {**good, "DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}),
    ]:
        said = serve_refused(**variables)
        assert said.startswith(f"todo: {name}")
        assert "hunter2" not in said
