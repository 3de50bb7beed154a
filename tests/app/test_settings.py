"""The settings: what each variable means; an invalid value prevents the start, with one line that names it."""

import ast
import inspect
import re
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from sqlalchemy.pool import QueuePool

from todo_adapters.postgres import PostgresTaskStore
from todo_app.container import Container, jwt_policy
from todo_app.metrics_folder import metrics_folder
from todo_app.settings import DEFAULTS, Settings, SettingsError, meant_by

SECRET = "x" * 32
ISSUER = "https://auth.example"


def test_nothing_set_means_the_embedded_database_and_the_documented_defaults() -> None:
    settings = Settings.read({})
    assert settings.database_url is None
    assert settings.migrations_database_url is None
    assert settings.database_pool_size == 10
    assert settings.database_timeout == 5
    assert settings.database_sharded is False
    assert settings.secret is None
    assert settings.jwks_url is None
    assert settings.issuer is settings.audience is None
    assert settings.cors_origins == ("http://localhost:3000",)
    assert settings.rate_limit == "1000/hour"
    assert settings.rate_limit_store == "memory://"
    assert settings.rate_limit_timeout == 0.25
    assert settings.bad_token_limit == "100/minute"
    assert settings.trusted_proxies == ()
    assert (settings.concurrent_requests_per_user, settings.waiting_requests_per_user) == (16, 64)
    assert (settings.tasks_per_user, settings.history_days) == (10_000, 30)
    assert settings.keep_alive == 65
    assert settings.log_level == "info"
    assert settings.data_dir.is_absolute()
    assert "todo-api" in settings.data_dir.parts


def test_an_empty_variable_counts_as_not_set() -> None:
    names = [
        "DATABASE_URL", "BETTER_AUTH_SECRET", "BETTER_AUTH_URL", "TODO_JWKS_URL", "TODO_JWT_ISSUER",
        "TODO_JWT_AUDIENCE",
        "TODO_CORS_ORIGINS", "TODO_RATE_LIMIT", "TODO_RATE_LIMIT_STORE", "TODO_LOG_LEVEL", "TODO_DATA_DIR",
        "TODO_TRUSTED_PROXIES", "TODO_BAD_TOKEN_LIMIT", "TODO_MIGRATIONS_DATABASE_URL", "TODO_DATABASE_POOL_SIZE",
        "TODO_DATABASE_TIMEOUT", "TODO_RATE_LIMIT_TIMEOUT", "TODO_INSECURE_JWKS", "TODO_PUBLIC_URL",
        "TODO_DATABASE_SHARDED",
        "TODO_CONCURRENT_REQUESTS_PER_USER", "TODO_WAITING_REQUESTS_PER_USER",
        "TODO_KEEP_ALIVE", "TODO_TASKS_PER_USER", "TODO_HISTORY_DAYS",
    ]  # fmt: skip
    assert Settings.read(dict.fromkeys(names, "")) == Settings.read({})


def test_variables_that_look_like_settings_are_reported_and_ignored() -> None:
    env = {"TODO_ORIGINS": "x", "TODO_LOG_LEVEL": "info", "TODO_LOGLEVEL": "", "PATH": "/bin"}
    read = Settings.read({**env, "TODO_PORT": "80", "TODO_X": "x", "DATABASE_USER": "x"})
    meant = (("TODO_ORIGINS", "TODO_CORS_ORIGINS"), ("TODO_PORT", "`todo serve --port`"), ("TODO_X", None))
    assert read.misspelt == meant
    assert replace(read, misspelt=()) == Settings.read({})


def test_variables_of_clients_tools_and_kubernetes_are_not_reported() -> None:
    root = Path(__file__).parents[2]
    files = [root / name for name in ("compose.yaml", "noxfile.py", "run.py", "docs/how-to/connect-an-agent.md")]
    files += [path for path in (root / "deploy").rglob("*") if path.is_file()]
    used = {name for file in files for name in re.findall(r"\bTODO_[A-Z_]+", file.read_text())} - DEFAULTS.keys()
    assert {"TODO_SITE", "TODO_TLS", "TODO_VERSION", "TODO_TEST_FORCE", "TODO_TOKEN"} <= used
    of_services = {
        f"{service}_{name}": value
        for service in ("TODO", "TODO_API")
        for name, value in {
            "SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "80", "SERVICE_PORT_HTTP": "80", "PORT": "tcp://10.0.0.1:80",
            "PORT_80_TCP": "tcp://10.0.0.1:80", "PORT_80_TCP_PROTO": "tcp", "PORT_80_TCP_ADDR": "10.0.0.1",
        }.items()
    }  # fmt: skip
    assert Settings.read({**dict.fromkeys(used, "x"), **of_services}).misspelt == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TODO_CORS_ORIGIN", "TODO_CORS_ORIGINS"), ("TODO_ORIGINS", "TODO_CORS_ORIGINS"),
        ("TODO_DB_TIMEOUT", "TODO_DATABASE_TIMEOUT"), ("TODO_LOGLEVEL", "TODO_LOG_LEVEL"),
        ("TODO_log_level", "TODO_LOG_LEVEL"), ("TODO_DATABASE_URL", "DATABASE_URL"), ("TODO_X", None),
        ("DATABASE_URI", "DATABASE_URL"), ("BETTER_AUTH_SECRETT", "BETTER_AUTH_SECRET"), ("DATABASE_USER", None),
        ("TODO_TOKEN", None), ("TODO_PORT", "`todo serve --port`"), ("TODO_HOST", "`todo serve --host`"),
        ("TODO_WORKERS", "`todo serve --workers`"), ("TODO_SECRET", "BETTER_AUTH_SECRET"),
        ("TODO_JWT_SECRET", "BETTER_AUTH_SECRET"), ("LOG_LEVEL", None), ("TODO_LOG_LEVEL", None),
    ],
)  # fmt: skip
def test_the_setting_with_the_most_similar_name_is_meant(name: str, meant: str | None) -> None:
    assert meant_by(name) == meant


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://App.Example.com/", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_better_auth_url_sets_the_key_url_and_the_issuer(url: str, origin: str) -> None:
    settings = Settings.read({"BETTER_AUTH_URL": url})
    assert settings.jwks_url == url.rstrip("/") + "/api/auth/jwks"
    assert settings == Settings.read({"BETTER_AUTH_URL": url.rstrip("/") + "//"})
    assert settings.issuer == settings.audience == origin
    assert not settings.checks_issuer_of_hs256
    assert not settings.checks_audience_of_hs256


@pytest.mark.parametrize("path", ["/api/auth", "/auth", "/a/b", "/API/Auth", "/api/auth/api/auth"])
@pytest.mark.parametrize("slashes", ["", "/", "//"])
def test_a_path_in_better_auths_url_is_its_base_path(path: str, slashes: str) -> None:
    settings = Settings.read({"BETTER_AUTH_URL": f"https://app.example.com:8443{path}{slashes}"})
    assert settings.jwks_url == f"https://app.example.com:8443{path}/jwks"
    assert settings.issuer == settings.audience == "https://app.example.com:8443"


def test_keys_come_over_http_from_another_machine_only_where_that_is_allowed() -> None:
    issuer = {"TODO_JWT_ISSUER": ISSUER, "TODO_JWT_AUDIENCE": ISSUER}
    for name in ("BETTER_AUTH_URL", "TODO_JWKS_URL"):
        env = {name: "http://web:3000", **issuer}
        for value in ("", "false", "FALSE"):
            with pytest.raises(SettingsError, match=rf"^{name} .*TODO_INSECURE_JWKS=true allows it"):
                Settings.read({**env, "TODO_INSECURE_JWKS": value})
        settings = Settings.read({**env, "TODO_INSECURE_JWKS": "true"})
        assert jwt_policy(settings).jwks_url == settings.jwks_url
        with pytest.raises(SettingsError, match=rf"^{name} ") as refused:
            Settings.read({name: "ftp://web:3000", **issuer, "TODO_INSECURE_JWKS": "true"})
        assert "allows" not in str(refused.value)


def test_better_auth_url_may_be_http_if_keys_come_from_elsewhere() -> None:
    env = {"BETTER_AUTH_URL": "http://app.internal", "TODO_JWKS_URL": "https://app.internal/keys"}
    settings = Settings.read(env)
    assert (settings.issuer, settings.jwks_url) == ("http://app.internal", "https://app.internal/keys")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_end_at_the_end_of_a_setting_is_left_out_and_reported(end: str) -> None:
    env = {
        "BETTER_AUTH_SECRET": SECRET,
        "BETTER_AUTH_URL": "https://app.example.com",
        "TODO_JWKS_URL": "https://keys.example/x",
        "TODO_JWT_ISSUER": ISSUER,
        "TODO_JWT_AUDIENCE": "tasks",
        "DATABASE_URL": "postgresql://u:p@h/d",
        "TODO_LOG_LEVEL": "debug",
    }
    read = Settings.read({name: value + end for name, value in env.items()} | {"PATH": "/bin\n"})
    assert sorted(read.trimmed) == sorted(env)
    assert replace(read, trimmed=()) == Settings.read(env)
    assert Settings.read({"BETTER_AUTH_SECRET": SECRET + end + end}).secret == SECRET  # as when it is read again
    assert Settings.read({"BETTER_AUTH_SECRET": end}) == Settings.read({})


def test_settings_derived_from_better_auth_url_can_be_overridden_also_for_hs256() -> None:
    settings = Settings.read(
        {
            "BETTER_AUTH_URL": "https://app.example.com",
            "TODO_JWKS_URL": "https://keys.example/x",
            "TODO_JWT_ISSUER": ISSUER,
            "TODO_JWT_AUDIENCE": "tasks",
        }
    )
    assert (settings.jwks_url, settings.issuer, settings.audience) == ("https://keys.example/x", ISSUER, "tasks")
    assert settings.checks_issuer_of_hs256
    assert settings.checks_audience_of_hs256


OTHERS = {  # by variable: its text, and the member with its value
    "DATABASE_URL": ("postgresql://u:p@h/d?sslmode=require", "database_url", "postgresql://u:p@h/d?sslmode=require"),
    "TODO_MIGRATIONS_DATABASE_URL": ("postgres://u:p@direct/d", "migrations_database_url", "postgres://u:p@direct/d"),
    "TODO_DATABASE_POOL_SIZE": ("3", "database_pool_size", 3),
    "TODO_DATABASE_TIMEOUT": ("0.25", "database_timeout", 0.25),
    "TODO_DATABASE_SHARDED": ("true", "database_sharded", True),
    "BETTER_AUTH_SECRET": (SECRET, "secret", SECRET),
    "TODO_CORS_ORIGINS": (
        " https://a.example , http://localhost:5173,,http://[::1]:3000",
        "cors_origins",
        ("https://a.example", "http://localhost:5173", "http://[::1]:3000"),
    ),
    "TODO_RATE_LIMIT": ("5 per 10 minute", "rate_limit", "5 per 10 minute"),
    "TODO_RATE_LIMIT_STORE": ("valkeys://user:pass@h:6380/1", "rate_limit_store", "valkeys://user:pass@h:6380/1"),
    "TODO_RATE_LIMIT_TIMEOUT": ("1.5", "rate_limit_timeout", 1.5),
    "TODO_LOG_LEVEL": ("WARNING", "log_level", "warning"),
    "TODO_DATA_DIR": ("~/tasks", "data_dir", Path.home() / "tasks"),
    "TODO_TRUSTED_PROXIES": ("10.0.0.0/8, ::1", "trusted_proxies", (ip_network("10.0.0.0/8"), ip_network("::1"))),
    "TODO_BAD_TOKEN_LIMIT": ("3/second", "bad_token_limit", "3/second"),
    "TODO_CONCURRENT_REQUESTS_PER_USER": ("1", "concurrent_requests_per_user", 1),
    "TODO_WAITING_REQUESTS_PER_USER": ("0", "waiting_requests_per_user", 0),
    "TODO_TASKS_PER_USER": ("1000000", "tasks_per_user", 1_000_000),
    "TODO_HISTORY_DAYS": ("1", "history", timedelta(days=1)),
}


def test_the_other_settings_are_taken_unchanged() -> None:
    settings = Settings.read({name: text for name, (text, _, _) in OTHERS.items()})
    for name, (_, member, value) in OTHERS.items():
        assert getattr(settings, member) == value, name


@pytest.mark.parametrize(
    "origin",
    [
        "capacitor://localhost", "ionic://localhost", "tauri://localhost", "http://tauri.localhost", "app://obsidian.md",
        "chrome-extension://cjpalhdlnbpafiamejdnhcphjbkeiagm", "moz-extension://2c1f3f5e-d4b3-4a1e-9f4e-1d2f3a4b5c6d",
    ],
)  # fmt: skip
def test_apps_have_origins_of_their_own(origin: str) -> None:
    assert Settings.read({"TODO_CORS_ORIGINS": f"https://a.example,{origin}"}).cors_origins[1] == origin


@pytest.mark.parametrize(
    ("url", "root_path"),
    [
        ("https://example.org", ""), ("https://example.org/", ""), ("http://localhost:8080/todo", "/todo"),
        ("https://example.org/apps/todo-api/", "/apps/todo-api"), ("https://[::1]/a.b/~c", "/a.b/~c"),
    ],
)  # fmt: skip
def test_a_public_urls_path_comes_before_every_path(url: str, root_path: str) -> None:
    assert Settings.read({"TODO_PUBLIC_URL": url}).root_path == root_path


def test_without_a_public_url_nothing_comes_before_a_path() -> None:
    assert Settings.read({}).root_path == ""


NONSENSE = [
    ("TODO_CORS_ORIGINS", "file://"), ("TODO_CORS_ORIGINS", "file:///"), ("TODO_CORS_ORIGINS", "tauri:localhost"),
    ("TODO_CORS_ORIGINS", "app://x/y"), ("TODO_CORS_ORIGINS", "Tauri://localhost"), ("TODO_CORS_ORIGINS", "://x"),
    ("TODO_PUBLIC_URL", "/todo"), ("TODO_PUBLIC_URL", "example.org/todo"), ("TODO_PUBLIC_URL", "ftp://x/todo"),
    ("TODO_PUBLIC_URL", "https://x/todo?a=b"), ("TODO_PUBLIC_URL", "https://x/#a"), ("TODO_PUBLIC_URL", "https://x//a"),
    ("TODO_PUBLIC_URL", "https://x/../a"), ("TODO_PUBLIC_URL", "https://x/."), ("TODO_PUBLIC_URL", "https://u:p@x/a"),
    ("TODO_PUBLIC_URL", "https://x/a b"), ("TODO_PUBLIC_URL", "https://x/%2e"), ("TODO_PUBLIC_URL", "https://x:99999/"),
    *(("TODO_KEEP_ALIVE", value) for value in ("0", "-1", "1000", "1.5", "1s", "65 ", "\u0661", "x")),
    *(("TODO_TASKS_PER_USER", value) for value in ("0", "-1", "1000001", "1.5", "10_000", "1e3", "\u0661", "many")),
    *(("TODO_HISTORY_DAYS", value) for value in ("0", "-1", "3651", "30d", "0.5", "9" * 30, "for ever")),
    ("DATABASE_URL", "mysql://h/d"), ("DATABASE_URL", "h/d"), ("DATABASE_URL", "postgresql:/h"), ("DATABASE_URL", " "),
    ("TODO_MIGRATIONS_DATABASE_URL", "mysql://h/d"), ("TODO_MIGRATIONS_DATABASE_URL", "postgresql://h/d"),
    ("TODO_DATABASE_POOL_SIZE", "0"), ("TODO_DATABASE_POOL_SIZE", "-1"), ("TODO_DATABASE_POOL_SIZE", "1000"),
    ("TODO_DATABASE_POOL_SIZE", "ten"), ("TODO_DATABASE_POOL_SIZE", "1.5"), ("TODO_DATABASE_POOL_SIZE", "٣"),
    ("TODO_CONCURRENT_REQUESTS_PER_USER", "0"), ("TODO_CONCURRENT_REQUESTS_PER_USER", "1000"),
    ("TODO_WAITING_REQUESTS_PER_USER", "-1"), ("TODO_WAITING_REQUESTS_PER_USER", "many"),
    ("TODO_DATABASE_TIMEOUT", "0"), ("TODO_DATABASE_TIMEOUT", "0.05"), ("TODO_DATABASE_TIMEOUT", "14.001"),
    ("TODO_DATABASE_TIMEOUT", "5s"), ("TODO_DATABASE_TIMEOUT", "-5"), ("TODO_DATABASE_TIMEOUT", "inf"),
    ("TODO_RATE_LIMIT_TIMEOUT", "0"), ("TODO_RATE_LIMIT_TIMEOUT", "5.1"), ("TODO_RATE_LIMIT_TIMEOUT", "1s"),
    ("TODO_DATABASE_TIMEOUT", "nan"), ("TODO_DATABASE_TIMEOUT", "1e1"),
    ("BETTER_AUTH_SECRET", "short"), ("BETTER_AUTH_SECRET", "x" * 31),
    ("BETTER_AUTH_SECRET", "better-auth-secret-12345678901234567890"), ("BETTER_AUTH_SECRET", "\udcff" * 40),
    ("BETTER_AUTH_SECRET", "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZI\n-----END PUBLIC KEY-----"),
    ("BETTER_AUTH_URL", "http://app.example.com"), ("BETTER_AUTH_URL", "app.example.com"),
    ("BETTER_AUTH_URL", "https://"),
    ("BETTER_AUTH_URL", "ftp://x"), ("BETTER_AUTH_URL", "https://u:p@x"), ("BETTER_AUTH_URL", "https://x:99999"),
    ("BETTER_AUTH_URL", "https://x?y=z"), ("BETTER_AUTH_URL", "https://x/api/auth?"), ("BETTER_AUTH_URL", "https://x\n\ny"),
    ("TODO_JWT_ISSUER", "https://x\n\ny"), ("TODO_JWT_AUDIENCE", "a\nb"),
    ("TODO_INSECURE_JWKS", "1"), ("TODO_INSECURE_JWKS", "yes"), ("TODO_DATABASE_SHARDED", "1"),
    ("TODO_DATABASE_SHARDED", "true"),
    ("BETTER_AUTH_URL", "https://x#y"), ("BETTER_AUTH_URL", "https://x y"), ("TODO_JWKS_URL", "file:///etc/passwd"),
    ("TODO_CORS_ORIGINS", "*"), ("TODO_CORS_ORIGINS", "null"), ("TODO_CORS_ORIGINS", "https://x/"),
    ("TODO_CORS_ORIGINS", "https://*.x"), ("TODO_CORS_ORIGINS", "https://x, y"),
    ("TODO_CORS_ORIGINS", "https://X.example"),
    ("TODO_CORS_ORIGINS", "https://x.example:443"), ("TODO_CORS_ORIGINS", "http://x.example:80"),
    ("TODO_CORS_ORIGINS", "https://x.example:99999"),
    ("TODO_RATE_LIMIT", "lots"), ("TODO_RATE_LIMIT", "1000"), ("TODO_RATE_LIMIT", "-1/hour"),
    ("TODO_RATE_LIMIT", "0/hour"),
    ("TODO_RATE_LIMIT", "1000000001/hour"), ("TODO_RATE_LIMIT", "1 per 367 days"), ("TODO_RATE_LIMIT", "2/2 years"),
    ("TODO_RATE_LIMIT", "1000 per 0 hour"), ("TODO_RATE_LIMIT", "1000/00hour"), ("TODO_BAD_TOKEN_LIMIT", "9/0 DAY"),
    ("TODO_RATE_LIMIT", f"{'9' * 5000}/hour"), ("TODO_RATE_LIMIT", f"1 per {'9' * 5000} hour"),
    ("BETTER_AUTH_URL", "https://x.org/#"), ("BETTER_AUTH_URL", "https://x.org:"), ("BETTER_AUTH_URL", "https://x:/a"),
    ("TODO_JWKS_URL", "https://x.org/#"), ("TODO_JWKS_URL", "https://x.org:"), ("TODO_JWKS_URL", "https://[::1]:/a"),
    ("TODO_RATE_LIMIT", "10/hour;1/second"), ("TODO_RATE_LIMIT", "1/eon"), ("TODO_BAD_TOKEN_LIMIT", "x"),
    ("TODO_RATE_LIMIT_STORE", "memory"), ("TODO_RATE_LIMIT_STORE", "memory://x"), ("TODO_RATE_LIMIT_STORE", "http://h"),
    ("TODO_RATE_LIMIT_STORE", "redis://"), ("TODO_RATE_LIMIT_STORE", "redis://h:port"), ("TODO_RATE_LIMIT_STORE", "redis://u:1/2@h:6379"),
    ("TODO_TRUSTED_PROXIES", "x"), ("TODO_TRUSTED_PROXIES", "10.0.0.1/8"), ("TODO_TRUSTED_PROXIES", "*"),
    ("TODO_LOG_LEVEL", "loud"), ("TODO_LOG_LEVEL", "10"), ("TODO_DATA_DIR", "~nobody-of-that-name/x"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), NONSENSE)
def test_an_invalid_value_is_refused_in_one_line_that_names_the_setting(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.read({name: value})
    message = str(refused.value)
    assert message.startswith(name)
    assert message.isprintable()
    if name in {"BETTER_AUTH_SECRET", "DATABASE_URL", "TODO_MIGRATIONS_DATABASE_URL"} and len(value) > 4:
        assert value not in message


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("BETTER_AUTH_URL", "app.example.com", "BETTER_AUTH_URL must start with https://"),
        ("BETTER_AUTH_URL", "app.example.com:3000", "BETTER_AUTH_URL must start with https://"),
        ("TODO_JWKS_URL", "keys.example.com/jwks", "TODO_JWKS_URL must start with https://"),
        ("BETTER_AUTH_URL", "https://", "BETTER_AUTH_URL needs a host, and a port from 1 to 65535 if any"),
        ("BETTER_AUTH_URL", "https://x.org:", "BETTER_AUTH_URL needs a host, and a port from 1 to 65535 if any"),
        ("TODO_JWKS_URL", "https://x.org/#", "TODO_JWKS_URL may hold neither credentials nor a fragment"),
        *(
            (
                "TODO_CORS_ORIGINS",
                origin,
                f"not {origin!r}: write {meant} (scheme, host in lower case and ASCII, no path, no usual port)",
            )
            for origin, meant in [
                ("localhost:5173", "http://localhost:5173"),
                ("https://a.com/", "https://a.com"),
                ("https://A.com", "https://a.com"),
                ("https://a.com:443", "https://a.com"),
                ("HTTP://A.com:80/", "http://a.com"),
                ("capacitor://localhost/", "capacitor://localhost"),
                ("https://a.com/x/y", "https://a.com"),
                ("https://A.com:443/x?y#z", "https://a.com"),
                ("https://münchen.de", "https://xn--mnchen-3ya.de"),
                ("http://München:8080/x", "http://xn--mnchen-3ya:8080"),
            ]
        ),
        ("TODO_CORS_ORIGINS", "https://u:p@a.com/x", "or capacitor://localhost, not 'https://u:p@a.com/x'"),
        ("TODO_CORS_ORIGINS", "https://straße.de", "or capacitor://localhost, not 'https://straße.de'"),
        ("TODO_CORS_ORIGINS", f"https://{'ü' * 70}.de", f"or capacitor://localhost, not 'https://{'ü' * 70}.de'"),
        ("TODO_CORS_ORIGINS", "https://[", "or capacitor://localhost, not 'https://['"),
    ],
)
def test_the_refusal_of_a_url_says_what_is_wrong_with_it(name: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.read({name: value})
    assert str(refused.value).endswith(reason)


def test_all_invalid_settings_are_named_at_once() -> None:
    env = {
        "TODO_RATE_LIMIT": "x", "TODO_KEEP_ALIVE": "0", "DATABASE_URL": "mysql://h/d", "BETTER_AUTH_URL": "x",
        "TODO_DATA_DIR": "~nosuchuser/x", "BETTER_AUTH_SECRET": "short",
        "TODO_MIGRATIONS_DATABASE_URL": "postgresql://h/d",  # which needs a DATABASE_URL, and there is one
    }  # fmt: skip
    with pytest.raises(SettingsError) as refused:
        Settings.read(env)
    named = [re.split(r"\W", line)[0] for line in str(refused.value).split("\n")]
    assert sorted(named) == sorted(env.keys() - {"TODO_MIGRATIONS_DATABASE_URL"})


@pytest.mark.parametrize(
    ("name", "env"),
    [
        ("DATABASE_URL", {"DATABASE_URL": '"postgresql://h/d"'}),
        ("TODO_DATA_DIR:", {"TODO_DATA_DIR": "~/x"}),
        ("TODO_JWKS_URL", {"TODO_JWKS_URL": "ftp://h/k", "BETTER_AUTH_URL": "http://h", "TODO_DATA_DIR": "/x"}),
        ("TODO_INSECURE_JWKS", {"TODO_INSECURE_JWKS": "1", "TODO_JWKS_URL": "http://h/k", "TODO_DATA_DIR": "/x"}),
    ],
)
def test_a_valid_setting_is_not_refused_because_another_one_is_invalid(
    monkeypatch: pytest.MonkeyPatch, name: str, env: dict[str, str]
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(SettingsError, match=rf"^{name} .*$") as refused:
        Settings.read(env)
    assert "\n" not in str(refused.value)


def test_a_data_folder_in_an_unknown_home_is_refused_with_what_to_write() -> None:
    with pytest.raises(SettingsError, match=r"^TODO_DATA_DIR: the home folder .*: write the folder in full"):
        Settings.read({"TODO_DATA_DIR": "~nosuchuser/x"})


@pytest.mark.parametrize("name", ["TODO_RATE_LIMIT", "TODO_BAD_TOKEN_LIMIT"])
def test_a_rate_limit_has_bounds_which_its_refusal_names(name: str) -> None:
    for text in ("1000000000/second", "1 per 366 days", "10/10 hours", "100 per 1 year"):
        Settings.read({name: text})
    with pytest.raises(SettingsError, match="of 1 to 1000000000 requests in 1 second to 366 days, not '1/2 years'"):
        Settings.read({name: "1/2 years"})


def test_without_a_home_the_data_folder_is_asked_for_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with metrics_folder(Settings.read({"DATABASE_URL": "postgresql://h/d"}).data_dir) as folder:
        assert folder.parent == Path(tempfile.gettempdir())
    for env in ({}, {"DATABASE_URL": "postgresql://h/d", "TODO_DATA_DIR": "~/x"}):
        with pytest.raises(SettingsError, match=r"^TODO_DATA_DIR: "):
            Settings.read(env)


def test_keys_without_an_issuer_to_check_are_refused() -> None:
    for more in ({}, {"TODO_JWT_ISSUER": ISSUER}, {"TODO_JWT_AUDIENCE": "x"}):
        with pytest.raises(SettingsError, match="TODO_JWT_ISSUER and TODO_JWT_AUDIENCE"):
            Settings.read({"TODO_JWKS_URL": "https://x.example/jwks", **more})
    Settings.read({"TODO_JWKS_URL": "https://x.example/jwks", "TODO_JWT_ISSUER": ISSUER, "TODO_JWT_AUDIENCE": "x"})


def test_secrets_stay_out_of_what_is_printed() -> None:
    url = "postgresql://u:hunter2@h/d"
    env = {"DATABASE_URL": url, "TODO_MIGRATIONS_DATABASE_URL": url, "BETTER_AUTH_SECRET": "hunter2" * 6}
    assert "hunter2" not in repr(Settings.read({**env, "TODO_RATE_LIMIT_STORE": "redis://:hunter2@h"}))


@pytest.mark.parametrize(
    "env",
    [
        {"BETTER_AUTH_SECRET": SECRET},
        {"BETTER_AUTH_SECRET": SECRET, "TODO_DATABASE_POOL_SIZE": "1", "TODO_DATABASE_TIMEOUT": "0.1"},
        {"BETTER_AUTH_URL": "https://app.example.com"},
        {"BETTER_AUTH_SECRET": SECRET, "BETTER_AUTH_URL": "http://localhost:3000", "TODO_JWT_AUDIENCE": "x"},
        {"BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT_STORE": "redis://localhost:1/0"},
        {"BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT_STORE": "valkeys://u:p%40@[::1]:6379/0"},
    ],
)
def test_the_wiring_accepts_whatever_the_settings_accept(env: dict[str, str]) -> None:
    container = Container(settings=Settings.read({"DATABASE_URL": "postgresql://localhost/x", **env}))
    for part in (
        container.verifier,
        container.limiter,
        container.bad_tokens,
        container.identification,
        container.tasks,
    ):
        part()


def test_the_settings_are_those_that_are_documented_and_those_of_the_example() -> None:
    root = Path(__file__).parents[2]
    table = [line.split("|")[1] for line in (root / "docs/settings.md").read_text().splitlines() if line[:1] == "|"]
    documented = {name for cell in table for name in re.findall("`([A-Z_]+)`", cell)}
    example = (root / ".env.example").read_text()
    exemplified = re.findall("^#([A-Z_]+)='[^'\n]*'$", example, re.MULTILINE)  # a shell ends an unquoted one at &
    assert sorted(documented) == sorted(exemplified)
    assert not [line for line in example.splitlines() if line and not line.startswith("#")]  # it changes nothing
    assert sorted(documented) == sorted(names_that_are_read())


def names_that_are_read() -> set[str]:
    """Every name of a variable that settings.py looks for, beside the table of defaults."""
    source = Path(inspect.getfile(Settings)).read_text()
    strings = Counter(node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return {name for name in DEFAULTS if strings[name] > 1}


def test_pool_and_timeout_reach_the_database() -> None:
    env = {"DATABASE_URL": "postgresql://localhost/x", "BETTER_AUTH_SECRET": SECRET}
    container = Container(
        settings=Settings.read({**env, "TODO_DATABASE_POOL_SIZE": "3", "TODO_DATABASE_TIMEOUT": "0.5"})
    )
    pool = container.engine().sync_engine.pool
    assert isinstance(pool, QueuePool)
    assert (pool.size(), pool.timeout()) == (3, 0.5)
    store = container.store()
    assert isinstance(store, PostgresTaskStore)
    assert store._sender.deadline == 0.5
    assert not store._sender.sharded


def test_the_setting_for_sharded_tables_reaches_the_storage() -> None:
    env = {"DATABASE_URL": "postgresql://localhost/x", "BETTER_AUTH_SECRET": SECRET, "TODO_DATABASE_SHARDED": "true"}
    store = Container(settings=Settings.read(env)).store()
    assert isinstance(store, PostgresTaskStore)
    assert store._sender.sharded
