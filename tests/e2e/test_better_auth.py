"""A running Better Auth: its tokens for this API are accepted, and everything else that it signs is refused.

Needs node and npm, and installs Better Auth, as `better_auth/package-lock.json` pins it, into pytest's cache.
"""

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.npm import NEEDS_NODE, NODE, installed, running
from e2e.running import Service, serving
from pages import ROOT, Reader, blocks_of
from serving import free_port

from todo_adapters.jwt_identity import CredentialsRefused, JwtAuthenticator
from todo_adapters.jwt_identity.key_source import COOLDOWN
from todo_adapters.system import SystemClock
from todo_app.container import jwt_policy
from todo_app.settings import Settings

SOURCE = Path(__file__).with_name("better_auth")
SECRET = "only for tests: " + "x" * 32
AUTH, SERVE, CALL, CLIENT = blocks_of(ROOT / "docs/how-to/better-auth.md")
APP, TASKS = "https://app.example.com", "https://tasks.example.com"
WHAT_YOU_HAVE = "/* what you have, */"
ALGORITHMS = ["EdDSA", "ES256", "ES512", "RS256", "PS256"]
CACHES = ["cache signed with the secret", "cache signed with the keys", "cache encrypted", "cache compact"]

pytestmark = [
    NEEDS_NODE,
    pytest.mark.timeout(300),
]


@dataclass(frozen=True)
class User:
    """Somebody who has signed up at one of the issuers."""

    issuer: str
    id: str
    session: str
    client: httpx.Client

    def token(self, algorithm: str = "") -> str:
        """A token from the JWT plugin; `algorithm` is for the setting that changes them."""
        headers = {"X-Algorithm": algorithm} if algorithm else {}
        return str(self.client.get("/api/auth/token", headers=headers).raise_for_status().json()["token"])

    def cookie(self, name: str) -> str:
        return self.client.cookies[f"better-auth.{name}"]


@pytest.fixture(scope="module")
def issuers(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The base URL of each setting that `server.mjs` runs."""
    folder = installed(request.config, SOURCE)
    with running(folder, "server.mjs", BETTER_AUTH_SECRET=SECRET, NODE_ENV="production") as said:
        yield json.loads(said)


@pytest.fixture(scope="module")
def user_of(issuers: dict[str, str]) -> Iterator[Callable[[str], User]]:
    """Signs somebody up at the issuer of a setting, once."""
    users: dict[str, User] = {}

    def sign_up(setting: str) -> User:
        if setting not in users:
            client = httpx.Client(base_url=issuers[setting], trust_env=False)
            person = {"name": "Ann", "email": "ann@example.com", "password": "correct horse battery staple"}
            answer = client.post("/api/auth/sign-up/email", json=person).raise_for_status().json()
            users[setting] = User(issuers[setting], answer["user"]["id"], answer["token"], client)
        return users[setting]

    yield sign_up
    for user in users.values():
        user.client.close()


def prove(token: str, **environment: str) -> str | None:
    """The owner whom a token proves to a service with these environment variables; None for nobody."""

    async def authenticate() -> str | None:
        authenticator = JwtAuthenticator(jwt_policy(Settings.read(environment)), SystemClock())
        try:
            return (await authenticator.authenticate(token)).owner
        except CredentialsRefused:
            return None
        finally:
            await authenticator.aclose()

    return asyncio.run(authenticate())


def proves_with_everything_on(token: str, issuer: str) -> str | None:
    return prove(token, BETTER_AUTH_URL=issuer, BETTER_AUTH_SECRET=SECRET)


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a token says, unverified."""
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, claims


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_token_of_each_algorithm_proves_its_user(user_of: Callable[[str], User], alg: str) -> None:
    user = user_of(alg)
    token = user.token()
    header, claims = parts(token)
    assert header.keys() == {"alg", "kid"}
    assert header["alg"] == alg
    assert (claims["iss"], claims["aud"]) == (user.issuer, user.issuer)
    assert prove(token, BETTER_AUTH_URL=user.issuer) == user.id
    assert proves_with_everything_on(token, user.issuer) == user.id


def test_without_any_setting_the_keys_are_ed25519(user_of: Callable[[str], User]) -> None:
    user = user_of("default")
    token = user.token()
    assert parts(token)[0]["alg"] == "EdDSA"
    assert prove(token, BETTER_AUTH_URL=user.issuer) == user.id


def test_a_token_of_another_issuer_is_refused(user_of: Callable[[str], User]) -> None:
    assert prove(user_of("EdDSA").token(), BETTER_AUTH_URL=user_of("default").issuer) is None


def test_keys_from_another_address_work_if_the_issuer_is_set(user_of: Callable[[str], User]) -> None:
    user = user_of("default")
    environment = {"BETTER_AUTH_URL": "https://auth.example", "TODO_JWKS_URL": f"{user.issuer}/api/auth/jwks"}
    assert prove(user.token(), **environment) is None
    environment |= {"TODO_JWT_ISSUER": user.issuer, "TODO_JWT_AUDIENCE": user.issuer}
    assert prove(user.token(), **environment) == user.id


async def test_tokens_from_before_and_after_a_rotation_prove_their_user(
    user_of: Callable[[str], User], monkeypatch: pytest.MonkeyPatch
) -> None:
    user = user_of("rotating")
    policy = jwt_policy(Settings.read({"BETTER_AUTH_URL": user.issuer}))
    monkeypatch.setattr("todo_adapters.jwt_identity.key_source.monotonic", later := Later())
    authenticator = JwtAuthenticator(policy, SystemClock())
    before = user.token()
    assert (await authenticator.authenticate(before)).owner == user.id
    await asyncio.sleep(1.1)
    after = user.token()
    assert parts(before)[0]["kid"] != parts(after)[0]["kid"]
    later.seconds += COOLDOWN
    assert (await authenticator.authenticate(after)).owner == user.id
    assert (await authenticator.authenticate(before)).owner == user.id
    await authenticator.aclose()


class Later:
    """The process's count of seconds, put forward."""

    seconds = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.seconds


def test_a_token_signed_with_the_secret_proves_its_user(user_of: Callable[[str], User]) -> None:
    user = user_of("HS256")
    token = user.token()
    assert parts(token)[0] == {"alg": "HS256"}
    assert prove(token, BETTER_AUTH_SECRET=SECRET) == user.id
    assert proves_with_everything_on(token, user.issuer) == user.id
    checked = {"TODO_JWT_ISSUER": user.issuer, "TODO_JWT_AUDIENCE": user.issuer}
    assert prove(token, BETTER_AUTH_SECRET=SECRET, **checked) == user.id
    assert prove(token, BETTER_AUTH_SECRET=SECRET, **checked | {"TODO_JWT_AUDIENCE": "x"}) is None
    assert prove(token, BETTER_AUTH_SECRET=SECRET.upper()) is None


def test_an_e_mail_verification_token_is_refused(user_of: Callable[[str], User]) -> None:
    user = user_of("default")
    (mailed,) = user.client.get("/mails").json()
    header, claims = parts(mailed)
    assert header == {"alg": "HS256"}
    assert claims["email"] == "ann@example.com"
    assert prove(mailed, BETTER_AUTH_SECRET=SECRET) is None
    assert proves_with_everything_on(mailed, user.issuer) is None


@pytest.mark.parametrize("setting", CACHES)
def test_a_cached_session_is_refused_as_a_token(user_of: Callable[[str], User], setting: str) -> None:
    user = user_of(setting)
    cached = user.cookie("session_data")
    assert len(cached) > 100
    assert prove(cached, BETTER_AUTH_SECRET=SECRET) is None
    assert proves_with_everything_on(cached, user.issuer) is None
    environment = {"BETTER_AUTH_URL": user.issuer, "BETTER_AUTH_SECRET": SECRET}
    assert prove(cached, **environment, TODO_JWT_AUDIENCE="better-auth:session-cache") is None
    assert proves_with_everything_on(user.token(), user.issuer) == user.id


def asks(service: Service, token: str, owner: str) -> int:
    """The status of the service's answer to somebody with this token who asks for that owner's tasks."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{service.url}/api/{owner}/tasks", headers=headers, trust_env=False).status_code


def test_a_running_service_accepts_only_the_right_tokens(
    user_of: Callable[[str], User], database_url: str, tmp_path: Path
) -> None:
    user, other = user_of("default"), user_of("EdDSA")
    environment = {"BETTER_AUTH_URL": user.issuer, "BETTER_AUTH_SECRET": SECRET}
    with serving(database_url, tmp_path, **environment) as service:
        assert asks(service, user.token(), user.id) == 200
        assert asks(service, user.token(), other.id) == 403
        assert asks(service, other.token(), other.id) == 401
        with_secret = user_of("HS256")
        assert asks(service, with_secret.token(), with_secret.id) == 200
        for refused in (*user.client.get("/mails").json(), user.session, user.cookie("session_token")):
            assert asks(service, refused, user.id) == 401
        for setting in CACHES:
            assert asks(service, user_of(setting).cookie("session_data"), user_of(setting).id) == 401


def test_a_running_service_follows_its_issuer_through_rotations_and_algorithms(
    user_of: Callable[[str], User], database_url: str, tmp_path: Path
) -> None:
    user, tokens = user_of("changing"), {}
    with serving(database_url, tmp_path, BETTER_AUTH_URL=user.issuer) as service:
        for alg in ALGORITHMS:
            tokens[alg] = user.token(alg)
            if alg == "EdDSA":  # the service fetches the keys now, before there are any others
                assert asks(service, tokens[alg], user.id) == 200
            time.sleep(1.1)
        assert [parts(token)[0]["alg"] for token in tokens.values()] == ALGORITHMS
        cooled_down = time.monotonic() + COOLDOWN + 5
        while asks(service, tokens["PS256"], user.id) != 200:
            assert time.monotonic() < cooled_down
            time.sleep(0.25)
        assert {alg: asks(service, token, user.id) for alg, token in tokens.items()} == dict.fromkeys(ALGORITHMS, 200)


def test_a_session_token_is_refused(user_of: Callable[[str], User]) -> None:
    user = user_of("default")
    for text in (user.session, user.cookie("session_token"), user.id):
        assert proves_with_everything_on(text, user.issuer) is None


def test_a_reason_in_the_log_says_what_each_of_its_tokens_lacks(
    user_of: Callable[[str], User], database_url: str, tmp_path: Path
) -> None:
    user = user_of("default")
    tokens = [user.token(), user.session, user.client.get("/mails").json()[0]]
    with serving(database_url, tmp_path, BETTER_AUTH_SECRET=SECRET) as service:
        assert [asks(service, token, user.id) for token in tokens] == [401] * 3
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    assert [line["reason"] for line in lines if line.get("status") == 401] == [
        "algorithm not accepted here: EdDSA (BETTER_AUTH_URL is not set)",
        "not a JWT, which has three parts (a session token of Better Auth is not one either)",
        "sub is missing or not a string",
    ]


@pytest.fixture
def app(compiled: Path, tmp_path: Path) -> Path:
    """A copy of the compiled how-to."""
    return shutil.copytree(compiled, tmp_path / "app", symlinks=True)


@pytest.fixture(scope="module")
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The how-to's TypeScript, compiled strictly beside Better Auth's packages."""
    folder = tmp_path_factory.mktemp("how-to") / "app"
    shutil.copytree(SOURCE, folder)
    (folder / "node_modules").symlink_to(installed(request.config, SOURCE) / "node_modules")
    assert WHAT_YOU_HAVE in AUTH.text
    (folder / "auth.ts").write_text(AUTH.text.replace(WHAT_YOU_HAVE, "emailAndPassword: { enabled: true },"))
    first_three = CALL.text.index("const { sub }")
    (folder / "page.ts").write_text(CALL.text)
    (folder / "client.ts").write_text(CLIENT.text + CALL.text[first_three:])
    options = json.loads((folder / "tsconfig.json").read_text())
    (folder / "tsconfig.json").write_text(json.dumps(options | {"files": ["auth.ts", "page.ts", "client.ts"]}))
    tsc = [str(NODE), "node_modules/typescript/bin/tsc", "--project", "."]
    done = subprocess.run(tsc, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.mark.parametrize(("page", "path"), [("page", ""), ("page", "/api/auth"), ("client", "/api/auth/")])
def test_the_how_to_followed_literally_leads_to_a_first_task(
    app: Path, tmp_path: Path, data_dir: Path, page: str, path: str
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "clone").mkdir()
    settings = {"BETTER_AUTH_URL": url, "BETTER_AUTH_SECRET": SECRET}
    places = {f"BETTER_AUTH_URL={APP}": f"BETTER_AUTH_URL={url}{path}", APP: url}
    with (
        running(app, "app.mjs", **settings | {"BETTER_AUTH_URL": url + path}) as said,
        Reader(tmp_path / "clone", places=places, TODO_DATA_DIR=str(data_dir)) as reader,
    ):
        assert said == "listening\n"
        reader.read([SERVE])
        compiled = app / f"{page}.js"
        compiled.write_text(compiled.read_text().replace(TASKS, reader.url).replace("export {};", ""))
        shown = "[answer.status, (await answer.json()).title, new URL(answer.url).pathname]"
        with running(app, "visit.mjs", compiled.name, shown, **settings) as line:
            seen = json.loads(line)
    assert seen["stranger"] == "Nobody is signed in."
    assert seen["shown"] == [201, "Buy oat milk", f"/api/{seen['user']}/tasks"]
