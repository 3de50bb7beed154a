"""The settings, read once from the environment. A value that makes no sense stops the start."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

from limits import parse as parse_limit
from platformdirs import user_data_path

from todo_adapters.jwt_identity.policy import check_secret, check_url

METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder through which several worker processes add their metrics up (prometheus_client's own variable)."""

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")

Network: TypeAlias = IPv4Network | IPv6Network
_Value = TypeVar("_Value")


class SettingsError(Exception):
    """A setting makes no sense. One line that names it and says what it must be; never its value if that is secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can choose; docs/settings.md describes each. Secrets are kept out of `repr`."""

    database_url: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    jwks_url: str | None = None
    issuer: str | None = None
    audience: str | None = None
    checks_issuer_of_hs256: bool = False
    checks_audience_of_hs256: bool = False
    cors_origins: tuple[str, ...] = ("http://localhost:3000",)
    rate_limit: str = "1000/hour"
    rate_limit_store: str = field(default="memory://", repr=False)
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
            database_url=_database_url(given),
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
            log_level=_one_of(given.get("TODO_LOG_LEVEL", "info").lower(), LOG_LEVELS, "TODO_LOG_LEVEL"),
            data_dir=Path(given.get("TODO_DATA_DIR") or user_data_path("todo-api")).expanduser().absolute(),
        )


def _database_url(given: Mapping[str, str]) -> str | None:
    url = given.get("DATABASE_URL")
    if url is not None and not re.match(r"postgres(ql)?://", url):
        raise SettingsError("DATABASE_URL must begin with postgresql://")
    return url


def _secret(given: Mapping[str, str]) -> str | None:
    secret = given.get("BETTER_AUTH_SECRET")
    if secret is not None:
        _check("BETTER_AUTH_SECRET", check_secret, secret.encode("utf-8", "surrogateescape"))
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


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise SettingsError(f"TODO_CORS_ORIGINS must list origins such as https://app.example.org, not {origin!r}")
    return origins


def _rate_limit(given: Mapping[str, str], name: str, default: str) -> str:
    text = given.get(name, default)
    try:
        parse_limit(text)
    except ValueError:
        raise SettingsError(f"{name} must look like {default}, not {text!r}") from None
    return text


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"TODO_TRUSTED_PROXIES must list addresses or networks (10.0.0.0/8): {error}") from None


def _rate_limit_store(text: str) -> str:
    if not re.match(r"memory://$|(redis|valkey)s?://", text):
        raise SettingsError("TODO_RATE_LIMIT_STORE must be memory:// or begin with redis:// or valkey://")
    return text


def _one_of(value: str, choices: tuple[str, ...], name: str) -> str:
    if value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value
