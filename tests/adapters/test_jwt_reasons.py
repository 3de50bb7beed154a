"""The log's reasons for refused tokens: useful to an operator, with the token's content shortened and escaped."""

import json
import time
from collections.abc import Callable, Iterator

import pytest
from issuers import document, issuing
from signing import AUDIENCE, ISSUER, SECRET, b64, both_ways, claims, compact, eddsa, hs, jwk, published_keys, token

from todo_adapters.jwt_identity import CredentialsRefused, JwtAuthenticator, JwtPolicy
from todo_adapters.system import SystemClock

NOW = int(time.time())
ODD = 'k\r\n\u2028\x1b[2J\ud800"' + "x" * 5000

REASONS: dict[str, tuple[Callable[[], str], str]] = {
    "expired": (lambda: token(exp=NOW - 1), "expired"),
    "not yet": (lambda: token(nbf=NOW + 10**6), "not valid yet (nbf)"),
    "of the future": (lambda: token(iat=NOW + 10**6), "iat is in the future: the issuer's clock and this one differ"),
    "issuer": (lambda: token("EdDSA", iss="https://s3cret"), f"issuer differs: iss must be {ISSUER}"),
    "no issuer": (lambda: token("EdDSA", iss=...), f"issuer is missing: iss must be {ISSUER}"),
    "audience": (lambda: token("EdDSA", aud=["s3cret"]), f"audience differs: aud must be {AUDIENCE}"),
    "no audience": (lambda: token("EdDSA", aud=...), f"audience is missing: aud must be {AUDIENCE}"),
    "a cached session": (
        lambda: token("EdDSA", aud="better-auth:session-cache"),
        "a cached session of Better Auth, which is not an access token",
    ),
    "another secret": (
        lambda: compact({"alg": "HS256"}, claims(), hs(b"s3cret" * 9)),
        "signature differs: not made with the secret of this service, or the token was changed",
    ),
    "another key": (
        lambda: compact({"alg": "EdDSA", "kid": "ed"}, claims(), eddsa("mallory")),
        "signature differs: not made with the issuer's key of that kid, or the token was changed",
    ),
    "an unknown kid": (
        lambda: token("EdDSA", header_={"kid": "unknown"}),
        "the issuer has no key for EdDSA with kid 'unknown'",
    ),
    "no kid": (
        lambda: token("EdDSA", header_={"kid": ...}),
        "no kid, and the issuer has none, or several keys, for EdDSA",
    ),
    "another algorithm": (
        lambda: token(header_={"alg": "HS512"}),
        "algorithm not accepted here: 'HS512' (ES256, ES512, EdDSA, HS256, PS256, RS256 can be)",
    ),
    "a session token": (
        lambda: "s3cretXQhN7wA2kdRr0vVuYJ5pZc1sT9mLbGfE",
        "not a JWT, which has three parts (a session token of Better Auth is not one either)",
    ),
    "a JWE": (lambda: ".".join(["s3cret"] * 5), "encrypted (a JWE), where a signed JWT is expected"),
    "no sub": (lambda: token(sub=...), "sub is missing or not a string"),
    "a typ": (lambda: token(header_={"typ": "s3cret"}), "typ is not that of an access token"),
}


@pytest.fixture(scope="module")
def policy() -> Iterator[JwtPolicy]:
    with issuing(document(published_keys())) as issuer:
        yield both_ways(issuer.url)


async def reason(policy: JwtPolicy, text: str) -> str:
    authenticator = JwtAuthenticator(policy, SystemClock())
    try:
        with pytest.raises(CredentialsRefused) as refused:
            await authenticator.authenticate(text)
    finally:
        await authenticator.aclose()
    return str(refused.value)


@pytest.mark.parametrize("name", REASONS)
async def test_a_refusal_says_what_is_wrong(policy: JwtPolicy, name: str) -> None:
    make, words = REASONS[name]
    assert await reason(policy, make()) == words


UNUSABLE: dict[str, tuple[dict[str, object], str]] = {
    "too short": (jwk("rs1024"), "RSA of 1024 bits; 2048 to 8192 are accepted"),
    "too long": (jwk("rs", n=b64(b"\xff" * 1500)), "RSA of 12000 bits; 2048 to 8192 are accepted"),
    "for encryption": (jwk("rs", use="enc"), "it is not for signatures (use)"),
    "for signing": (jwk("ed", key_ops=["sign"]), "it is not for verifying signatures (key_ops)"),
    "private": (jwk("ed", d="s3cret"), "it has private members"),
    "another algorithm": (jwk("rs", alg="s3cret"), "its alg is none that is accepted for its type"),
    "another curve": (jwk("p384"), "not a valid key of a supported type"),
    "another type": (jwk("ed", kty="s3cret"), "not a valid key of a supported type"),
    "unreadable": (jwk("ed", x="s3cret"), "not a valid key of a supported type"),
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_an_unusable_key_of_the_kid_is_named_with_what_is_wrong(name: str) -> None:
    key, why = UNUSABLE[name]
    with issuing(document(json.dumps({"keys": [key]}).encode())) as issuer:
        said = await reason(both_ways(issuer.url), token("RS256", header_={"kid": key["kid"]}))
    assert said == f"the issuer's key of kid '{key['kid']}' cannot be used: {why}"


async def test_a_usable_key_among_unusable_ones_of_its_kid_is_not_blamed() -> None:
    keys = {"keys": [jwk("ed", use="enc"), jwk("ed"), jwk("ed", d="s3cret")]}
    with issuing(document(json.dumps(keys).encode())) as issuer:
        said = await reason(both_ways(issuer.url), token("EdDSA", exp=NOW - 1))
    assert said == "expired"


async def test_two_keys_of_one_kid_are_called_several() -> None:
    keys = {"keys": [jwk("ed"), jwk("ed-old", kid="ed")]}
    with issuing(document(json.dumps(keys).encode())) as issuer:
        said = await reason(both_ways(issuer.url), token("EdDSA"))
    assert said == "the issuer has several keys for EdDSA with kid 'ed'"


async def test_a_disabled_algorithm_is_named_with_the_setting_that_enables_it() -> None:
    hs256 = JwtPolicy(secret=SECRET, keys_off="BETTER_AUTH_URL is not set")
    assert await reason(hs256, token("EdDSA")) == "algorithm not accepted here: EdDSA (BETTER_AUTH_URL is not set)"
    keys = JwtPolicy(jwks_url="https://x/", issuer="i", audience="a", hs256_off="BETTER_AUTH_SECRET is not set")
    assert await reason(keys, token()) == "algorithm not accepted here: HS256 (BETTER_AUTH_SECRET is not set)"


@pytest.mark.parametrize("header", [{"alg": ODD}, {"alg": "EdDSA", "kid": ODD}, {"alg": "HS256", "typ": ODD}])
async def test_token_content_in_a_reason_is_shortened_and_escaped(policy: JwtPolicy, header: dict[str, str]) -> None:
    said = await reason(policy, compact(json.dumps(header).encode(), claims(), hs(SECRET)))
    assert len(said) < 300
    assert said.isprintable()
    assert "xxx" * 20 not in said


async def test_the_kid_of_an_unusable_key_is_shortened_and_escaped() -> None:
    with issuing(document(json.dumps({"keys": [jwk("rs1024", kid=ODD)]}).encode())) as issuer:
        said = await reason(both_ways(issuer.url), token("EdDSA", header_={"kid": ODD}))
    assert said.endswith("cannot be used: RSA of 1024 bits; 2048 to 8192 are accepted")
    assert said.isprintable()
    assert "xxx" * 20 not in said
