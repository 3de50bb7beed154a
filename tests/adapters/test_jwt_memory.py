"""The cache of verified tokens: what it keeps, and for how long."""

from datetime import timedelta

import pytest
from clocks import FrozenClock
from signing import OWNER, SECRET, token

from todo_adapters.jwt_identity import JwtAuthenticator, JwtPolicy
from todo_adapters.system import SystemClock
from todo_core import Identity, NotAuthenticated, OwnerId


class TestMemory:
    """What is remembered of verified tokens."""

    async def test_a_verified_token_is_not_verified_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        authenticator = JwtAuthenticator(JwtPolicy(secret=SECRET), SystemClock())
        good = token()
        assert authenticator.cached(good) is None
        await authenticator.authenticate(good)
        monkeypatch.setattr("todo_adapters.jwt_identity.authenticator._check_signature", None)
        assert authenticator.cached(good) == Identity(OwnerId(OWNER))
        assert (await authenticator.authenticate(good)).owner == OWNER

    async def test_a_refused_token_is_not_remembered(self) -> None:
        authenticator = JwtAuthenticator(JwtPolicy(secret=SECRET), SystemClock())
        for forged in (token("EdDSA"), token(exp=1), token()[:-1]):
            with pytest.raises(NotAuthenticated):
                await authenticator.authenticate(forged)
            assert authenticator.cached(forged) is None

    async def test_a_token_with_one_changed_character_is_not_remembered(self) -> None:
        authenticator = JwtAuthenticator(JwtPolicy(secret=SECRET), SystemClock())
        good = token()
        await authenticator.authenticate(good)
        for index in range(len(good)):
            assert authenticator.cached(good[:index] + "*" + good[index + 1 :]) is None

    async def test_the_oldest_are_forgotten_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("todo_adapters.jwt_identity.authenticator.REMEMBERED", 3)
        authenticator = JwtAuthenticator(JwtPolicy(secret=SECRET), SystemClock())
        tokens = [token(sub=str(number)) for number in range(5)]
        for good in tokens:
            await authenticator.authenticate(good)
        assert [authenticator.cached(good) for good in tokens] == [
            None,
            None,
            *(Identity(OwnerId(name)) for name in "234"),
        ]

    async def test_no_token_text_is_kept_in_memory(self) -> None:
        authenticator = JwtAuthenticator(JwtPolicy(secret=SECRET), SystemClock())
        good = token()
        await authenticator.authenticate(good)
        state = repr(vars(authenticator))
        assert not any(part in state for part in good.split("."))

    async def test_a_remembered_token_is_valid_only_between_nbf_and_exp(self) -> None:
        clock = FrozenClock()
        start, now = clock.time, clock.now().timestamp()
        authenticator = JwtAuthenticator(JwtPolicy(secret=SECRET), clock)
        remembered = token(exp=now + 10, nbf=now, iat=now + 5)
        await authenticator.authenticate(remembered)
        for seconds, holds in ((9.999, True), (10, False), (-0.001, False), (0, True)):
            clock.time = start + timedelta(seconds=seconds)
            assert authenticator.cached(remembered) == (Identity(OwnerId(OWNER)) if holds else None)
