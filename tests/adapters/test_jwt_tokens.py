"""Which tokens `JwtAuthenticator` accepts, and which it refuses."""

import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from attacks.jws_cases import ATTACKS, Attack
from clocks import FrozenClock
from issuers import LoopbackIssuer, document, issuing
from signing import (
    AUDIENCE,
    GOOD,
    ISSUER,
    OWNER,
    SECRET,
    both_ways,
    claims,
    compact,
    header,
    hs,
    jwk,
    published_keys,
    token,
)

from todo_adapters.jwt_identity import CredentialsRefused, JwtAuthenticator, JwtPolicy
from todo_adapters.jwt_identity.compact import parse
from todo_adapters.system import SystemClock
from todo_core import NotAuthenticated


@pytest.fixture(scope="module")
def issuer() -> Iterator[LoopbackIssuer]:
    with issuing(document(published_keys())) as issuer:
        yield issuer


@pytest.fixture
async def authenticator(issuer: LoopbackIssuer) -> AsyncIterator[JwtAuthenticator]:
    authenticator = JwtAuthenticator(both_ways(issuer.url), SystemClock())
    yield authenticator
    await authenticator.aclose()


@pytest.mark.parametrize("alg", GOOD)
async def test_every_algorithm_proves_the_owner(authenticator: JwtAuthenticator, alg: str) -> None:
    assert (await authenticator.authenticate(token(alg))).owner == OWNER


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
async def test_an_attack_token_is_refused(authenticator: JwtAuthenticator, attack: Attack) -> None:
    with pytest.raises(NotAuthenticated) as refusal:
        await authenticator.authenticate(attack.forge())
    assert refusal.value.error == "invalid_token"


def test_there_are_attacks_of_every_kind() -> None:
    assert len(ATTACKS) >= 600
    assert len({str(attack) for attack in ATTACKS}) == len(ATTACKS)


GOOD_TOKENS = {
    "typ JWT": lambda: token(header_={"typ": "JWT"}),
    "typ at+jwt": lambda: token(header_={"typ": "at+jwt"}),
    "typ application/jwt": lambda: token("EdDSA", header_={"typ": "application/jwt"}),
    "typ application/at+jwt": lambda: token("EdDSA", header_={"typ": "application/at+jwt"}),
    "typ in other cases": lambda: token("EdDSA", header_={"typ": "Application/AT+jwt"}),
    "typ jwt": lambda: token(header_={"typ": "jwt"}),
    "unknown header parameters": lambda: token(header_={"x": [1, {"y": None}], "cty": "json"}),
    "its own key's address is ignored": lambda: token("EdDSA", header_={"jku": "https://elsewhere.example/keys"}),
    "a key it brings is ignored": lambda: token("EdDSA", header_={"jwk": jwk("mallory"), "x5c": ["AAAA"]}),
    "kid on HS256": lambda: token(header_={"kid": "any"}),
    "no kid, one key fits, RS256": lambda: token("RS256", header_={"kid": ...}),
    "no kid, one key fits, ES512": lambda: token("ES512", header_={"kid": ...}),
    "audience in a list": lambda: token("EdDSA", aud=["https://other.example", AUDIENCE]),
    "HS256 of any issuer": lambda: token(iss="https://other.example", aud="x"),
    "HS256 without issuer and audience": lambda: token(iss=..., aud=...),
    "issued in 20 seconds": lambda: token("EdDSA", iat=int(time.time()) + 20),
    "valid since now": lambda: token(nbf=int(time.time())),
    "fractions of seconds": lambda: token(exp=time.time() + 1.5, nbf=time.time() - 0.001, iat=time.time()),
    "an exponent": lambda: compact(header("HS256"), b'{"sub":"%s","exp":2.5e11}' % OWNER.encode(), hs(SECRET)),
    "no iat": lambda: token(iat=...),
    "other claims": lambda: token("EdDSA", id="other", email="x@example.com", userId="other", emailVerified=False),
    "spaces in JSON": lambda: compact(b' {"alg" : "HS256"}\n', json.dumps(claims(), indent=2).encode(), hs(SECRET)),
    "nested claims": lambda: token(x=json.loads("[" * 20 + "]" * 20)),
}


@pytest.mark.parametrize("name", GOOD_TOKENS)
async def test_an_honest_token_proves_its_owner(authenticator: JwtAuthenticator, name: str) -> None:
    assert (await authenticator.authenticate(GOOD_TOKENS[name]())).owner == OWNER


@pytest.mark.parametrize("subject", ["a", "é" * 255, "🔑", "../admin", "' OR 1=1", " ", "Ann", "a|b@c", "0b9…", "null"])
async def test_the_owner_is_the_subject_exactly(authenticator: JwtAuthenticator, subject: str) -> None:
    for alg in ("HS256", "EdDSA"):
        assert (await authenticator.authenticate(token(alg, sub=subject))).owner == subject


OURS = [
    ({}, None), ({"scope": ""}, None), ({"scope": "openid profile"}, None), ({"scope": 7}, None), ({"scp": {}}, None),
    ({"scope": "tasks:reads tasks: TASKS:READ xtasks:read"}, None),
    ({"scope": "tasks:read"}, {"tasks:read"}), ({"scp": ["tasks:write", 7, []]}, {"tasks:write"}),
    ({"scope": "openid,tasks:read"}, {"tasks:read"}), ({"scope": "openid\ttasks:read,\n"}, {"tasks:read"}),
    ({"scp": ["openid tasks:read"]}, {"tasks:read"}),
    ({"scp": "openid tasks:delete"}, {"tasks:delete"}), ({"scope": ["tasks:read"]}, {"tasks:read"}),
    ({"scope": "tasks:read openid", "scp": ["tasks:write"]}, {"tasks:read", "tasks:write"}),
]  # fmt: skip


@pytest.mark.parametrize(("claimed", "scopes"), OURS)
async def test_the_scopes_are_the_known_ones_that_the_token_names(
    authenticator: JwtAuthenticator, claimed: dict[str, object], scopes: set[str] | None
) -> None:
    for alg in ("HS256", "EdDSA"):
        text = token(alg, **claimed)
        for _ in range(2):  # as verified, and as remembered
            assert (await authenticator.authenticate(text)).scopes == scopes


CLIENTS = [
    ({}, None), ({"azp": "app"}, "app"), ({"client_id": "Ärger 2"}, "Ärger 2"), ({"azp": "a", "client_id": "b"}, "a"),
    ({"azp": "a" * 255}, "a" * 255), ({"azp": "a" * 256}, None), ({"azp": "a" * 256, "client_id": "b"}, "b"),
    ({"azp": ""}, None), ({"azp": 7}, None), ({"azp": ["a"]}, None), ({"azp": "a\0"}, None), ({"azp": "\n"}, None),
    ({"azp": "\ud800"}, None), ({"client_id": None}, None),
]  # fmt: skip


@pytest.mark.parametrize(("claimed", "client"), CLIENTS)
async def test_the_client_is_the_program_that_the_token_was_issued_to(
    authenticator: JwtAuthenticator, claimed: dict[str, object], client: str | None
) -> None:
    assert (await authenticator.authenticate(token(**claimed))).client == client


async def test_the_reason_of_a_refusal_contains_no_part_of_the_token(authenticator: JwtAuthenticator) -> None:
    for attack in ATTACKS:
        forged = attack.forge()
        with pytest.raises(CredentialsRefused) as refusal:
            await authenticator.authenticate(forged)
        reason = str(refusal.value)
        assert not any(part in reason for part in forged.split(".") if len(part) > 12)
        assert OWNER not in reason
        assert reason.isprintable()
        assert len(reason) < 300
        assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    "parameters", [{"kid": None}, {"kid": 1}, {"crit": ["exp"]}, {"crit": []}, {"b64": True}], ids=str
)
def test_a_header_is_refused_before_any_library_sees_it(parameters: dict[str, object]) -> None:
    with pytest.raises(CredentialsRefused):
        parse(token(header_=parameters))


class TestHs256Alone:
    """What changes when no issuer's keys are configured."""

    @pytest.mark.parametrize("alg", [alg for alg in GOOD if alg != "HS256"])
    async def test_other_algorithms_are_off(self, alg: str) -> None:
        with pytest.raises(NotAuthenticated):
            await JwtAuthenticator(JwtPolicy(secret=SECRET), SystemClock()).authenticate(token(alg))

    async def test_issuer_and_audience_are_checked_when_configured(self) -> None:
        policy = JwtPolicy(secret=SECRET, issuer=ISSUER, audience=AUDIENCE)
        authenticator = JwtAuthenticator(policy, SystemClock())
        assert (await authenticator.authenticate(token())).owner == OWNER
        for wrong in ({"iss": ...}, {"iss": "x"}, {"aud": ...}, {"aud": "x"}, {"aud": ["x"]}):
            with pytest.raises(NotAuthenticated):
                await authenticator.authenticate(token(**wrong))


async def test_hs256_is_off_without_a_secret(issuer: LoopbackIssuer) -> None:
    policy = JwtPolicy(jwks_url=issuer.url, issuer=ISSUER, audience=AUDIENCE)
    authenticator = JwtAuthenticator(policy, SystemClock())
    assert (await authenticator.authenticate(token("EdDSA"))).owner == OWNER
    for key in (SECRET, b"", b"None"):
        with pytest.raises(NotAuthenticated):
            await authenticator.authenticate(compact(header("HS256"), claims(), hs(key)))


class TestTime:
    """Moments to the microsecond, with a clock that stands still."""

    @pytest.mark.parametrize(
        ("changes", "good"),
        [
            ({"exp": 0}, False),
            ({"exp": 0.001}, True),
            ({"exp": 1}, True),
            ({"exp": -1}, False),
            ({"nbf": 0}, True),
            ({"nbf": 0.001}, False),
            ({"iat": 30}, True),
            ({"iat": 30.001}, False),
            ({"iat": -(10**8)}, True),
            ({"nbf": 31, "exp": 30}, False),
        ],
        ids=str,
    )
    async def test_a_token_holds_from_nbf_until_just_before_exp(self, changes: dict[str, float], good: bool) -> None:
        clock = FrozenClock()
        now = clock.now().timestamp()
        times = {"exp": now + 600, "iat": now} | {name: now + offset for name, offset in changes.items()}
        authenticator = JwtAuthenticator(JwtPolicy(secret=SECRET), clock)
        if good:
            assert (await authenticator.authenticate(token(**times))).owner == OWNER
        else:
            with pytest.raises(NotAuthenticated):
                await authenticator.authenticate(token(**times))
