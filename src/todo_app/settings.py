"""The settings, read once from the environment. An invalid value prevents the start."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit

from limits import parse_many
from platformdirs import user_data_path

from todo_adapters.jwt_identity.policy import InsecureUrl, check_secret, check_url

METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's variable for the folder in which several workers share their metrics."""

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
# A request may take twice the timeout, once for its turn and once for its statement, and must be answered before a
# server that is stopped gives up on it (GRACE in worker.py).
_DATABASE_TIMEOUTS: Final = (0.1, 14.0)
_RATE_LIMIT_TIMEOUTS: Final = (0.01, 5.0)
_TASKS_MAX: Final = 1_000_000
_HISTORY_MAX: Final = 3650  # days
_RATE_MAX: Final = 10**9
_RATE_DAYS_MAX: Final = 366
_PORTS: Final = {"http": 80, "https": 443}
# Ratios of difflib: TODO_ORIGINS is TODO_CORS_ORIGINS, TODO_TOKEN is not TODO_BAD_TOKEN_LIMIT; DATABASE_URI is
# DATABASE_URL, DATABASE_USER is not.
_ALIKE: Final = 0.75
_NEARLY_EQUAL: Final = 0.9
# What others call these.
_OTHER_NAMES: Final = {
    "TODO_HOST": "`todo serve --host`",
    "TODO_PORT": "`todo serve --port`",
    "TODO_WORKERS": "`todo serve --workers`",
    "TODO_SECRET": "BETTER_AUTH_SECRET",
    "TODO_JWT_SECRET": "BETTER_AUTH_SECRET",
}
# Of clients, of compose.yaml, of this project's tests, and those with which Kubernetes names services.
_NOT_SETTINGS: Final = re.compile(
    r"TODO_(TOKEN|VERSION|SITE|TLS|REPLICAS|TEST_\w+|(\w{1,63}_)?(SERVICE_(HOST|PORT\w{0,63})|PORT_[0-9]{1,5}_\w{1,63}))"
)
_QUOTED: Final = re.compile("\"[^\"]*\"|'[^']*'")
_BASE_PATH: Final = "/api/auth"  # Better Auth's default, if its URL has no path
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")
# Origins of apps made of web pages: capacitor://localhost, tauri://localhost, chrome-extension://….
_APP_ORIGIN = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]{0,60}://[\w.-]{1,255}", re.ASCII)
_PUBLIC_URL = re.compile(rf"{_ORIGIN.pattern}((?:/(?!\.\.?(?:/|$))[\w.~-]{{1,60}}){{0,10}})/?", re.ASCII)

Network: TypeAlias = IPv4Network | IPv6Network

DEFAULTS: Final = {
    "DATABASE_URL": "",
    "TODO_MIGRATIONS_DATABASE_URL": "",
    "TODO_DATABASE_POOL_SIZE": "10",
    "TODO_DATABASE_TIMEOUT": "5",
    "TODO_DATABASE_SHARDED": "false",
    "BETTER_AUTH_SECRET": "",
    "BETTER_AUTH_URL": "",
    "TODO_JWKS_URL": "",
    "TODO_INSECURE_JWKS": "false",
    "TODO_JWT_ISSUER": "",
    "TODO_JWT_AUDIENCE": "",
    "TODO_CORS_ORIGINS": "http://localhost:3000",
    "TODO_PUBLIC_URL": "",
    "TODO_RATE_LIMIT": "1000/hour",
    "TODO_RATE_LIMIT_STORE": "memory://",
    "TODO_RATE_LIMIT_TIMEOUT": "0.25",
    "TODO_BAD_TOKEN_LIMIT": "100/minute",
    "TODO_CONCURRENT_REQUESTS_PER_USER": "16",
    "TODO_WAITING_REQUESTS_PER_USER": "64",
    "TODO_TASKS_PER_USER": "10000",
    "TODO_HISTORY_DAYS": "30",
    "TODO_TRUSTED_PROXIES": "",
    "TODO_KEEP_ALIVE": "65",
    "TODO_LOG_LEVEL": "info",
    "TODO_DATA_DIR": "",
}
"""Every variable, and its default; empty: none."""
# What an invalid setting is replaced by, to find the faults of those that do not depend on it.
_STAND_INS: Final = {
    **DEFAULTS,
    "DATABASE_URL": "postgresql://",
    "TODO_JWKS_URL": "https://localhost",
    "TODO_INSECURE_JWKS": "true",
    "TODO_DATA_DIR": "/",
}


class SettingsError(Exception):
    """A setting is invalid. The message is its name and what it must be, without secret values; a line for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator's settings; docs/settings.md describes each. Secrets are not in `repr`."""

    database_url: str | None = field(repr=False)
    migrations_database_url: str | None = field(repr=False)
    database_pool_size: int
    database_timeout: float
    database_sharded: bool
    secret: str | None = field(repr=False)
    jwks_url: str | None
    issuer: str | None
    audience: str | None
    checks_issuer_of_hs256: bool
    checks_audience_of_hs256: bool
    insecure_jwks: bool
    public_url: str | None
    cors_origins: tuple[str, ...]
    rate_limit: str
    rate_limit_store: str = field(repr=False)
    rate_limit_timeout: float
    bad_token_limit: str
    concurrent_requests_per_user: int
    waiting_requests_per_user: int
    tasks_per_user: int
    history_days: int
    trusted_proxies: tuple[Network, ...]
    keep_alive: int
    log_level: str
    data_dir: Path
    trimmed: tuple[str, ...]
    """The variables whose values ended with a newline, which was removed."""
    quoted: tuple[str, ...]
    """The settings whose values have quotation marks around them, as from a file of which no shell removed them."""
    misspelt: tuple[tuple[str, str | None], ...]
    """Variables that are ignored, each with the setting or argument that is probably meant, if any."""

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Self:
        """The settings from these variables. An empty variable counts as not set. Raises `SettingsError`."""
        given = DEFAULTS | {name: kept for name, value in env.items() if (kept := trimmed(name, value))}
        faults: list[str] = []
        while True:
            try:
                settings = cls._read(given, env)
                if not faults:
                    return settings._consistent()
            except SettingsError as fault:
                faults.append(str(fault))
                name = re.split(r"\W", faults[-1], maxsplit=1)[0]
                if given.get(name) != _STAND_INS.get(name):
                    given[name] = _STAND_INS[name]
                    continue
            raise SettingsError("\n".join(faults))

    @classmethod
    def _read(cls, given: Mapping[str, str], env: Mapping[str, str]) -> Self:
        auth_url, origin = _auth_url_and_origin(given)
        return cls(
            database_url=_database_url(given, "DATABASE_URL"),
            migrations_database_url=_database_url(given, "TODO_MIGRATIONS_DATABASE_URL"),
            database_timeout=_seconds(given, "TODO_DATABASE_TIMEOUT", *_DATABASE_TIMEOUTS),
            database_sharded=_is_true(given, "TODO_DATABASE_SHARDED"),
            secret=_secret(given["BETTER_AUTH_SECRET"]),
            jwks_url=_jwks_url(given, auth_url),
            issuer=_claim(given, "TODO_JWT_ISSUER", origin),
            audience=_claim(given, "TODO_JWT_AUDIENCE", origin),
            checks_issuer_of_hs256=bool(given["TODO_JWT_ISSUER"]),
            checks_audience_of_hs256=bool(given["TODO_JWT_AUDIENCE"]),
            insecure_jwks=_is_true(given, "TODO_INSECURE_JWKS"),
            public_url=_public_url(given["TODO_PUBLIC_URL"]),
            cors_origins=_origins(given["TODO_CORS_ORIGINS"]),
            rate_limit=_rate_limit(given, "TODO_RATE_LIMIT"),
            bad_token_limit=_rate_limit(given, "TODO_BAD_TOKEN_LIMIT"),
            **_whole_numbers(given),
            trusted_proxies=_networks(given["TODO_TRUSTED_PROXIES"]),
            rate_limit_store=_rate_limit_store(given["TODO_RATE_LIMIT_STORE"]),
            rate_limit_timeout=_seconds(given, "TODO_RATE_LIMIT_TIMEOUT", *_RATE_LIMIT_TIMEOUTS),
            log_level=_one_of(given["TODO_LOG_LEVEL"].lower(), LOG_LEVELS, "TODO_LOG_LEVEL"),
            data_dir=_data_dir(given),
            trimmed=tuple(name for name, value in env.items() if trimmed(name, value) not in ("", value)),
            quoted=tuple(name for name in DEFAULTS if _QUOTED.fullmatch(given[name])),
            misspelt=tuple((name, meant_by(name)) for name, value in given.items() if _is_misspelt(name, value)),
        )

    @property
    def history(self) -> timedelta:
        """How long changes are kept."""
        return timedelta(days=self.history_days)

    @property
    def root_path(self) -> str:
        """The prefix of every path as clients see it, such as `/todo`; usually empty."""
        return urlsplit(self.public_url).path.rstrip("/") if self.public_url else ""

    def _consistent(self) -> Self:
        if self.migrations_database_url and not self.database_url:
            raise SettingsError(
                "TODO_MIGRATIONS_DATABASE_URL requires DATABASE_URL: it is another URL of that database"
            )
        if self.database_sharded and not self.database_url:
            raise SettingsError(
                "TODO_DATABASE_SHARDED requires DATABASE_URL: the embedded PostgreSQL is on one machine"
            )
        if self.jwks_url and not (self.issuer and self.audience):
            raise SettingsError(
                "TODO_JWT_ISSUER and TODO_JWT_AUDIENCE must be set with TODO_JWKS_URL, unless BETTER_AUTH_URL is"
            )
        return self


def _whole_numbers(given: Mapping[str, str]) -> dict[str, int]:
    return {
        "database_pool_size": _whole(given, "TODO_DATABASE_POOL_SIZE", 1),
        "keep_alive": _whole(given, "TODO_KEEP_ALIVE", 1),
        "concurrent_requests_per_user": _whole(given, "TODO_CONCURRENT_REQUESTS_PER_USER", 1),
        "waiting_requests_per_user": _whole(given, "TODO_WAITING_REQUESTS_PER_USER", 0),
        "tasks_per_user": _whole(given, "TODO_TASKS_PER_USER", 1, _TASKS_MAX),
        "history_days": _whole(given, "TODO_HISTORY_DAYS", 1, _HISTORY_MAX),
    }


def _database_url(given: Mapping[str, str], name: str) -> str | None:
    url = given[name]
    if url and not re.match(r"postgres(ql)?://", url):
        raise SettingsError(
            f"{name} must begin with postgresql://, as in postgresql://user:password@host:5432/database"
        )
    return url or None


def _whole(given: Mapping[str, str], name: str, minimum: int, maximum: int = 999) -> int:
    text = given[name]
    if not re.fullmatch("0|[1-9][0-9]{0,8}", text, re.ASCII) or not minimum <= int(text) <= maximum:
        raise SettingsError(f"{name} must be a whole number from {minimum} to {maximum}, not {text!r}")
    return int(text)


def _seconds(given: Mapping[str, str], name: str, minimum: float, maximum: float) -> float:
    text = given[name]
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", text, re.ASCII) or not minimum <= float(text) <= maximum:
        raise SettingsError(f"{name} must be seconds from {minimum} to {maximum:.0f}, not {text!r}")
    return float(text)


def _secret(secret: str) -> str | None:
    if not _is_text(secret):
        raise SettingsError("BETTER_AUTH_SECRET must be text in UTF-8")
    if secret:
        try:
            check_secret(secret.encode())
        except ValueError as error:
            raise SettingsError(f"BETTER_AUTH_SECRET: {error}") from None
    return secret or None


def meant_by(name: str) -> str | None:
    """The setting, or argument, that a variable misspells; None if it is one, or resembles none."""
    if name in DEFAULTS or name in _OTHER_NAMES:
        return _OTHER_NAMES.get(name)
    cutoff = _ALIKE if name.startswith("TODO_") else _NEARLY_EQUAL
    return next(iter(get_close_matches(name.upper(), DEFAULTS, n=1, cutoff=cutoff)), None)


def _is_misspelt(name: str, value: str) -> bool:
    if name in DEFAULTS or _NOT_SETTINGS.fullmatch(name) or value.startswith("tcp://"):
        return False
    return name.startswith("TODO_") or meant_by(name) is not None


def trimmed(name: str, value: str) -> str:
    """A variable's value; for our settings without the newlines that a file leaves at the end."""
    # All of them: the workers trim what the server has trimmed.
    return value.rstrip("\r\n") if name in DEFAULTS else value


def _auth_url_and_origin(given: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Better Auth's URL and its origin. It may be http if keys are fetched from elsewhere."""
    url = given["BETTER_AUTH_URL"] or None
    if url is not None:
        _check_url(given, "BETTER_AUTH_URL", url, insecure=bool(given["TODO_JWKS_URL"]))
        if "?" in url:
            raise SettingsError("BETTER_AUTH_URL must have no query: it is Better Auth's origin, with its path if any")
    return url, _origin_of(url) if url else None


def _jwks_url(given: Mapping[str, str], auth_url: str | None) -> str | None:
    """The URL of the keys: below Better Auth's base path, which is the path of its URL if that has one."""
    if url := given["TODO_JWKS_URL"]:
        _check_url(given, "TODO_JWKS_URL", url)
        return url
    if auth_url is None:
        return None
    base = auth_url.rstrip("/")
    return f"{base if urlsplit(base).path else base + _BASE_PATH}/jwks"


def _check_url(given: Mapping[str, str], name: str, url: str, *, insecure: bool = False) -> None:
    insecure = insecure or _is_true(given, "TODO_INSECURE_JWKS")
    try:
        check_url(url, insecure=insecure)
    except InsecureUrl as error:
        raise SettingsError(f"{_of_setting(name, error)}; TODO_INSECURE_JWKS=true allows it") from None
    except ValueError as error:
        raise SettingsError(_of_setting(name, error)) from None


def _of_setting(name: str, error: ValueError) -> str:
    return str(error).replace("the JWKS URL", name)


def _claim(given: Mapping[str, str], name: str, default: str | None) -> str | None:
    value = given[name] or default
    if value is not None and not value.isprintable():
        raise SettingsError(f"{name} must be one line of printable characters")
    return value


def _is_true(given: Mapping[str, str], name: str) -> bool:
    return _one_of(given[name].lower(), ("true", "false"), name) == "true"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes in the environment that are not UTF-8
        return False
    return True


def _origin_of(url: str) -> str:
    """The origin as browsers and Better Auth write it: lowercase, without the scheme's default port."""
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc.removesuffix(f':{_PORTS[parts.scheme]}')}"


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if not _is_origin(origin):
            meant = _meant(origin)
            way_out = f": write {meant} (scheme, host in lower case and ASCII, no path, no usual port)" if meant else ""
            raise SettingsError(
                "TODO_CORS_ORIGINS must list origins such as https://app.example.org or capacitor://localhost, "
                f"not {origin!r}{way_out}"
            )
    return origins


def _is_origin(text: str) -> bool:
    is_web = _ORIGIN.fullmatch(text) and _origin_of(text) == text and _has_host_and_port(text)
    return bool(is_web or _APP_ORIGIN.fullmatch(text))


def _meant(text: str) -> str | None:
    """The origin as browsers send it, if it was only spelled in another way."""
    plain = text.lower().rstrip("/")
    if plain.startswith(("localhost", "127.0.0.1")):
        plain = f"http://{plain}"
    with suppress(ValueError):
        plain = _without_path(plain)
        if _ORIGIN.fullmatch(plain):
            plain = _origin_of(plain)
    return plain if _is_origin(plain) else None


def _without_path(url: str) -> str:
    """A web page's URL without what follows the host and port, and with the host in ASCII. May raise `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        return url
    if parts.netloc.isascii():
        return f"{parts.scheme}://{parts.netloc}"
    host, colon, port = parts.netloc.partition(":")
    punycode = host.encode("idna")
    is_same = punycode.decode("idna") == host  # browsers have another for straße.de than this, strasse.de
    return f"{parts.scheme}://{punycode.decode()}{colon}{port}" if is_same else url


def _public_url(url: str) -> str | None:
    if url and not (_PUBLIC_URL.fullmatch(url) and _has_host_and_port(url)):
        raise SettingsError(f"TODO_PUBLIC_URL must be a URL such as https://example.org/todo, not {url!r}")
    return url or None


def _rate_limit(given: Mapping[str, str], name: str) -> str:
    text = given[name]
    with suppress(ValueError):
        limits = parse_many(text)
        # The package reads `per 0 hour` as one hour.
        has_zero = re.search(r"(?:/|per)\s*0+\s*[a-z]", text, re.IGNORECASE)
        within = 0 < limits[0].amount <= _RATE_MAX and limits[0].get_expiry() <= _RATE_DAYS_MAX * 86_400
        if len(limits) == 1 and within and not has_zero:
            return text
    raise SettingsError(
        f"{name} must be one limit such as {DEFAULTS[name]}, of 1 to {_RATE_MAX} requests in 1 second "
        f"to {_RATE_DAYS_MAX} days, not {text!r}"
    )


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"TODO_TRUSTED_PROXIES must list addresses or networks (10.0.0.0/8): {error}") from None


def _rate_limit_store(text: str) -> str:
    is_url = re.match("(redis|valkey)s?://[^/?#]+[^@]*$", text) and _has_host_and_port(text)
    if text != "memory://" and not is_url:
        raise SettingsError(
            "TODO_RATE_LIMIT_STORE must be memory:// or like redis://host:6379/0 or valkey://host:6379/0"
        )
    return text


def _has_host_and_port(url: str) -> bool:
    with suppress(ValueError):
        return bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    return False


def _data_dir(given: Mapping[str, str]) -> Path:
    text = given["TODO_DATA_DIR"]
    try:
        folder = Path(text or user_data_path("todo-api")).expanduser().absolute()
        if not _is_text(str(folder)):  # it becomes a part of a URL
            raise ValueError("the folder's path must be text in UTF-8: name another folder")
        return folder
    except (OSError, RuntimeError, ValueError) as error:
        if not text and given["DATABASE_URL"]:
            return Path(os.devnull)  # only workers' metrics would be there: they go to the temporary folder instead
        if isinstance(error, RuntimeError):  # of `expanduser`
            error = ValueError("the home folder cannot be found: write the folder in full, such as /srv/todo")
        if isinstance(error, OSError):
            error = ValueError(f"the current folder cannot be used ({error.strerror}): name an absolute path")
        raise SettingsError(f"TODO_DATA_DIR: {error}") from None


def _one_of(value: str, choices: tuple[str, ...], name: str) -> str:
    if value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value
