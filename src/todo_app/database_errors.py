"""Reports why the configured database cannot be used in one line, instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from todo_adapters.postgres.migrations import UnfitDatabase
from todo_app.settings import SettingsError
from todo_core import StoreUnavailable


@contextmanager
def database_errors_named(setting: str = "DATABASE_URL") -> Iterator[None]:
    """Raise errors of that setting's database as `SettingsError`, without the URL, which contains the password."""
    try:
        yield
    except (ValueError, UnfitDatabase) as error:
        raise SettingsError(f"{setting}: {error}") from error
    except StoreUnavailable as error:
        raise SettingsError(f"{setting}: the database cannot be reached: {_first_line(error.__cause__)}") from error
    except DBAPIError as error:
        raise SettingsError(f"{setting}: the database reports: {_first_line(error.orig)}") from error


def _first_line(error: BaseException | None) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
