"""For any input, `JwtAuthenticator` returns the right owner or raises `CredentialsRefused`."""

import math
import string
import time
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from signing import GOOD, OWNER, SECRET, both_ways, claims, compact, hs, published_keys, token

from todo_adapters.jwt_identity import JwtAuthenticator, JwtPolicy
from todo_adapters.jwt_identity.jwks import Key, KeySet, key_set
from todo_adapters.system import SystemClock
from todo_core import InvalidInput, NotAuthenticated, OwnerId, owner_id

PARAMETERS = ("alg", "typ", "kid", "crit", "b64", "jwk", "x")
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


class StillKeys:
    """The issuer's keys without their fetching."""

    keys = key_set(published_keys())

    def current(self) -> KeySet:
        return self.keys

    async def find(self, alg: str, kid: str | None) -> tuple[Key | None, KeySet]:
        return self.keys.find(alg, kid), self.keys


@cache
def hs256_alone() -> JwtAuthenticator:
    return JwtAuthenticator(JwtPolicy(secret=SECRET), SystemClock())


@cache
def with_keys() -> JwtAuthenticator:
    authenticator = JwtAuthenticator(both_ways("https://auth.example/jwks"), SystemClock())
    authenticator._keys = StillKeys()
    return authenticator


@cache
def good_tokens() -> dict[str, str]:
    return {alg: token(alg) for alg in GOOD}


@given(st.text() | st.text(string.ascii_letters + string.digits + "-_.=+/", max_size=400))
@example("\ud800.\ud800.\ud800")
async def test_arbitrary_text_is_refused_as_a_token(text: str) -> None:
    with pytest.raises(NotAuthenticated):
        await with_keys().authenticate(text)


@given(st.binary(), st.binary())
async def test_arbitrary_signed_bytes_are_refused_as_a_token(first: bytes, second: bytes) -> None:
    with pytest.raises(NotAuthenticated):
        await hs256_alone().authenticate(compact(first, second, hs(SECRET)))


@given(place=st.integers(0, 5000), flip=st.integers(1, 255), alg=st.sampled_from(list(GOOD)))
async def test_a_token_with_a_changed_character_anywhere_is_refused(place: int, flip: int, alg: str) -> None:
    good = good_tokens()[alg]
    place %= len(good)
    changed = good[:place] + chr(ord(good[place]) ^ flip) + good[place + 1 :]
    with pytest.raises(NotAuthenticated):
        await with_keys().authenticate(changed)


@given(st.dictionaries(st.sampled_from(PARAMETERS), LEAVES | st.just("HS256") | st.just("JWT")))
async def test_only_a_correct_header_is_accepted(parameters: dict[str, object]) -> None:
    honest = (
        parameters.get("alg") == "HS256"
        and parameters.get("typ", "JWT") in ("JWT", "at+jwt", "application/jwt", "jwt", "application/at+jwt")
        and isinstance(parameters.get("kid", ""), str)
        and not {"crit", "b64"} & parameters.keys()
        and all(not isinstance(value, float) or math.isfinite(value) for value in parameters.values())
    )
    assert await proves(compact(parameters, claims(), hs(SECRET))) == (OWNER if honest else None)


@given(JSON)
async def test_a_subject_is_accepted_if_and_only_if_it_can_be_an_owner(subject: object) -> None:
    try:
        expected: OwnerId | None = owner_id(subject) if isinstance(subject, str) else None
    except InvalidInput:
        expected = None
    assert await proves(token(sub=subject)) == expected


@given(JSON | st.integers(-(10**20), 10**20) | st.floats(0, 3e11), st.sampled_from(["exp", "nbf", "iat"]))
async def test_a_time_is_accepted_if_and_only_if_it_is_valid(value: object, name: str) -> None:
    limit = time.time() + (30 if name == "iat" else 0)
    fits = type(value) in (int, float) and 0 <= value <= 253402300799 and (value > limit) == (name == "exp")
    assert await proves(token(**{name: value})) == (OWNER if fits else None)


async def proves(text: str) -> OwnerId | None:
    try:
        return (await hs256_alone().authenticate(text)).owner
    except NotAuthenticated:
        return None
