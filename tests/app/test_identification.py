"""Who sent a request; in a flood of bad tokens, signatures are not checked."""

import asyncio
import json
from collections import Counter
from datetime import timedelta
from ipaddress import ip_network

import httpx
import pytest
import signing
from asking import Service, make_service, token
from clocks import Seconds, until
from factories import ANN, BOB
from issuers import LoopbackIssuer, document, issuing
from refusals import problem

from todo_adapters.jwt_identity import authenticator
from todo_adapters.rate_limit import MemoryRateLimiter, memory
from todo_app.http import identification
from todo_app.http.errors import TooManyRequests
from todo_app.http.exchange import Exchange, fields_of
from todo_app.http.identification import Identification
from todo_core import Identity, IdentityUnavailable, NotAuthenticated

PEER = "203.0.113.7"
KEYS_UNAVAILABLE = "the issuer's keys cannot be fetched"
PROXY = "10.0.0.2"
PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


class CountingVerifier:
    """Knows `good` for Ann's token and `known` for one that it has verified before; counts what it has to verify."""

    def __init__(self) -> None:
        self.verified: list[str] = []
        self.keys = asyncio.Event()
        self.keys.set()

    async def authenticate(self, token: str) -> Identity:
        self.verified.append(token)
        await self.keys.wait()
        if token == "good":
            return Identity(ANN)
        if token == "open":
            raise IdentityUnavailable
        raise NotAuthenticated

    def cached(self, token: str) -> Identity | None:
        return Identity(BOB) if token == "known" else None

    async def aclose(self) -> None: ...


class Door:
    """An `Identification` that lets an address send three bad tokens a minute."""

    def __init__(self, *, trusting: bool = True) -> None:
        self.verifier = CountingVerifier()
        self.limiter = MemoryRateLimiter("3/minute")
        self.identify = Identification(self.verifier, self.limiter, PROXIES if trusting else [])

    async def ask(self, token: str | None, peer: str | None = PEER, forwarded: str | list[str] = ()) -> str:
        """Who it is: the owner, or the refusal's code."""
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        values = [forwarded] if isinstance(forwarded, str) else forwarded
        headers += [(b"x-forwarded-for", value.encode("latin-1")) for value in values]
        scope = {"method": "GET", "headers": headers, "client": None if peer is None else (peer, 50000)}
        exchange = Exchange(scope, "id", fields_of(headers))
        try:
            return (await self.identify(exchange, scope)).owner
        except (NotAuthenticated, TooManyRequests, IdentityUnavailable) as refused:
            assert [name for name, _ in exchange.answer_headers] == [b"ratelimit-policy", b"ratelimit"]
            return refused.code

    async def is_shut_for(self, peer: str | None, forwarded: str | list[str] = ()) -> bool:
        return await self.ask("bad", peer, forwarded) == "too_many_requests"

    async def flood(self, peer: str | None = PEER, forwarded: str | list[str] = ()) -> None:
        """Use up what that address may send."""
        for _ in range(3):
            assert await self.ask("bad", peer, forwarded) == "not_authenticated"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    monkeypatch.setattr(memory, "monotonic", clock := Seconds())
    return clock


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.mark.parametrize(
    ("headers", "whose"),
    [
        ([(b"authorization", b"Bearer known")], BOB),
        ([(b"authorization", b"Bearer good")], ("an address", PEER)),
        ([(b"authorization", b"Basic known")], ("an address", PEER)),
        ([(b"authorization", b"\xff")], ("an address", PEER)),
        ([(b"accept", b"*/*")], ("an address", PEER)),
    ],
)
def test_before_it_starts_a_request_is_that_of_a_verified_tokens_user_or_of_its_address(
    door: Door, headers: list[tuple[bytes, bytes]], whose: object
) -> None:
    assert door.identify.whose({"headers": headers, "client": (PEER, 50000)}) == whose
    behind = [*headers, (b"x-forwarded-for", b"203.0.113.8")]
    expected = whose if whose == BOB else ("an address", "203.0.113.8")
    assert door.identify.whose({"headers": behind, "client": (PROXY, 50000)}) == expected
    assert door.verifier.verified == []


async def test_after_too_many_bad_tokens_no_token_of_that_address_is_verified(door: Door) -> None:
    await door.flood()
    assert len(door.verifier.verified) == 3
    for bad in ("bad", "worse", "good"):  # also one that would have proved good: nobody has looked yet
        assert await door.ask(bad) == "too_many_requests"
    assert len(door.verifier.verified) == 3


async def test_a_flood_from_one_address_does_not_affect_another(door: Door) -> None:
    await door.flood()
    assert await door.ask("good", "203.0.113.8") == ANN
    assert await door.ask("bad", "203.0.113.8") == "not_authenticated"


async def test_a_verified_token_passes_during_a_flood(door: Door) -> None:
    await door.flood()
    assert await door.ask("known") == BOB
    assert await door.ask("bad") == "too_many_requests"


async def test_good_tokens_do_not_count_as_bad(door: Door) -> None:
    for _ in range(10):
        assert await door.ask("good") == ANN
    await door.flood()


async def test_bad_tokens_that_wait_together_for_keys_do_not_exceed_the_limit(door: Door) -> None:
    door.verifier.keys.clear()
    asked = [asyncio.create_task(door.ask("bad")) for _ in range(600)]
    asked += [asyncio.create_task(door.ask("good")) for _ in range(50)]
    await until(lambda: len(door.verifier.verified) == len(asked))
    door.verifier.keys.set()
    answers = Counter(await asyncio.gather(*asked))
    assert answers == {"not_authenticated": 3, "too_many_requests": 597, ANN: 50}


async def test_a_token_that_cannot_be_verified_now_does_not_count_as_bad(door: Door) -> None:
    for _ in range(10):
        assert await door.ask("open") == "identity_unavailable"
    await door.flood()


async def test_requests_without_a_token_are_refused_and_not_counted(door: Door) -> None:
    for _ in range(5):
        assert await door.ask(None) == "not_authenticated"
        assert await door.ask("not a token") == "not_authenticated"
    await door.flood()
    assert await door.ask(None) == "not_authenticated"
    assert len(door.verifier.verified) == 3


async def test_when_the_window_has_ended_tokens_are_verified_again(door: Door, clock: Seconds) -> None:
    await door.flood()
    clock.now += 59
    assert await door.ask("good") == "too_many_requests"
    clock.now += 1
    assert await door.ask("good") == ANN
    await door.flood()


FROM_ONE_PLACE = {
    "one hop": (PROXY, "198.51.100.1", PROXY, "198.51.100.1"),
    "whatever the proxy": (PROXY, "198.51.100.1", "10.9.9.9", "198.51.100.1"),
    "behind a proxy or not": (PROXY, "198.51.100.1", "198.51.100.1", ""),
    "what it made up itself": (PROXY, "192.0.2.1, 198.51.100.1", PROXY, "192.0.2.2, 198.51.100.1"),
    "made up to look like ours": (PROXY, "192.0.2.1, 10.1.1.1, 198.51.100.1", PROXY, "10.2.2.2, 198.51.100.1"),
    "several proxies of ours": (PROXY, "192.0.2.1, 198.51.100.1, 10.1.1.1", PROXY, "198.51.100.1, 10.3.3.3, fd00::1"),
    "in several headers": (PROXY, ["192.0.2.1", "198.51.100.1, 10.1.1.1"], PROXY, "198.51.100.1"),
    "with empty hops": (PROXY, " , 198.51.100.1,, ", PROXY, "198.51.100.1"),
    "IPv4 as IPv6": (PROXY, "::ffff:198.51.100.1", PROXY, "198.51.100.1"),
    "a proxy's IPv4 as IPv6": ("::ffff:10.0.0.2", "198.51.100.1", PROXY, "198.51.100.1"),
    "one IPv6 network of 64 bits": (PROXY, "2001:db8:1:2::1", PROXY, "2001:db8:1:2:ffff::9"),
    "such a peer": ("2001:db8:1:2::1", "", "2001:db8:1:2::2", ""),
    "spelled differently": (PROXY, "2001:db8::1", PROXY, "2001:0DB8:0:0::0001"),
    "with a zone": ("fe80::1%eth0", "", "fe80::1%eth1", ""),
    "with ports": (PROXY, "198.51.100.1:1111", PROXY, "198.51.100.1:2222"),
    "IPv6 with ports": (PROXY, "[2001:db8::1]:1111", PROXY, "[2001:db8::2]"),
    "no address at all": (PROXY, "unknown", PROXY, "_hidden; DROP TABLE"),
    "bytes of any kind": (PROXY, "\xff\xfe\x01", PROXY, "1.2.3.4.5"),
    "nobody knows where": (None, "", None, ""),
}


@pytest.mark.parametrize(
    ("peer", "forwarded", "other_peer", "other_forwarded"), FROM_ONE_PLACE.values(), ids=FROM_ONE_PLACE
)
async def test_these_clients_count_as_one_address(
    door: Door, peer: str | None, forwarded: str | list[str], other_peer: str | None, other_forwarded: str
) -> None:
    await door.flood(peer, forwarded)
    assert await door.is_shut_for(other_peer, other_forwarded)


async def test_of_thousands_of_forwarded_addresses_only_the_last_are_read(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    parsed = identification._parsed
    monkeypatch.setattr(identification, "_parsed", lambda address: read.append(address) or parsed(address))
    await door.ask("good", PROXY, "198.51.100.1," + "10.0.0.1:1," * 5800)
    assert 0 < len(read) <= 2 * identification.HOPS_MAX
    nearest = ",".join(["198.51.100.1", *["10.1.1.1"] * (identification.HOPS_MAX - 1)])
    await door.flood(PROXY, nearest)
    assert await door.is_shut_for(PROXY, "198.51.100.1")


@pytest.mark.parametrize("hop", ["." * 60_000, ":" * 60_000, "1" * 60_000, "[" + ":" * 60_000 + "]:1"])
async def test_a_forwarded_address_that_is_far_too_long_is_not_parsed(
    door: Door, monkeypatch: pytest.MonkeyPatch, hop: str
) -> None:
    identification._parse.cache_clear()
    parsed: list[str] = []
    parse = identification.ipaddress.ip_address
    monkeypatch.setattr(identification.ipaddress, "ip_address", lambda text: parsed.append(text) or parse(text))
    await door.flood(PROXY, hop)
    assert await door.is_shut_for(PROXY, "unknown")
    assert max(map(len, parsed)) < 1000


FROM_TWO_PLACES = {
    "two peers": (PEER, "", "203.0.113.8", ""),
    "two clients of a proxy": (PROXY, "198.51.100.1", PROXY, "198.51.100.2"),
    "a client and its proxy": (PROXY, "198.51.100.1", PROXY, ""),
    "two networks of 64 bits": (PROXY, "2001:db8:1:2::1", PROXY, "2001:db8:1:3::1"),
    "a stranger behind another's proxy": (PROXY, "198.51.100.1, 192.0.2.9", PROXY, "198.51.100.1"),
    "garbage and an address": (PROXY, "unknown", PROXY, "198.51.100.1"),
    "with ports": (PROXY, "198.51.100.1:1111", PROXY, "198.51.100.2:1111"),
    "IPv6 with ports": (PROXY, "[2001:db8:1:2::1]:1111", PROXY, "[2001:db8:1:3::1]:1111"),
}


@pytest.mark.parametrize(
    ("peer", "forwarded", "other_peer", "other_forwarded"), FROM_TWO_PLACES.values(), ids=FROM_TWO_PLACES
)
async def test_these_clients_count_as_two_addresses(
    door: Door, peer: str, forwarded: str, other_peer: str, other_forwarded: str
) -> None:
    await door.flood(peer, forwarded)
    assert not await door.is_shut_for(other_peer, other_forwarded)


@pytest.mark.parametrize(
    "forwarded", ["198.51.100.{}", "10.0.0.{}", "198.51.100.{}, 10.0.0.2", "2001:db8:{}::1", "x{}"]
)
async def test_forwarded_addresses_are_accepted_only_from_a_trusted_proxy(forwarded: str) -> None:
    for door, peer in ((Door(), PEER), (Door(trusting=False), PROXY), (Door(), "::ffff:203.0.113.7")):
        for number in range(3):
            assert await door.ask("bad", peer, forwarded.format(number)) == "not_authenticated"
        assert await door.is_shut_for(peer, forwarded.format(9))
        assert len(door.verifier.verified) == 3


async def test_addresses_without_requests_are_forgotten(door: Door, clock: Seconds) -> None:
    for number in range(500):
        await door.ask("bad", f"2001:db8:{number:x}::1")
    clock.now += 120
    for number in range(5):
        await door.ask("bad", f"2001:db9:{number:x}::1")
    assert len(door.limiter._windows) == 5


async def test_the_service_checks_no_signature_in_a_flood_and_known_tokens_still_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[str] = []
    check = authenticator._check_signature

    def counting(token: str, *arguments: object) -> None:
        checked.append(token)
        check(token, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(authenticator, "_check_signature", counting)
    service: Service = make_service(bad_token_limit="5/minute")
    path = f"/api/{ANN}/tasks"
    assert (await service.ask("GET", path)).status_code == 200
    bad = [token(ANN, life=timedelta(hours=number))[:-4] + "AAAA" for number in range(1, 21)]
    answers = [await service.ask("GET", path, headers={"Authorization": f"Bearer {each}"}) for each in bad]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 15
    assert checked[1:] == bad[:5]
    left = [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers]
    assert left == [f'"bad-tokens";r={max(0, 4 - number)}' for number in range(20)]
    for answer in answers[5:]:
        problem(answer, 429)
        assert answer.headers["retry-after"] == answer.headers["ratelimit"].rpartition("t=")[2]
    assert (await service.ask("GET", path)).status_code == 200
    assert len(checked) == 6


@pytest.mark.parametrize("others", [[b"Bearer x"], [b"Basic x"], [b""], [b"Bearer " + b"x" * 9000], [b"Bearer x"] * 9])
@pytest.mark.parametrize("first", [b"Bearer x", b"Basic x", b""])
async def test_several_authorization_headers_are_the_reason_whatever_they_hold(
    service: Service, first: bytes, others: list[bytes]
) -> None:
    headers = [(b"authorization", value) for value in (first, *others)]
    problem(await service.ask("GET", f"/api/{ANN}/tasks", headers=headers), 401)
    assert [line["reason"] for line in service.log()] == ["several Authorization headers"]


async def test_one_authorization_header_with_a_comma_is_malformed(service: Service) -> None:
    problem(await service.ask("GET", f"/api/{ANN}/tasks", headers={"Authorization": "Bearer x, Bearer y"}), 401)
    assert [line["reason"] for line in service.log()] == ["the Authorization header is malformed"]


class TestIssuerThatDoesNotAnswer:
    """The running service while the issuer's keys cannot be fetched, and after."""

    PATH = f"/api/{signing.OWNER}/tasks"
    DOWN = document(b"", "502 Bad Gateway")

    @staticmethod
    def service(issuer: LoopbackIssuer) -> Service:
        keys = {"jwks_url": issuer.url, "issuer": signing.ISSUER, "audience": signing.AUDIENCE}
        return make_service(bad_token_limit="5/minute", **keys)

    async def ask(self, service: Service, name: str) -> httpx.Response:
        bearer = signing.compact({"alg": "EdDSA", "kid": name}, signing.claims(), signing.eddsa(name))
        return await service.ask("GET", self.PATH, headers={"Authorization": f"Bearer {bearer}"})

    async def test_tokens_get_503_during_an_issuer_outage_and_no_address_is_blocked_after_it(self) -> None:
        with issuing(self.DOWN) as issuer:
            service = self.service(issuer)
            for _ in range(20):
                answer = await self.ask(service, "ed")
                problem(answer, 503, "identity_unavailable")
                assert answer.headers["retry-after"] == "2"
            assert {line["reason"] for line in service.log() if "reason" in line} == {KEYS_UNAVAILABLE}
            issuer.answer = document(json.dumps({"keys": [signing.jwk("ed")]}).encode())
            await asyncio.sleep(2)  # what Retry-After says
            assert (await self.ask(service, "ed")).status_code == 200

    async def test_an_address_blocked_for_an_unknown_key_is_admitted_when_the_key_is_known(self) -> None:
        with issuing(document(json.dumps({"keys": [signing.jwk("ed")]}).encode())) as issuer:
            service = self.service(issuer)
            answers = [(await self.ask(service, "ed-old")).status_code for _ in range(7)]
            assert answers == [401] * 5 + [429] * 2
            issuer.answer = document(json.dumps({"keys": [signing.jwk("ed"), signing.jwk("ed-old")]}).encode())
            keys = service.container.verifier()._keys  # type: ignore[attr-defined]
            assert keys._due is not None
            keys._fetch_now()
            await until(lambda: keys._fetching is None)
            assert (await self.ask(service, "ed-old")).status_code == 200
            await service.container.verifier().aclose()
