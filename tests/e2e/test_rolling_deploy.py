"""Servers on another revision of the schema: one that is one revision newer works, for rolling updates."""

import psycopg
from serving import SECRET, Serve, free_port, run

from todo_adapters.postgres.migrations import head, migrate

# What a next revision may bring (docs/migrations.md): a column that may stay empty, a table, an index.
EXPANSION = """
    alter table tasks add column color text;
    alter table owners add column last text default 'x';
    alter table changes add column note text default 'x';
    alter table used_keys add column note text default 'x';
    create table labels (user_id text, id uuid, label text);
    create index tasks_by_color on tasks (user_id, color);
"""


def ahead(url: str, by: int) -> str:
    """Bring the schema to a revision that this version does not know."""
    revision = f"{int(head()) + by:04}"
    with psycopg.connect(url) as connection:
        connection.execute(EXPANSION)
        connection.execute("update todo_schema_version set version_num = %s", [revision])
    return revision


def test_a_server_works_on_a_schema_that_is_one_revision_newer(serve: Serve, database_url: str, token: str) -> None:
    variables = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET}
    running = serve(**variables).started()
    ahead(database_url, 1)
    assert run("migrate", **variables).returncode == 0
    started = serve(**variables).started()
    for server in (running, started):
        with server.client(token) as client:
            key = {"Idempotency-Key": f"{server.port}"}
            made = client.post("/api/ann/tasks", json={"title": "Milk"}, headers=key)
            assert made.status_code == 201
            url = made.headers["location"]
            assert client.post("/api/ann/tasks", json={"title": "Milk"}, headers=key).json() == made.json()
            assert client.patch(url, json={"title": "Bread"}).json()["title"] == "Bread"
            assert client.patch(f"{url}/complete").json()["completed"] is True
            assert client.get("/api/ann/tasks?sort=title&q=bread").json()["items"] == [client.get(url).json()]
            assert [each["action"] for each in client.get(f"{url}/history").json()["items"]][-1] == "created"
            assert client.delete(url).status_code == 204
        assert server.stop() == 0
        assert b'"event":"bug"' not in server.log()


def test_a_schema_that_is_further_ahead_or_behind_is_refused_in_one_line(database_url: str) -> None:
    variables = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET}
    serve = ("serve", "--port", str(free_port()))
    migrate(database_url, "0001")
    refused = run(*serve, **variables)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "todo migrate" in refused.stderr
    migrate(database_url)
    revision = ahead(database_url, 2)
    for command in (serve, ("migrate",)):
        refused = run(*command, **variables)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert refused.stderr.startswith(f"todo: DATABASE_URL: The schema is at revision {revision}")
