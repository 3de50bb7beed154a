"""docs/how-to/identity-provider.md, followed with a real OpenID provider, and tokens shaped like those of others.

The provider needs node and npm, and is installed, as `openid_provider/package-lock.json` pins it, into pytest's cache.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

import httpx
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from e2e.npm import NEEDS_NODE, installed, running
from e2e.running import Service, serving
from issuers import document, issuing
from jwt.algorithms import RSAAlgorithm
from mcp import Client
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pages import ROOT, Reader, blocks_of
from pydantic import AnyUrl
from serving import Serve, free_port

SOURCE = Path(__file__).with_name("openid_provider")
PAGE = ROOT / "docs/how-to/identity-provider.md"
ISSUER, AUDIENCE = "https://id.example.com", "https://tasks.example.com"
CALLBACK = "http://127.0.0.1/callback"  # nobody is there: the code is taken from the address
ANN = "auth0|6553da60a54af58e29493993"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def provider(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a running OpenID provider."""
    url = f"http://127.0.0.1:{free_port()}"
    with running(installed(request.config, SOURCE), "server.mjs", url, CALLBACK, quiet=True) as said:
        assert said == "listening\n"
        yield url


def signed_in(provider: str, user: str, resource: str = AUDIENCE, client_id: str = "page") -> dict[str, Any]:
    """What a page has after its user has signed in, by the authorization code flow with PKCE."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    client = {"client_id": client_id, "redirect_uri": CALLBACK, "resource": resource}
    asked = {"response_type": "code", "scope": "openid tasks", "code_challenge": challenge}
    parameters = {**client, **asked, "code_challenge_method": "S256"}
    there = comes_back_to(f"{provider}/auth?{urlencode(parameters)}", user)
    code = parse_qs(urlsplit(there).query)["code"][0]
    proof = {**client, "grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    return dict(httpx.post(f"{provider}/token", data=proof, trust_env=False).raise_for_status().json())


def comes_back_to(address: str, user: str) -> str:
    """Where the browser of a user who opens this address, signs in and consents ends up."""
    with httpx.Client(trust_env=False) as browser:
        answer = browser.get(address)
        while not (there := answer.headers.get("Location", "")).startswith(CALLBACK):
            if there:
                answer = browser.get(urljoin(address, there))
            else:  # a form: first who one is, then whether the page may
                prompt = "login" if 'value="login"' in answer.raise_for_status().text else "consent"
                answer = browser.post(answer.url, data={"prompt": prompt, "login": user, "password": "x"})
        return there


def says(token: str) -> dict[str, Any]:
    """A token's claims, unverified."""
    return dict(jwt.decode(token, options={"verify_signature": False}))


@NEEDS_NODE
def test_a_reader_reaches_their_tasks_as_the_page_says(provider: str, tmp_path: Path, data_dir: Path) -> None:
    token = signed_in(provider, ANN)["access_token"]
    assert says(token)["sub"] == ANN
    variables = {"TODO_DATA_DIR": str(data_dir), "TOKEN": token}
    (tmp_path / "clone").mkdir()
    with Reader(tmp_path / "clone", places={ISSUER: provider}, **variables) as reader:
        reader.read([replace(block, runner="") for block in blocks_of(PAGE)])


def asks(service: Service, token: str, subject: str) -> int:
    """The status of the service's answer to somebody with this token who asks for that user's tasks."""
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{service.url}/api/{quote(subject, safe='')}/tasks"
    return httpx.get(url, headers=headers, trust_env=False).status_code


@NEEDS_NODE
def test_only_access_tokens_for_this_api_are_accepted_from_a_provider(
    provider: str, database_url: str, tmp_path: Path
) -> None:
    ours, others, opaque = (signed_in(provider, ANN, f"{AUDIENCE}{path}") for path in ("", "/other", "/opaque"))
    with serving(database_url, tmp_path, **settings_for(provider)) as service:
        assert asks(service, ours["access_token"], ANN) == 200
        assert asks(service, ours["access_token"], ANN.partition("|")[2]) == 403
        for token in (ours["id_token"], others["access_token"], opaque["access_token"]):
            assert asks(service, token, ANN) == 401


@NEEDS_NODE
def test_an_issuer_with_a_trailing_slash_is_a_different_issuer(
    provider: str, database_url: str, tmp_path: Path
) -> None:
    ours = signed_in(provider, ANN)
    with_a_slash = settings_for(provider) | {"TODO_JWT_ISSUER": f"{provider}/"}
    with serving(database_url, tmp_path, **with_a_slash) as service:
        assert asks(service, ours["access_token"], ANN) == 401


@NEEDS_NODE
def test_a_program_and_a_pairwise_subject_are_separate_users(provider: str, database_url: str, tmp_path: Path) -> None:
    pairwise = signed_in(provider, ANN, client_id="private")["access_token"]
    asked = {"grant_type": "client_credentials", "resource": AUDIENCE, "scope": "tasks"}
    answer = httpx.post(f"{provider}/token", data=asked, auth=("robot", quote("of the tests")), trust_env=False)
    robot = answer.raise_for_status().json()["access_token"]
    with serving(database_url, tmp_path, **settings_for(provider)) as service:
        for token, subject in {pairwise: f"{ANN}@private", robot: "robot"}.items():
            assert says(token)["sub"] == subject
            assert asks(service, token, subject) == 200
            assert asks(service, token, ANN) == 403


class Program(TokenStorage):
    """A program that the issuer knows already."""

    tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull:
        return OAuthClientInformationFull(
            client_id="page", redirect_uris=[AnyUrl(CALLBACK)], token_endpoint_auth_method="none"
        )

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError("it is known already")


@NEEDS_NODE
async def test_an_agent_signs_its_user_in_by_itself(provider: str, database_url: str, serve: Serve) -> None:
    port, opened = free_port(), list[str]()
    url = f"http://127.0.0.1:{port}/mcp"
    settings = settings_for(provider) | {"TODO_JWT_AUDIENCE": url, "DATABASE_URL": database_url}
    await asyncio.to_thread(serve(port=port, **settings).started)

    async def open_browser(address: str) -> None:
        opened.append(address)

    async def come_back() -> AuthorizationCodeResult:
        there = await asyncio.to_thread(comes_back_to, opened[-1], ANN)
        answer = parse_qs(urlsplit(there).query)
        return AuthorizationCodeResult(code=answer["code"][0], state=answer["state"][0], iss=answer["iss"][0])

    storage = Program()
    metadata = OAuthClientMetadata(redirect_uris=[AnyUrl(CALLBACK)], token_endpoint_auth_method="none")
    auth = OAuthClientProvider(url, metadata, storage, open_browser, come_back)
    async with (
        httpx2.AsyncClient(auth=auth, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        made = await client.call_tool("add_task", {"title": "Call Mum"})
        assert made.structured_content["change"] == 1
    assert storage.tokens is not None
    said = says(storage.tokens.access_token)
    assert (said["sub"], said["aud"]) == (ANN, url)
    assert parse_qs(urlsplit(opened[0]).query)["resource"] == [url]


def settings_for(provider: str) -> dict[str, str]:
    """What the page sets, from what the provider says of itself."""
    said = httpx.get(f"{provider}/.well-known/openid-configuration", trust_env=False).raise_for_status().json()
    return {"TODO_JWKS_URL": said["jwks_uri"], "TODO_JWT_ISSUER": said["issuer"], "TODO_JWT_AUDIENCE": AUDIENCE}


# The page's table: what each of them publishes, at which path, and what it says in a token.
UUID = "0b6f3f5e-7a4e-4f0b-9d53-51d1f1a7c0de"
SHAPES: dict[str, tuple[str, str, str, str, dict[str, Any]]] = {
    "Auth0": (
        *("/.well-known/jwks.json", "/", ANN, "at+jwt"),
        {"aud": [AUDIENCE, "https://id.example.com/userinfo"], "azp": "page", "scope": "openid"},
    ),
    "Keycloak": (
        *("/realms/REALM/protocol/openid-connect/certs", "/realms/REALM", UUID, "JWT"),
        {"aud": [AUDIENCE, "account"], "typ": "Bearer", "azp": "page", "realm_access": {"roles": ["user"]}},
    ),
}


@pytest.mark.parametrize("name", ["Auth0", "Keycloak"])
def test_a_token_shaped_like_those_of_this_provider_is_accepted(name: str, database_url: str, tmp_path: Path) -> None:
    path, ending, subject, typ, claims = SHAPES[name]
    signs, encrypts = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    keys = [
        RSAAlgorithm.to_jwk(encrypts.public_key(), as_dict=True) | {"kid": "e", "use": "enc", "alg": "RSA-OAEP"},
        RSAAlgorithm.to_jwk(signs.public_key(), as_dict=True)
        | {"kid": "s", "use": "sig", "alg": "RS256", "x5c": ["…"]},
    ]
    assert path in PAGE.read_text()
    with issuing(document(json.dumps({"keys": keys}).encode())) as issuer:
        origin = f"http://127.0.0.1:{issuer.port}"
        said = claims | {"iss": f"{origin}{ending}", "sub": subject, "jti": "1"}
        now = int(time.time())
        token = jwt.encode(said | {"iat": now, "exp": now + 300}, signs, "RS256", {"kid": "s", "typ": typ})
        other = jwt.encode(said | {"iat": now, "exp": now + 300, "aud": "account"}, signs, "RS256", {"kid": "s"})
        settings = {"TODO_JWKS_URL": f"{origin}{path}", "TODO_JWT_ISSUER": said["iss"], "TODO_JWT_AUDIENCE": AUDIENCE}
        with serving(database_url, tmp_path, **settings) as service:
            assert asks(service, token, subject) == 200
            assert asks(service, other, subject) == 401
        assert issuer.requests[0].startswith(f"GET {path} ".encode())
