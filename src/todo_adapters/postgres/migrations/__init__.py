"""The schema's migrations, and how to apply them. Part of the package: no alembic.ini is needed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import psycopg
from sqlalchemy import Connection, NullPool, column, create_engine, select, table, text

from todo_adapters.postgres.engine import connection_arguments
from todo_adapters.postgres.failures import unavailable_where_it_passes
from todo_adapters.postgres.table import metadata

if TYPE_CHECKING:
    from alembic.config import Config  # Alembic takes long to load, and a server with a current schema does not need it

# Not Alembic's usual name: the database may be shared with a program that uses Alembic too.
VERSION_TABLE: Final = "todo_schema_version"
_LOCK: Final = 0x746F646F  # "todo"
# What a server does with each table: an owner's row is never deleted.
_RIGHTS: Final = {
    **dict.fromkeys(metadata.tables, ("select", "insert", "update", "delete")),
    "owners": ("select", "insert", "update"),
    VERSION_TABLE: ("select",),
}
_GRANTS: Final = """
    select format('grant %s on %s to %I', rights, string_agg(name, ', ' order by name), current_user) from (
        select name, string_agg(kind, ', ' order by place) as rights
        from unnest(cast(:names as text[]), cast(:rights as text[])) with ordinality as wanted(name, kind, place)
        where not has_table_privilege(to_regclass(name), kind) group by name
    ) as lacking group by rights order by rights desc
"""
Piece: TypeAlias = Callable[[Connection, Any], Any]
"""Changes the next rows after a place (None: the first); returns the place after them, or None if none are left."""


class UnfitDatabase(Exception):
    """No migration can make the database usable; the message says why."""


def migrate(url: str, revision: str = "head", *, again: bool = False) -> None:
    """Bring the schema up to date, or forward or back to `revision`: a number, or "base".

    Several processes may call this at the same time: one does the work while the others wait. A schema that is one
    revision ahead is left as it is. Each schema change is atomic; rows are changed a piece at a time, and an
    interrupted migration continues where it stopped. `again`: if the schema is up to date, change the rows that servers
    of older versions have written since. Raises `ValueError` for an invalid URL, `UnfitDatabase`, and
    `StoreUnavailable`, also if a table stays locked for more than five seconds.
    """
    with _connection(url) as connection:
        with _nobody_else(connection):
            found = current(connection)
            is_done = revision == "head" and _is_current(connection)
        if not is_done:
            for schema, piece in _pieces(found, revision):
                _change_schema(connection, schema)
                _change_rows(connection, piece)
            _change_schema(connection, revision)
        elif again and found == head():
            for _, piece in _pieces("0000", found):
                _change_rows(connection, piece)


@contextmanager
def _nobody_else(connection: Connection) -> Iterator[None]:
    """A transaction during which no other process migrates."""
    with connection.begin():
        # For the transaction, not the session: behind a pooler, clients share sessions.
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _check_encoding(connection)
        # An ALTER that waits for a long transaction blocks all others behind it: better fail, and try again.
        connection.execute(text("set local lock_timeout = '5s'"))
        yield


def _change_schema(connection: Connection, revision: str) -> None:
    from alembic import command

    with _nobody_else(connection):
        if revision == "head" and _is_current(connection):
            return
        back = _is_older(revision, current(connection))
        (command.downgrade if back else command.upgrade)(configuration(connection), revision)


def _change_rows(connection: Connection, piece: Piece) -> None:
    with _nobody_else(connection):
        place = piece(connection, None)
    while place is not None:
        with _nobody_else(connection):
            place = piece(connection, place)


def _pieces(found: str | None, revision: str) -> list[tuple[str, Piece]]:
    """The row changes of the revisions on the way: `upgrade_piece` or `downgrade_piece`, with the schema it needs."""
    from alembic.script import ScriptDirectory

    if found is None:  # there are no rows
        return []
    target = {"base": "0000", "head": head()}.get(revision, revision)
    newest_first = list(ScriptDirectory.from_config(configuration()).walk_revisions())
    down = [(each.revision, each.module, "downgrade_piece") for each in newest_first if target < each.revision <= found]
    up = [
        (f"{int(each.revision) - 1:04}", each.module, "upgrade_piece")
        for each in reversed(newest_first)
        if found < each.revision <= target
    ]
    return [(schema, getattr(module, name)) for schema, module, name in down + up if hasattr(module, name)]


def _is_older(revision: str, than: str | None) -> bool:
    if revision in {"head", "base"} or than is None:
        return revision == "base"
    return int(revision) < int(than)


def current_revision(url: str) -> str | None:
    """The revision of the schema in the database, or None. Raises as `migrate` does."""
    with _connection(url) as connection:
        return current(connection)


def place_of(url: str) -> str:
    """Where that URL leads, with what libpq's variables add: `todo on db1:5432`. Raises as `migrate` does."""
    with _connection(url) as connection:
        info = _info(connection)
        return f"{info.dbname} on {info.host}:{info.port}"


# Some are reserved for superusers and, since PostgreSQL 16, for roles with `pg_use_reserved_connections`. With such a
# role the warning comes a few connections too early.
_ACCEPTED: Final = """
    select case when rolsuper then most else least(
        most - current_setting('superuser_reserved_connections')::int
             - coalesce(current_setting('reserved_connections', true)::int, 0),
        case when rolconnlimit >= 0 then rolconnlimit end, case when datconnlimit >= 0 then datconnlimit end
    ) end, pg_backend_pid()
    from pg_roles, pg_database, (select current_setting('max_connections')::int as most) as server
    where rolname = session_user and datname = current_database()
"""


def max_connections(url: str) -> int | None:
    """How many connections the database accepts of this URL's role; None behind a pooler. Raises as `migrate` does."""
    with _connection(url) as connection:
        accepted, pid = connection.execute(text(_ACCEPTED)).one()
        return int(accepted) if pid == _info(connection).backend_pid else None


def _info(connection: Connection) -> psycopg.ConnectionInfo:
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection).info


def is_current(url: str) -> bool:
    """Whether this version can use the schema: it is up to date, or one revision ahead, as in a rolling deploy.

    Raises as `migrate` does, and `UnfitDatabase` if the role of this URL may not read and write the tables.
    """
    with _connection(url) as connection:
        _check_rights(connection)
        return _is_current(connection)


def _is_current(connection: Connection) -> bool:
    """As `is_current`. Revisions are numbered consecutively, so that a newer one is recognized without knowing it."""
    found, known = current(connection), head()
    if found is not None and int(found) > int(known) + 1:
        raise UnfitDatabase(
            f"The schema is at revision {found}, too far ahead of this version, which knows {known}: "
            "install a newer version."
        )
    if found == known and (missing := _missing(connection)):
        raise UnfitDatabase(
            f"The schema is at revision {found}, but has no {', '.join(missing[:3])}: it was changed by hand, or by "
            "another version's unreleased revision of that number. Restore a backup, or use another database."
        )
    return found is not None and int(found) >= int(known)


def _missing(connection: Connection) -> list[str]:
    """The columns that this version uses and the schema does not have."""
    found = """
        select wanted.name, attribute.attname from unnest(cast(:names as text[])) as wanted(name)
        join pg_attribute as attribute on attribute.attrelid = to_regclass(wanted.name) and not attribute.attisdropped
    """
    there = {tuple(row) for row in connection.execute(text(found), {"names": list(metadata.tables)})}
    wanted = [(name, column.name) for name, table in metadata.tables.items() for column in table.columns]
    return [".".join(each) for each in wanted if each not in there]


def head() -> str:
    """The newest revision that this version knows: the number at the beginning of a file's name."""
    return max(file.name.partition("_")[0] for file in files(__name__).joinpath("versions").iterdir() if file.is_file())


def current(connection: Connection) -> str | None:
    """As `current_revision`, on an open connection."""
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return None
    return connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar_one_or_none()


def configuration(connection: Connection | None = None) -> "Config":
    """The configuration for Alembic's commands, on that connection."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "todo_adapters.postgres:migrations")
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _connection(url: str) -> Iterator[Connection]:
    arguments = connection_arguments(url) | {"autocommit": False}
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(**arguments),
        # A database may have another default; after the wait for the lock, the newest state must be read.
        isolation_level="READ COMMITTED",
        poolclass=NullPool,
        use_native_hstore=False,
        hide_parameters=True,
    )
    with unavailable_where_it_passes(), engine.connect() as connection:
        yield connection


def _check_encoding(connection: Connection) -> None:
    encoding = connection.execute(text("show server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise UnfitDatabase(f"The database must have the encoding UTF8; this one has {encoding}.")


def _check_rights(connection: Connection) -> None:
    """Raise `UnfitDatabase` with the statements that grant what a server's role lacks of the tables that exist."""
    wanted = [(name, right) for name, rights in _RIGHTS.items() for right in rights]
    names, rights = zip(*wanted, strict=True)
    lacking = connection.execute(text(_GRANTS), {"names": list(names), "rights": list(rights)}).scalars().all()
    if lacking:
        raise UnfitDatabase(f"The role lacks rights: run `{'; '.join(lacking)}` as the owner of the tables.")
