"""Configurations that prevent the start, the form of `Authorization`, and the tokens that the service issues."""

import json
import string
from datetime import UTC, datetime, timedelta

import pytest
from clocks import FrozenClock
from hypothesis import given
from hypothesis import strategies as st
from signing import (
    AUDIENCE,
    ISSUER,
    SECRET,
    jwk,
)

from todo_adapters.jwt_identity import CredentialsRefused, JwtAuthenticator, JwtPolicy, bearer_token, issue_token
from todo_core import Identity, InvalidInput, NotAuthenticated, OwnerId


class TestPolicy:
    """What prevents the start."""

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [
            ({}, "a secret or a JWKS URL is needed"),
            ({"secret": b""}, "at least 32 bytes"),
            ({"secret": b"x" * 31}, "at least 32 bytes"),
            ({"secret": b"better-auth-secret-12345678901234567890"}, "everybody knows"),
            ({"secret": b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----"}, "looks like a key"),
            ({"secret": b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"}, "looks like a key"),
            ({"secret": json.dumps(jwk("ed")).encode()}, "looks like a key"),
        ],
    )
    def test_a_weak_secret_is_refused(self, settings: dict[str, bytes], reason: str) -> None:
        with pytest.raises(ValueError, match=reason) as refusal:
            JwtPolicy(**settings)
        assert not settings.get("secret") or settings["secret"].decode() not in str(refusal.value)

    @pytest.mark.parametrize("url", [
        "", "x", "/jwks", "https://", "https:///jwks", "http://auth.example/jwks", "http://127.0.0.1.example/", "ftp://127.0.0.1/",
        "file:///etc/passwd", "https://user:pw@auth.example/", "https://auth.example/#x", "https://auth.example:0/",
        "https://auth.example:99999/", "https://auth.example:x/", "https://a b/", "https://auth.example/\r\nX: y", "https://é/",
        "http://10.0.0.1/", "http://[::2]/", "HTTP://auth.example/", "https://auth.example/#", "https://auth.example:", "https://auth.example:/jwks",
    ])  # fmt: skip
    def test_a_bad_url_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="JWKS URL"):
            JwtPolicy(jwks_url=url, issuer=ISSUER, audience=AUDIENCE)

    @pytest.mark.parametrize(
        "url", ["https://auth.example/jwks?x=1", "http://localhost:3000/", "http://127.9.9.9/", "http://[::1]:1/"]
    )
    def test_a_good_url_is_accepted(self, url: str) -> None:
        assert JwtPolicy(jwks_url=url, issuer=ISSUER, audience=AUDIENCE).jwks_url == url

    def test_http_to_another_machine_must_be_allowed(self) -> None:
        url = "http://web:3000/jwks"
        assert JwtPolicy(jwks_url=url, issuer=ISSUER, audience=AUDIENCE, insecure_keys=True).jwks_url == url
        for bad in ("ftp://web/", "http://", "http://u:p@web/"):
            with pytest.raises(ValueError, match="JWKS URL"):
                JwtPolicy(jwks_url=bad, issuer=ISSUER, audience=AUDIENCE, insecure_keys=True)

    @pytest.mark.parametrize(("issuer", "audience"), [(None, AUDIENCE), (ISSUER, None), ("", AUDIENCE), (ISSUER, "")])
    def test_keys_without_issuer_or_audience_are_refused(self, issuer: str | None, audience: str | None) -> None:
        with pytest.raises(ValueError, match="needs an issuer and an audience"):
            JwtPolicy(jwks_url="https://auth.example/jwks", issuer=issuer, audience=audience)

    def test_the_secret_is_never_shown(self) -> None:
        assert SECRET.decode() not in repr(JwtPolicy(secret=SECRET))


class TestIssue:
    """The tokens that `todo token` gives."""

    async def test_an_issued_token_proves_its_subject_until_it_expires(self) -> None:
        clock = FrozenClock()
        policy = JwtPolicy(secret=SECRET, issuer=ISSUER, audience=AUDIENCE)
        issued = issue_token(
            SECRET, "Ann", timedelta(minutes=5), clock.now() + timedelta(seconds=0.9), issuer=ISSUER, audience=AUDIENCE
        )
        assert (await JwtAuthenticator(policy, clock).authenticate(issued)).owner == "Ann"
        clock.time += timedelta(minutes=5)
        with pytest.raises(NotAuthenticated):
            await JwtAuthenticator(policy, clock).authenticate(issued)

    async def test_an_issued_token_allows_the_scopes_asked_for(self) -> None:
        clock = FrozenClock()
        issued = issue_token(SECRET, "Ann", timedelta(minutes=5), clock.now(), scopes=["tasks:read", "tasks:write"])
        identity = await JwtAuthenticator(JwtPolicy(secret=SECRET), clock).authenticate(issued)
        assert identity == Identity(OwnerId("Ann"), None, frozenset({"tasks:read", "tasks:write"}))

    def test_a_token_without_scopes_is_not_issued(self) -> None:
        with pytest.raises(ValueError, match="must allow something"):
            issue_token(SECRET, "Ann", timedelta(minutes=5), FrozenClock().now(), scopes=[])

    @pytest.mark.parametrize("subject", ["", "a" * 256, "a\0", "\ud800"])
    def test_a_subject_that_cannot_be_an_owner_is_refused(self, subject: str) -> None:
        with pytest.raises(InvalidInput):
            issue_token(SECRET, subject, timedelta(1), datetime.now(UTC))

    @pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=0.9), timedelta(-1)])
    def test_a_lifetime_of_less_than_a_second_is_refused(self, lifetime: timedelta) -> None:
        with pytest.raises(ValueError, match="a second at least"):
            issue_token(SECRET, "Ann", lifetime, datetime.now(UTC))

    def test_a_weak_secret_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 32 bytes"):
            issue_token(b"weak", "Ann", timedelta(1), datetime.now(UTC))


class TestBearer:
    """The token in the Authorization headers of a request."""

    @pytest.mark.parametrize("value", [b"Bearer a.b.c", b"bearer a.b.c", b"BEARER   a.b.c", b"bEaReR a.b.c"])
    def test_the_scheme_is_case_insensitive(self, value: bytes) -> None:
        assert bearer_token([value]) == "a.b.c"

    def test_every_character_of_a_token68_is_accepted(self) -> None:
        token68 = string.ascii_letters + string.digits + "-._~+/=="
        assert bearer_token([b"Bearer " + token68.encode()]) == token68

    def test_a_token_of_up_to_8_kib_is_accepted(self) -> None:
        assert len(bearer_token([b"Bearer " + b"a" * 8185])) == 8185

    @pytest.mark.parametrize(
        "values", [[], [b""], [b"Basic YTpi"], [b"Token abc"], [b"Bearertoken"], [b"abc"], [b"DPoP a.b.c"]]
    )
    def test_missing_bearer_credentials_are_refused_without_an_error_code(self, values: list[bytes]) -> None:
        with pytest.raises(CredentialsRefused) as refusal:
            bearer_token(values)
        assert refusal.value.error is None

    @pytest.mark.parametrize("values", [
        [b"Bearer a", b"Bearer a"], [b"Bearer a", b"Basic b"], [b"Bearer"], [b"Bearer "], [b"Bearer  "], [b"Bearer {}"],
        [b"Bearer a b"], [b"Bearer a,b"], [b"Bearer a, Bearer b"], [b"Bearer a "], [b"Bearer \ta"], [b"Bearer a\n"],
        [b"Bearer a\r\nX: y"], [b"Bearer a\0"], [b'Bearer "a"'], [b"Bearer a=b"], [b"Bearer \xc3\xa9"],
        [b"Bearer \xff"], [b"Bearer " + b"a" * 8186], [b"Bearer a;b"], [b"Bearer %00"],
    ])  # fmt: skip
    def test_malformed_credentials_are_an_invalid_request(self, values: list[bytes]) -> None:
        with pytest.raises(CredentialsRefused) as refusal:
            bearer_token(values)
        assert refusal.value.error == "invalid_request"

    @given(st.lists(st.binary(max_size=40) | st.binary(max_size=40).map(b"Bearer ".__add__), max_size=3))
    def test_any_header_values_give_a_token_or_are_refused(self, values: list[bytes]) -> None:
        try:
            found = bearer_token(values)
        except CredentialsRefused:
            return
        assert len(values) == 1
        assert values[0].endswith(found.encode())
