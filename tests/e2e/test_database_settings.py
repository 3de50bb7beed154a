"""The settings of the database connection, on real servers: a separate URL for migrations, the pool, the timeout."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo
from serving import SECRET, Serve, eventually, run

from todo_adapters.postgres.migrations import current_revision, head

UP_TO_DATE = f" was already up to date, at revision {head()}\n"
NOWHERE = "postgresql://u:hunter2@127.0.0.1:1/x"
# What each variable of libpq's is set to, where "nonsense" would be no value that libpq refuses.
REFUSED = {"PGHOSTADDR": "192.0.2.1", "PGOPTIONS": "-c no.such=1 -z", "PGSSLMODE": "require"}
# Of clients only: an autovacuum worker comes and goes by itself.
CONNECTIONS = """
    select count(*) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""


def test_migrations_use_their_own_database_url(empty_database_url: str) -> None:
    migrated = run("migrate", DATABASE_URL=NOWHERE, TODO_MIGRATIONS_DATABASE_URL=empty_database_url)
    assert (migrated.returncode, migrated.stdout) == (0, "")
    assert migrated.stderr.endswith(f" is now up to date, at revision {head()} (before: none)\n")
    assert current_revision(empty_database_url) == head()


def test_an_unreachable_migrations_url_is_named(empty_database_url: str) -> None:
    refused = run("migrate", DATABASE_URL=empty_database_url, TODO_MIGRATIONS_DATABASE_URL=NOWHERE)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith("todo: TODO_MIGRATIONS_DATABASE_URL: the database cannot be reached")
    assert "hunter2" not in refused.stderr
    assert current_revision(empty_database_url) is None


def test_a_server_keeps_no_more_connections_than_it_may(serve: Serve, database_url: str, token: str) -> None:
    variables = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "TODO_DATABASE_POOL_SIZE": "1"}
    server = serve(**variables).started()

    def ask(number: int) -> int:
        body = {"title": f"{number}"}
        answer = client.post("/api/ann/tasks", json=body) if number % 2 else client.get(f"/api/ann/tasks?q={number}")
        return answer.status_code

    most = 0
    with server.client(token) as client, ThreadPoolExecutor(8) as pool, psycopg.connect(database_url) as connection:
        for _ in range(10):
            assert set(pool.map(ask, range(16))) == {200, 201}
            counted = connection.execute(CONNECTIONS).fetchall()
            most = max(most, counted[0][0])
            connection.rollback()
    assert most == 1


def test_a_server_opens_half_of_its_connections_and_one_when_it_starts(serve: Serve, database_url: str) -> None:
    serve(DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET).started()
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert eventually(lambda: connection.execute(CONNECTIONS).fetchall() == [(6,)])


def test_a_statement_that_hangs_is_given_up_after_the_timeout(serve: Serve, database_url: str, token: str) -> None:
    variables = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "TODO_DATABASE_TIMEOUT": "0.5"}
    server = serve(**variables).started()
    with server.client(token) as client:
        with psycopg.connect(database_url) as connection:
            connection.execute("lock table tasks")
            begun = time.monotonic()
            answer = client.get("/api/ann/tasks")
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert answer.headers["retry-after"]
            assert 0.4 < time.monotonic() - begun < 4
        assert client.get("/api/ann/tasks").status_code == 200


ENDED = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s"


def test_the_log_names_the_cause_of_an_outage(serve: Serve, database_url: str, token: str) -> None:
    settings = {"TODO_DATABASE_TIMEOUT": "0.5", "TODO_LOG_LEVEL": "warning"}
    server = serve(DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET, **settings).started()
    name = conninfo_to_dict(database_url)["dbname"]
    with server.client(token) as client, psycopg.connect(database_url, dbname="postgres", autocommit=True) as outside:
        with psycopg.connect(database_url) as connection:
            connection.execute("lock table tasks")
            assert [client.get("/api/ann/tasks").status_code for _ in range(2)] == [503, 503]
        outside.execute(f'alter database "{name}" set default_transaction_read_only = on')
        outside.execute(ENDED, [name])
        assert client.post("/api/ann/tasks", json={"title": "hunter2"}).status_code == 503
        outside.execute(f'alter database "{name}" with allow_connections false')
        outside.execute(ENDED, [name])
        assert client.get("/health/ready").status_code == 503
    assert eventually(lambda: b"not currently accepting connections" in server.log())
    lines = [json.loads(line) for line in server.log().splitlines()]
    assert {(line["event"], line["level"]) for line in lines} == {("database_unavailable", "warning")}
    logged = [line for line in lines if line["sqlstate"] != "57P01"]  # of a connection that was pruning when it ended
    causes = [(line["exception"], line["sqlstate"]) for line in logged]
    assert causes == [("TimeoutError", None), ("ReadOnlySqlTransaction", "25006"), ("OperationalError", None)]
    assert logged[1]["message"].startswith("cannot execute ")
    assert logged[1]["message"].endswith(" in a read-only transaction")
    assert logged[2]["message"].endswith(f'database "{name}" is not currently accepting connections')
    assert "hunter2" not in str(lines)
    assert str(conninfo_to_dict(database_url)["password"]) not in str(lines)


def libpq_variables() -> set[str]:
    """Every variable that libpq reads when it connects: those of its options, and some that belong to no option."""
    options = {option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    return options | {"PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ", "PGDATESTYLE", "PGGEQO"}


def test_the_embedded_database_takes_nothing_from_libpqs_variables(serve: Serve, data_dir: Path) -> None:
    ambient = {name: REFUSED.get(name, "nonsense") for name in libpq_variables()}
    assert {"PGCHANNELBINDING", "PGSERVICE", "PGHOST", "PGSSLMODE"} <= set(ambient)
    variables = {"TODO_DATA_DIR": str(data_dir), **ambient}
    migrated = run("migrate", **variables)
    embedded = f"todo: the schema of the embedded database in {data_dir}"
    assert (migrated.returncode, migrated.stderr) == (0, f"{embedded}{UP_TO_DATE}")
    server = serve("--workers", "2", **variables).started()
    with server.client(server.greeting_token()) as client:
        assert client.get("/health/ready").status_code == 200
        assert client.post("/api/dev/tasks", json={"title": "x"}).status_code == 201


def test_a_url_for_other_clients_is_taken_and_the_log_says_once_what_was_dropped(
    serve: Serve, database_url: str, token: str
) -> None:
    url = f"{database_url}&pgbouncer=true&schema=public&supa=base-pooler.x&connection_limit=1"
    variables = {"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET}
    migrated = run("migrate", **variables)
    assert migrated.returncode == 0
    assert migrated.stderr.endswith(UP_TO_DATE)
    server = serve("--workers", "2", **variables).started()
    with server.client(token) as client:
        assert client.get("/api/ann/tasks").status_code == 200
    for said in (migrated.stdout, server.log().decode()):
        [line] = [line for line in map(json.loads, said.splitlines()) if line["level"] == "warning"]
        assert line["parameters"] == ["pgbouncer", "schema", "supa", "connection_limit"]
    assert "left out" not in server.said()


def test_the_log_says_once_what_was_dropped_of_the_url_for_migrations(database_url: str) -> None:
    url = f"{database_url}&workaround=supabase-pooler.vercel"
    migrated = run("migrate", DATABASE_URL=NOWHERE, TODO_MIGRATIONS_DATABASE_URL=url)
    assert (migrated.returncode, migrated.stderr.count("\n")) == (0, 1)
    assert migrated.stderr.endswith(UP_TO_DATE)
    [line] = map(json.loads, migrated.stdout.splitlines())
    dropped = ("database_url_parameters_dropped", "TODO_MIGRATIONS_DATABASE_URL", ["workaround"])
    assert (line["event"], line["setting"], line["parameters"]) == dropped


def test_a_parameter_that_nobody_knows_is_named_and_nothing_else_of_the_url(empty_database_url: str) -> None:
    for setting, others in {"DATABASE_URL": {}, "TODO_MIGRATIONS_DATABASE_URL": {"DATABASE_URL": NOWHERE}}.items():
        url = f"{empty_database_url}&strange=hunter2"
        refused = run("migrate", **{setting: url}, **others)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert refused.stderr.startswith(f"todo: {setting}: the database URL has a parameter")
        assert "strange" in refused.stderr
        password = str(psycopg.conninfo.conninfo_to_dict(empty_database_url)["password"])
        assert not any(secret in refused.stderr for secret in ("hunter2", password, empty_database_url))


def test_options_missing_in_a_url_are_taken_from_libpqs_variables(database_url: str) -> None:
    given = psycopg.conninfo.conninfo_to_dict(database_url)
    host, port, password = str(given["host"]), str(given["port"]), str(given["password"])
    url = f"postgresql://{given['user']}@/{given['dbname']}"
    found = run("migrate", DATABASE_URL=url, PGHOST=host, PGPORT=port, PGPASSWORD=password)
    assert found.returncode == 0
    assert found.stderr.endswith(UP_TO_DATE)
    refused = run("migrate", DATABASE_URL=url, PGHOST=host, PGPORT=port, PGPASSWORD=password, PGSERVICE="no-such")
    assert refused.returncode == 2
    assert refused.stderr.startswith("todo: DATABASE_URL: ")
    assert "no-such" in refused.stderr


def test_a_user_may_have_as_many_tasks_as_is_set(serve: Serve, database_url: str, token: str) -> None:
    variables = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "TODO_TASKS_PER_USER": "2"}
    with serve(**variables).started().client(token) as client:
        made = [client.post("/api/ann/tasks", json={"title": "x"}) for _ in range(3)]
        assert [answer.status_code for answer in made] == [201, 201, 409]
        assert (made[2].json()["code"], "2 tasks" in made[2].json()["detail"]) == ("too_many", True)
        assert client.delete(made[0].headers["location"]).status_code == 204
        assert client.post("/api/ann/tasks", json={"title": "x"}).status_code == 201


def test_changes_are_kept_for_as_long_as_is_set(serve: Serve, database_url: str, token: str) -> None:
    variables = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "TODO_HISTORY_DAYS": "3"}
    with serve(**variables).started().client(token) as client:
        task = client.post("/api/ann/tasks", json={"title": "x"}).headers["location"]
        for title in ("y", "z"):
            client.patch(task, json={"title": title})
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update changes set at = at - make_interval(hours => case number when 1 then 73 else 71 end)"
        )
    with serve(**variables).started().client(token) as client:  # a process forgets at its first write

        def numbers() -> list[int]:
            return [entry["change"] for entry in client.get(f"{task}/history").json()["items"]]

        assert client.patch(task, json={"title": "Z"}).headers["change"] == "4"
        eventually(lambda: numbers() == [4, 3, 2])
