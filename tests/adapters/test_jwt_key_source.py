"""When the issuer's keys are fetched, who waits for it, and what happens while the issuer is unavailable."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from clocks import Seconds, until
from issuers import Answer, LoopbackIssuer, document, hanging, issuing, raw
from signing import OWNER, both_ways, claims, compact, eddsa, jwk, token

from todo_adapters.jwt_identity import CredentialsRefused, JwtAuthenticator, key_source
from todo_adapters.jwt_identity.jwks import KeySet
from todo_adapters.system import SystemClock
from todo_core import Identity, IdentityUnavailable, OwnerId

FRESH, STALE, COOLDOWN, RETRY, EARLY_EVERY = 300, 3600, 10, 2, 60


class Failures:
    """Counts the fetches that failed."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def publishing(*names: str) -> Answer:
    return document(json.dumps({"keys": [jwk(name) for name in names]}).encode())


@pytest.fixture
def issuer() -> Iterator[LoopbackIssuer]:
    with issuing(publishing("ed")) as issuer:
        yield issuer


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    monkeypatch.setattr("todo_adapters.jwt_identity.key_source.monotonic", seconds := Seconds())
    return seconds


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
async def authenticator(
    issuer: LoopbackIssuer, seconds: Seconds, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[JwtAuthenticator]:
    monkeypatch.setattr("todo_adapters.jwt_identity.authenticator.FETCH_WITHIN", 0.5)
    authenticator = JwtAuthenticator(both_ways(issuer.url), SystemClock(), on_fetch_failure=failures)
    yield authenticator
    await authenticator.aclose()


async def accepts(authenticator: JwtAuthenticator, text: str) -> bool:
    try:
        return (await authenticator.authenticate(text)).owner == OWNER
    except CredentialsRefused:
        return False


async def is_open(authenticator: JwtAuthenticator, text: str) -> bool:
    """Whether nobody can say now what the token proves."""
    try:
        await authenticator.authenticate(text)
    except IdentityUnavailable:
        return True
    except CredentialsRefused:
        return False
    return False


def by(name: str, **changes: object) -> str:
    """A token signed with the Ed25519 key of that name. No two are the same."""
    return compact({"alg": "EdDSA", "kid": name}, claims(jti=time.perf_counter_ns(), **changes), eddsa(name))


async def settled(authenticator: JwtAuthenticator) -> None:
    """Wait for the fetch that goes on in the background."""
    await asyncio.sleep(0)
    while (fetching := authenticator._keys._fetching) is not None:
        await asyncio.wait([fetching])


async def test_keys_are_fetched_once_for_many_tokens(authenticator: JwtAuthenticator, issuer: LoopbackIssuer) -> None:
    assert not issuer.requests
    assert all(await asyncio.gather(*(accepts(authenticator, by("ed")) for _ in range(50))))
    assert len(issuer.requests) == 1


async def test_hs256_and_foreign_algorithms_never_ask_the_issuer(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer
) -> None:
    assert await accepts(authenticator, token())
    for alg in ("none", "ES384", "HS512", "Ed25519", "x"):
        assert not await accepts(authenticator, token(header_={"alg": alg}))
    assert not issuer.requests


async def test_a_rotated_key_is_fetched_when_its_first_token_comes(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    assert await accepts(authenticator, by("ed"))
    issuer.answer = publishing("ed", "ed-old")
    seconds.now += COOLDOWN
    assert await accepts(authenticator, by("ed-old"))
    assert await accepts(authenticator, by("ed"))
    assert len(issuer.requests) == 2


async def test_a_key_published_just_after_a_fetch_is_fetched_at_once(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer
) -> None:
    assert await accepts(authenticator, by("ed"))
    issuer.answer = publishing("ed", "ed-old")
    assert all(await asyncio.gather(*(accepts(authenticator, by("ed-old")) for _ in range(50))))
    assert len(issuer.requests) == 2


async def test_a_flood_of_unknown_keys_causes_one_fetch_per_cooldown_and_an_early_one_a_minute(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    for second in range(2 * EARLY_EVERY):
        for number in range(20):
            header = {"alg": "EdDSA", "kid": f"{second}-{number}"}
            assert not await accepts(authenticator, compact(header, claims(), eddsa("mallory")))
        seconds.now += 1
    assert len(issuer.requests) == 2 * (EARLY_EVERY // COOLDOWN + 1)


async def test_a_client_that_keeps_sending_an_unknown_key_takes_no_early_fetch_from_others(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    assert not await accepts(authenticator, by("mallory"))
    for _ in range(EARLY_EVERY + COOLDOWN):
        seconds.now += 1
        assert not await accepts(authenticator, by("mallory"))
    issuer.answer = publishing("ed", "ed-old")
    assert await accepts(authenticator, by("ed-old"))
    assert len(issuer.requests) == 1 + (EARLY_EVERY + COOLDOWN) // COOLDOWN + 1


async def test_an_early_fetch_leaves_what_an_earlier_one_answered(issuer: LoopbackIssuer, seconds: Seconds) -> None:
    others = list[asyncio.Task[bool]]()
    authenticator = JwtAuthenticator(
        both_ways(issuer.url),
        SystemClock(),
        on_new_keys=lambda: others.append(asyncio.create_task(accepts(authenticator, by("mallory")))),
    )
    assert not await accepts(authenticator, by("ed-old"))
    assert [await each for each in others] == [False]
    assert len(issuer.requests) == 2
    await authenticator.aclose()


async def test_an_unknown_key_causes_one_fetch_per_cooldown(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    for rounds in range(1, 4):
        unknown = (by("mallory") for _ in range(100))
        assert not any(await asyncio.gather(*(accepts(authenticator, text) for text in unknown)))
        seconds.now += COOLDOWN - 0.001
        assert not await accepts(authenticator, by("mallory"))
        assert len(issuer.requests) == rounds
        seconds.now += 0.001


async def test_a_fetch_that_outlasts_the_cooldown_stays_the_only_one(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    issuer.answer = hanging
    waiting = []
    for _ in range(3):
        waiting.append(asyncio.create_task(is_open(authenticator, by("mallory"))))
        await asyncio.sleep(0.05)
        seconds.now += COOLDOWN
    assert all(await asyncio.gather(*waiting))
    assert len(issuer.requests) == 1


async def test_at_a_cold_start_without_an_issuer_no_token_is_judged_until_keys_are_fetched(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds, failures: Failures
) -> None:
    issuer.answer = document(b"", "500 Internal Server Error")
    for outages in range(1, 4):
        assert all(await asyncio.gather(*(is_open(authenticator, by("ed")) for _ in range(20))))
        seconds.now += RETRY - 0.001
        assert await is_open(authenticator, by("ed"))
        assert (len(issuer.requests), failures.count) == (outages, outages)
        seconds.now += 0.001
    issuer.answer = publishing("ed")
    assert await accepts(authenticator, by("ed"))
    assert (len(issuer.requests), failures.count) == (4, 3)


async def test_after_a_rotation_without_an_issuer_only_tokens_of_known_keys_are_judged(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    assert await accepts(authenticator, by("ed"))
    issuer.answer = raw(b"")
    seconds.now += COOLDOWN
    for _ in range(3):
        assert await is_open(authenticator, by("ed-old"))
        assert await is_open(authenticator, by("mallory"))
        assert await accepts(authenticator, by("ed"))
        assert not await accepts(authenticator, token("EdDSA")[:-4] + "AAAA")
        seconds.now += RETRY
    issuer.answer = publishing("ed", "ed-old")
    assert await accepts(authenticator, by("ed-old"))
    assert not await is_open(authenticator, by("mallory"))


async def test_a_key_published_just_after_an_early_fetch_is_fetched_when_the_cooldown_ends(
    issuer: LoopbackIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todo_adapters.jwt_identity.key_source.COOLDOWN", 0.5)
    changes = Failures()
    authenticator = JwtAuthenticator(both_ways(issuer.url), SystemClock(), on_new_keys=changes)
    assert await accepts(authenticator, by("ed"))
    assert not await accepts(authenticator, by("mallory"))
    issuer.answer = publishing("ed", "ed-old")
    assert not any([await accepts(authenticator, by("ed-old")) for _ in range(5)])
    await until(lambda: changes.count == 2)
    assert await accepts(authenticator, by("ed-old"))
    assert len(issuer.requests) == 3
    await authenticator.aclose()


async def test_an_outage_is_logged_at_its_beginning_and_once_a_minute(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.answer = raw(b"")
    for _ in range(31):
        assert await is_open(authenticator, by("ed"))
        seconds.now += RETRY
    assert len(caplog.records) == 2
    issuer.answer = publishing("ed")
    assert await accepts(authenticator, by("ed"))
    issuer.answer = raw(b"")
    seconds.now += COOLDOWN
    assert await is_open(authenticator, by("mallory"))
    assert len(caplog.records) == 3


@pytest.mark.parametrize(
    "answer",
    [document(b"not json"), document(b'{"keys":{}}'), document(b"[" * 60_000), raw(b""), raw(b"\0" * 100), hanging],
)
async def test_a_broken_issuer_counts_as_a_failure_and_is_logged(
    authenticator: JwtAuthenticator,
    issuer: LoopbackIssuer,
    failures: Failures,
    answer: Answer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer.answer = answer
    with caplog.at_level(logging.WARNING):
        assert await is_open(authenticator, by("ed"))
    assert failures.count == 1
    assert "keys could not be fetched" in caplog.text


async def test_a_hanging_issuer_never_delays_known_keys(
    issuer: LoopbackIssuer, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todo_adapters.jwt_identity.authenticator.FETCH_WITHIN", 60.0)
    authenticator = JwtAuthenticator(both_ways(issuer.url), SystemClock())
    assert await accepts(authenticator, by("ed"))
    issuer.answer = hanging
    seconds.now += FRESH
    waiting = [asyncio.create_task(is_open(authenticator, by("mallory"))) for _ in range(20)]
    for _ in range(50):
        assert await accepts(authenticator, by("ed"))
    assert not any(task.done() for task in waiting)
    await authenticator.aclose()
    assert all(await asyncio.gather(*waiting))
    assert len(issuer.requests) <= 2


async def test_a_cancelled_caller_does_not_cancel_the_fetch(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer
) -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await publishing("ed")(writer)

    issuer.answer = slow
    impatient = asyncio.create_task(authenticator.authenticate(by("ed")))
    patient = asyncio.create_task(authenticator.authenticate(by("ed")))
    await asyncio.sleep(0.05)
    impatient.cancel()
    assert (await patient).owner == OWNER
    assert len(issuer.requests) == 1


async def test_keys_that_are_not_fresh_are_fetched_in_the_background(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    known = by("ed")
    assert await accepts(authenticator, known)
    seconds.now += FRESH - 0.001
    assert authenticator.cached(known) == Identity(OwnerId(OWNER))
    await settled(authenticator)
    assert len(issuer.requests) == 1
    seconds.now += 0.001
    assert authenticator.cached(known) == Identity(OwnerId(OWNER))
    await settled(authenticator)
    assert len(issuer.requests) == 2


async def test_tokens_of_a_withdrawn_key_are_refused_though_remembered(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    withdrawn, hs256 = by("ed"), token()
    assert await accepts(authenticator, withdrawn)
    assert await accepts(authenticator, hs256)
    issuer.answer = publishing("ed-old")
    seconds.now += FRESH
    assert authenticator.cached(withdrawn) == Identity(OwnerId(OWNER))
    await settled(authenticator)
    assert authenticator.cached(withdrawn) is None
    assert not await accepts(authenticator, withdrawn)
    assert await accepts(authenticator, by("ed-old"))
    assert authenticator.cached(hs256) == Identity(OwnerId(OWNER))


async def test_a_key_replaced_under_the_same_kid_is_withdrawn_too(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    first = by("ed")
    assert await accepts(authenticator, first)
    issuer.answer = document(json.dumps({"keys": [jwk("ed-old", kid="ed")]}).encode())
    seconds.now += FRESH
    authenticator.cached(first)
    await settled(authenticator)
    assert not await accepts(authenticator, first)


async def test_unchanged_keys_keep_what_is_remembered(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    known = by("ed")
    assert await accepts(authenticator, known)
    for fetches in range(1, 5):
        assert len(issuer.requests) == fetches
        seconds.now += FRESH
        assert authenticator.cached(known) == Identity(OwnerId(OWNER))
        await settled(authenticator)


async def test_stale_keys_serve_for_a_limited_time_while_the_issuer_is_unavailable(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds, failures: Failures
) -> None:
    known, start = by("ed"), seconds.now
    assert await accepts(authenticator, known)
    issuer.answer = raw(b"")
    for age in range(FRESH, STALE, FRESH):
        seconds.now = start + age
        assert await accepts(authenticator, known)
        assert await accepts(authenticator, by("ed"))
        await settled(authenticator)
    assert failures.count == STALE // FRESH - 1
    seconds.now = start + STALE
    assert authenticator.cached(known) is None
    assert await is_open(authenticator, known)
    issuer.answer = publishing("ed")
    seconds.now += RETRY
    assert await accepts(authenticator, known)


async def test_an_emptied_set_withdraws_all_keys(
    authenticator: JwtAuthenticator, issuer: LoopbackIssuer, seconds: Seconds, failures: Failures
) -> None:
    assert await accepts(authenticator, by("ed"))
    issuer.answer = publishing()
    seconds.now += COOLDOWN
    assert not await accepts(authenticator, by("mallory"))
    assert not await accepts(authenticator, by("ed"))
    assert failures.count == 0


async def test_the_reason_of_an_unusable_key_is_that_of_the_last_fetch_and_changes_no_keys(
    issuer: LoopbackIssuer, seconds: Seconds
) -> None:
    changes = Failures()
    authenticator = JwtAuthenticator(both_ways(issuer.url), SystemClock(), on_new_keys=changes)
    assert await accepts(authenticator, good := by("ed"))
    for unusable, reason in (({"use": "enc"}, "it is not for signatures"), ({"d": "x"}, "it has private members")):
        keys = [jwk("ed"), jwk("ed-old", **unusable)]
        issuer.answer = document(json.dumps({"keys": keys}).encode())
        seconds.now += COOLDOWN
        with pytest.raises(CredentialsRefused, match=f"kid 'ed-old' cannot be used: {reason}"):
            await authenticator.authenticate(by("ed-old"))
    assert authenticator.cached(good)
    assert changes.count == 1
    await authenticator.aclose()


async def test_keys_are_read_beside_the_event_loop(
    authenticator: JwtAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, threads = key_source.key_set, list[threading.Thread]()

    def noting(document: bytes) -> KeySet:  # which takes up to 20 ms
        threads.append(threading.current_thread())
        return read(document)

    monkeypatch.setattr(key_source, "key_set", noting)
    assert await accepts(authenticator, by("ed"))
    assert [thread is threading.main_thread() for thread in threads] == [False]


async def test_closing_ends_a_fetch_under_way(issuer: LoopbackIssuer) -> None:
    issuer.answer = hanging
    authenticator = JwtAuthenticator(both_ways(issuer.url), SystemClock())
    waiting = asyncio.create_task(is_open(authenticator, by("ed")))
    await asyncio.sleep(0.05)
    start = time.perf_counter()
    await authenticator.aclose()
    assert await waiting
    assert time.perf_counter() - start < 1
    await authenticator.aclose()
