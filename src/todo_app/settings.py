"""The settings, read once from the environment. A value that makes no sense stops the start."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

from limits import parse_many
from platformdirs import user_data_path

from todo_adapters.jwt_identity.policy import check_secret, check_url

METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder through which several worker processes add their metrics up (prometheus_client's own variable)."""

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
# A request must be answered before a server that is told to stop gives up on it (GRACE in worker.py); it may take twice
# the timeout, once for its turn and once for its statement.
_DATABASE_TIMEOUTS: Final = (0.1, 14.0)
_RATE_LIMIT_TIMEOUTS: Final = (0.01, 5.0)
_PORTS: Final = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")

Network: TypeAlias = IPv4Network | IPv6Network
_Value = TypeVar("_Value")


class SettingsError(Exception):
    """A setting makes no sense. One line that names it and says what it must be; never its value if that is secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can choose; docs/settings.md describes each. Secrets are kept out of `repr`."""

    database_url: str | None = field(default=None, repr=False)
    migrations_database_url: str | None = field(default=None, repr=False)
    database_pool_size: int = 10
    database_timeout: float = 5.0
    secret: str | None = field(default=None, repr=False)
    jwks_url: str | None = None
    issuer: str | None = None
    audience: str | None = None
    checks_issuer_of_hs256: bool = False
    checks_audience_of_hs256: bool = False
    cors_origins: tuple[str, ...] = ("http://localhost:3000",)
    rate_limit: str = "1000/hour"
    rate_limit_store: str = field(default="memory://", repr=False)
    rate_limit_timeout: float = 0.25
    bad_token_limit: str = "100/minute"  # noqa: S105  (a limit, not a password)
    trusted_proxies: tuple[Network, ...] = ()
    log_level: str = "info"
    data_dir: Path = Path()

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Self:
        """The settings that these variables make; an empty one counts as not set. Raises `SettingsError`."""
        given = {name: value for name, value in env.items() if value}
        auth_url = _url(given, "BETTER_AUTH_URL")
        origin = _origin_of(auth_url) if auth_url else None
        return cls(
            database_url=_database_url(given, "DATABASE_URL"),
            migrations_database_url=_database_url(given, "TODO_MIGRATIONS_DATABASE_URL"),
            database_pool_size=_pool_size(given.get("TODO_DATABASE_POOL_SIZE", "10")),
            database_timeout=_seconds(given, "TODO_DATABASE_TIMEOUT", "5", *_DATABASE_TIMEOUTS),
            secret=_secret(given),
            jwks_url=_url(given, "TODO_JWKS_URL") or (f"{auth_url.rstrip('/')}/api/auth/jwks" if auth_url else None),
            issuer=given.get("TODO_JWT_ISSUER", origin),
            audience=given.get("TODO_JWT_AUDIENCE", origin),
            checks_issuer_of_hs256="TODO_JWT_ISSUER" in given,
            checks_audience_of_hs256="TODO_JWT_AUDIENCE" in given,
            cors_origins=_origins(given.get("TODO_CORS_ORIGINS", "http://localhost:3000")),
            rate_limit=_rate_limit(given, "TODO_RATE_LIMIT", "1000/hour"),
            bad_token_limit=_rate_limit(given, "TODO_BAD_TOKEN_LIMIT", "100/minute"),
            trusted_proxies=_networks(given.get("TODO_TRUSTED_PROXIES", "")),
            rate_limit_store=_rate_limit_store(given.get("TODO_RATE_LIMIT_STORE", "memory://")),
            rate_limit_timeout=_seconds(given, "TODO_RATE_LIMIT_TIMEOUT", "0.25", *_RATE_LIMIT_TIMEOUTS),
            log_level=_one_of(given.get("TODO_LOG_LEVEL", "info").lower(), LOG_LEVELS, "TODO_LOG_LEVEL"),
            data_dir=_data_dir(given.get("TODO_DATA_DIR")),
        )._consistent()

    def _consistent(self) -> Self:
        if self.migrations_database_url and not self.database_url:
            raise SettingsError("TODO_MIGRATIONS_DATABASE_URL needs DATABASE_URL: it is another way to that database")
        if self.jwks_url and not (self.issuer and self.audience):
            raise SettingsError(
                "TODO_JWT_ISSUER and TODO_JWT_AUDIENCE must be set with TODO_JWKS_URL, unless BETTER_AUTH_URL is"
            )
        return self


def _database_url(given: Mapping[str, str], name: str) -> str | None:
    url = given.get(name)
    if url is not None and not re.match(r"postgres(ql)?://", url):
        raise SettingsError(f"{name} must begin with postgresql://")
    return url


def _pool_size(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,2}", text, re.ASCII):
        raise SettingsError(f"TODO_DATABASE_POOL_SIZE must be a whole number from 1 to 999, not {text!r}")
    return int(text)


def _seconds(given: Mapping[str, str], name: str, default: str, least: float, most: float) -> float:
    text = given.get(name, default)
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", text, re.ASCII) or not least <= float(text) <= most:
        raise SettingsError(f"{name} must be seconds from {least} to {most:.0f}, not {text!r}")
    return float(text)


def _secret(given: Mapping[str, str]) -> str | None:
    secret = given.get("BETTER_AUTH_SECRET")
    if secret is not None:
        if not _is_text(secret):
            raise SettingsError("BETTER_AUTH_SECRET must be text in UTF-8")
        _check("BETTER_AUTH_SECRET", check_secret, secret.encode())
    return secret


def _url(given: Mapping[str, str], name: str) -> str | None:
    url = given.get(name)
    if url is not None:
        _check(name, check_url, url)
    return url


def _check(name: str, check: Callable[[_Value], None], value: _Value) -> None:
    try:
        check(value)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes in the environment that are not UTF-8
        return False
    return True


def _origin_of(url: str) -> str:
    """The origin as browsers and Better Auth write it: in small letters, without the scheme's own port."""
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc.removesuffix(f':{_PORTS[parts.scheme]}')}"


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if not _ORIGIN.fullmatch(origin) or _origin_of(origin) != origin or not _has_host_and_port(origin):
            raise SettingsError(f"TODO_CORS_ORIGINS must list origins such as https://app.example.org, not {origin!r}")
    return origins


def _rate_limit(given: Mapping[str, str], name: str, default: str) -> str:
    text = given.get(name, default)
    with suppress(ValueError):
        limits = parse_many(text)
        if len(limits) == 1 and limits[0].amount > 0:
            return text
    raise SettingsError(f"{name} must be one limit such as {default}, not {text!r}")


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"TODO_TRUSTED_PROXIES must list addresses or networks (10.0.0.0/8): {error}") from None


def _rate_limit_store(text: str) -> str:
    if text != "memory://" and not (re.match("(redis|valkey)s?://", text) and _has_host_and_port(text)):
        raise SettingsError(
            "TODO_RATE_LIMIT_STORE must be memory:// or like redis://host:6379/0 or valkey://host:6379/0"
        )
    return text


def _has_host_and_port(url: str) -> bool:
    with suppress(ValueError):
        return bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    return False


def _data_dir(text: str | None) -> Path:
    try:
        return Path(text or user_data_path("todo-api")).expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(f"TODO_DATA_DIR: {error}") from None


def _one_of(value: str, choices: tuple[str, ...], name: str) -> str:
    if value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value
