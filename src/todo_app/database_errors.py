"""Reports why the configured database cannot be used in one line, instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from todo_adapters.postgres.migrations import UnfitDatabase
from todo_adapters.postgres.url import BadVariable, variables_beside
from todo_app.settings import SettingsError
from todo_core import StoreUnavailable


@contextmanager
def database_errors_named(url: str, setting: str = "DATABASE_URL") -> Iterator[None]:
    """Raise errors of that setting's database as `SettingsError`, without the URL, which contains the password.

    If no connection can be made, libpq's variables, which may be the reason, are named.
    """
    try:
        yield
    except BadVariable as error:
        raise SettingsError(str(error)) from error
    except (ValueError, UnfitDatabase) as error:
        raise SettingsError(f"{setting}: {error}") from error
    except StoreUnavailable as error:
        raise SettingsError(f"{setting}: the database cannot be reached: {_reason(url, error.__cause__)}") from error
    except DBAPIError as error:
        raise SettingsError(f"{setting}: the database reports: {_reason(url, error.orig)}") from error


def _reason(url: str, error: BaseException | None) -> str:
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    is_of_server = getattr(error, "sqlstate", None) is not None
    names = [] if is_of_server else variables_beside(url)
    return f"{first_line} (set in the environment: {', '.join(names)})" if names else first_line
