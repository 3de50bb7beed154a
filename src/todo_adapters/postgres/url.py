"""Database URLs as hosting providers give them, with parameters for other clients than libpq."""

import os
import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

# Parameters that other clients document, and that affect neither where data are stored nor who can read them.
_FOREIGN: Final = {
    "connection_limit", "pgbouncer", "pool_timeout", "socket_timeout", "statement_cache_size",  # Prisma
    "supa", "workaround",  # Supabase, Vercel
    "uselibpqcompat",  # node-postgres
    "prepareThreshold", "ApplicationName", "tcpKeepAlive",  # pgJDBC
    "default_query_exec_mode", "pool_max_conns", "statement_cache_capacity",  # pgx
    "binary_parameters",  # lib/pq
    "prepared_statement_cache_size",  # SQLAlchemy with asyncpg
}  # fmt: skip
# A schema decides where data are stored: only `public`, the default, may be dropped. Prisma always names it.
_FOREIGN_PAIRS: Final = {("schema", "public"), ("currentSchema", "public"), ("search_path", "public")}
_SCHEMAS: Final = {name for name, _ in _FOREIGN_PAIRS}
_SSL: Final = (
    "the database URL has the parameter ssl with another value than true: write sslmode=require, "
    "or sslmode=disable for no TLS"
)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")

# libpq's variables that belong to no parameter of a URL.
_OF_NO_PARAMETER: Final = {"PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ", "PGDATESTYLE", "PGGEQO"}
_CONNECT_TIMEOUT: Final = "5"  # unless the URL or PGCONNECT_TIMEOUT says otherwise

ENCODE: Final = "percent-encode @ / : % # ? in the user and password (@ is %40)"
"""What to do about a URL that cannot be read, or that a password's characters have torn apart."""


class BadVariable(ValueError):
    """A variable of libpq's has an unusable value. The message names it."""


class Readable(NamedTuple):
    """A URL that libpq can read, and the names of the parameters that were dropped."""

    url: str
    dropped: tuple[str, ...]


def without_foreign_parameters(url: str) -> Readable:
    """The URL without parameters for other clients. It is parsed as libpq does (`conninfo_uri_parse`).

    Raises `ValueError` for an unknown parameter, or another `ssl` than true; the message quotes the name and nothing
    else. Also for an unencoded @ or / in the password: libpq would take what follows it for the host, and errors would
    quote it.
    """
    scheme, separator, rest = url.partition("://")
    credentials = re.match(r"[^@/]*@", rest)
    start = len(scheme + separator) + (credentials.end() if credentials else 0)
    address, mark, query = url[start:].partition("?")
    if "@" in address:
        raise ValueError(f"the database URL cannot be read: {ENCODE}")
    kept, dropped = [], []
    for parameter in query.split("&"):
        name, _, value = (unquote(part) for part in parameter.partition("="))
        if name in _FOREIGN or (name, value) in _FOREIGN_PAIRS:
            dropped.append(name)
        else:
            _require_known(name, query)
            if name == "ssl" and value != "true":  # which is all that libpq takes
                raise ValueError(f"the database URL cannot be read: {ENCODE}" if "@" in query else _SSL)
            kept.append(parameter)
    mark = mark if any(kept) else ""
    return Readable(url[:start] + address + mark + "&".join(kept), tuple(dropped))


def _require_known(name: str, query: str) -> None:
    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | {"ssl", ""}
    if name in known:
        return
    if "@" in query or not _NAME.fullmatch(name):  # part of a password, perhaps
        raise ValueError(f"the database URL cannot be read: {ENCODE}")
    way_out = "name the schema with options=-csearch_path%3DNAME" if name in _SCHEMAS else "remove it from the URL"
    raise ValueError(f"the database URL has a parameter that PostgreSQL does not know, {name}: {way_out}")


def connect_timeout() -> str:
    """The seconds for a connection if the URL does not say: `PGCONNECT_TIMEOUT`, or 5. Raises `BadVariable`."""
    text = os.environ.get("PGCONNECT_TIMEOUT") or _CONNECT_TIMEOUT
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", text, re.ASCII):
        raise BadVariable("PGCONNECT_TIMEOUT must be a whole number of seconds, such as 5: correct it, or unset it")
    return text


def variables_beside(url: str) -> list[str]:
    """The names of libpq's variables that are set, and count because this readable URL lacks their parameter."""
    given = {*conninfo_to_dict(url), "client_encoding"}  # which is always UTF8
    missing = {
        option.envvar.decode()
        for option in Conninfo.get_defaults()
        if option.envvar and option.keyword.decode() not in given
    }
    return sorted(name for name in missing | _OF_NO_PARAMETER if os.environ.get(name))
