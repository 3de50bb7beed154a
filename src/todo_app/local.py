"""What the server makes itself if nothing is configured: a database, a secret, and tokens to try it with."""

import os
import resource
import secrets
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final

from todo_adapters.embedded import EmbeddedPostgres
from todo_adapters.embedded.cluster import signals_held
from todo_adapters.embedded.folders import make_private, read_private, sync
from todo_adapters.jwt_identity import issue_token
from todo_adapters.jwt_identity.policy import check_secret
from todo_app.log import Log
from todo_app.settings import Settings, SettingsError, trimmed
from todo_core import Scope

OPEN_FILES: Final = 10_000  # of one process; macOS allows at most 10 240
_FILES_OF_POSTGRES: Final = 64
_SECRET_FILE: Final = 1024  # bytes
_LARGEST_FILE: Final = 1024**3  # bytes: PostgreSQL splits larger tables into several files


class LocalDatabase:
    """A context with the URL of the database: the configured one, or an embedded one that runs during the context."""

    def __init__(self, settings: Settings, log: Log | None = None) -> None:
        self._settings = settings
        self._log = log
        self._embedded: EmbeddedPostgres | None = None

    def __enter__(self) -> str:
        if self._settings.database_url is not None:
            return readable(
                "DATABASE_URL", self._settings.database_url, lambda: self._log or Log(self._settings.log_level)
            )
        _forget_other_databases()
        if (files := open_files()) < _FILES_OF_POSTGRES:
            raise SettingsError(
                f"the limit on open files is {files}, and the embedded PostgreSQL needs {_FILES_OF_POSTGRES}: "
                "raise it (`ulimit -n 1024`), or set DATABASE_URL"
            )
        allow_files_of(_LARGEST_FILE, "the embedded PostgreSQL", "set DATABASE_URL")
        self._embedded = EmbeddedPostgres.start(self._settings.data_dir)
        return self._embedded.url

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._embedded is not None:
            # A second signal must not leave the database running: some supervisors and terminals send several.
            with signals_held():
                self._embedded.stop()


def readable(setting: str, url: str, log: Callable[[], Log]) -> str:
    """The setting's URL without the parameters that are for other clients, which are logged. Raises `SettingsError`."""
    from todo_adapters.postgres.url import without_foreign_parameters  # `todo token` needs no driver

    try:
        kept, dropped = without_foreign_parameters(url)
    except ValueError as error:
        raise SettingsError(f"{setting}: {error}") from None
    if dropped:
        log().events.warning("database_url_parameters_dropped", setting=setting, parameters=dropped)
    return kept


def _forget_other_databases() -> None:
    """Remove libpq's variables from the environment of this process and its workers: they are for another database.

    A URL does not override all of them: an unknown `PGSERVICE`, or an invalid `PGTZ`, fails every connection.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def open_files() -> int:
    """Raise the limit on open files, which child processes inherit, as far as allowed, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        soft = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return OPEN_FILES if soft == resource.RLIM_INFINITY else min(soft, OPEN_FILES)


def allow_files_of(size: int, purpose: str, way_out: str) -> None:
    """Raise the limit on the size of files as far as allowed. Raises `SettingsError` if it is below `size` bytes."""
    _, allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, allowed))
    if allowed != resource.RLIM_INFINITY and allowed < size:
        raise SettingsError(
            f"the limit on the size of files is {allowed} bytes, and {purpose} needs {size}: "
            f"raise it (`ulimit -f unlimited`), or {way_out}"
        )


def bring_up_to_date(settings: Settings, database_url: str) -> None:
    """Migrate the embedded database; raise `SettingsError` for a configured one whose schema is not up to date."""
    from todo_adapters.postgres.migrations import is_current, migrate  # `todo token` needs no driver
    from todo_app.database_errors import database_errors_named

    with database_errors_named(database_url):
        if settings.database_url is None:
            migrate(database_url)
        elif not is_current(database_url):
            raise SettingsError(
                "DATABASE_URL: the schema is missing, or of another version; run `todo migrate` first "
                "(in a clone, `python3 run.py migrate`)"
            )


def check_pool(settings: Settings, database_url: str, workers: int) -> None:
    """Log if the workers may open as many connections as the database accepts of their role, or more."""
    from todo_adapters.postgres.migrations import max_connections
    from todo_app.database_errors import database_errors_named

    with database_errors_named(database_url):
        accepted = max_connections(database_url)
    if accepted is not None and (connections := workers * settings.database_pool_size) >= accepted:
        Log(settings.log_level).events.warning(
            "database_pool_too_large",
            connections=connections,
            max_connections=accepted,
            consequence="some requests will get 503: replicas * workers * TODO_DATABASE_POOL_SIZE must be below "
            "max_connections (here: what the database accepts of this role)",
        )


def local_secret(data_dir: Path) -> str:
    """The secret of this data folder, made at first use: 256 random bits in a file that only its owner may read.

    Raises `SettingsError`, and `EmbeddedDatabaseError` if another user could have read or written it.
    """
    path = data_dir / "secret"
    try:
        make_private(data_dir)
        if not path.exists():
            allow_files_of(_SECRET_FILE, "the secret", "set BETTER_AUTH_SECRET")
            _write_once(path, secrets.token_urlsafe(32))
        secret = trimmed("BETTER_AUTH_SECRET", read_private(path))  # which the workers read it as
        check_secret(secret.encode())
    except IsADirectoryError as error:
        raise SettingsError(f"TODO_DATA_DIR: {path} is a folder: move it away to have a secret made there") from error
    except OSError as error:
        raise SettingsError(f"TODO_DATA_DIR: {path} cannot be used: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"TODO_DATA_DIR: {path} cannot be used: {error}") from error
    return secret


def token_for(
    user: str, life: timedelta, secret: str, settings: Settings, scopes: Collection[Scope] | None = None
) -> str:
    """A token that a server with these settings and this secret accepts. Raises `InvalidInput` as `owner_id` does."""
    return issue_token(
        secret.encode(),
        user,
        expires_in=life,
        now=datetime.now(UTC),
        issuer=settings.issuer if settings.checks_issuer_of_hs256 else None,
        audience=settings.audience if settings.checks_audience_of_hs256 else None,
        scopes=scopes,
    )


def _write_once(path: Path, text: str) -> None:
    """Write a file atomically and durably, unless it exists."""
    with tempfile.NamedTemporaryFile("w", prefix=f"{path.name}.", dir=path.parent, encoding="ascii") as own:
        own.write(text)
        own.flush()
        os.fsync(own.fileno())
        with suppress(FileExistsError):
            os.link(own.name, path)
        sync(path.parent)
