"""Finds out who asks, and keeps those who try one bad token after another from costing us a verification each."""

import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import Final, Protocol, TypeAlias

from todo_adapters.jwt_identity import bearer_token
from todo_adapters.rate_limit import MemoryRateLimiter, RateLimiter, Verdict
from todo_app.http.errors import TooManyRequests
from todo_app.http.exchange import Exchange, Header, Scope
from todo_app.settings import Network
from todo_core import Authenticator, Identity, IdentityUnavailable, NotAuthenticated

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
# What the log says where the answer's words are for the caller. A 401 has a reason of its own.
_REASONS: Final[Mapping[type[Exception], str]] = {
    TooManyRequests: "too many bad tokens from this address: tokens that are not known to be good are not looked at",
    IdentityUnavailable: "the issuer's keys cannot be fetched",
}
_SITE: Final = 64  # bits: whoever has one IPv6 address has all that share its first 64 bits
_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^]]*)\](:\d+)?|(?P<v4>[\d.]+):\d+")  # as some proxies forward addresses


class TokenVerifier(Authenticator, Protocol):
    """An authenticator that remembers the tokens that it has verified."""

    def cached(self, token: str) -> Identity | None:
        """Whom a token proves that is known to be good at this moment."""
        ...

    async def aclose(self) -> None:
        """End what is under way."""
        ...


class Identification:
    """Who sent a request. Raises `NotAuthenticated`, or `TooManyRequests` once an address has sent too many bad tokens.

    Raises `IdentityUnavailable` where the token needs a key that the issuer does not give; that is nobody's bad token.

    A token that has been verified before passes whatever its address has done, so that a flood from behind a shared
    address does not shut out those who are in.
    """

    def __init__(
        self, verifier: TokenVerifier, bad_tokens: MemoryRateLimiter, trusted_proxies: Collection[Network]
    ) -> None:
        self._verifier = verifier
        self._bad_tokens = bad_tokens
        self._policy = policy_header("bad-tokens", bad_tokens)
        self._trusted_proxies = tuple(trusted_proxies)

    async def __call__(self, exchange: Exchange, scope: Scope) -> Identity:
        """Whom the request's token proves, and what it allows."""
        header = exchange.header(b"authorization")
        try:
            token = bearer_token([] if header is None else [header])
            return self._verifier.cached(token) or await self._verify(token, self._address(exchange, scope))
        except (NotAuthenticated, TooManyRequests, IdentityUnavailable) as refused:
            exchange.reason = _REASONS.get(type(refused)) or str(refused)
            verdict = self._bad_tokens.peek(self._address(exchange, scope))
            exchange.answer_headers += [self._policy, limit_header("bad-tokens", verdict)]
            raise

    async def _verify(self, token: str, address: str) -> Identity:
        _check(self._bad_tokens.peek(address))
        try:
            return await self._verifier.authenticate(token)
        except NotAuthenticated:
            # Many may have passed the first check, and waited together for the issuer's keys.
            _check(await self._bad_tokens.hit(address))
            raise

    def _address(self, exchange: Exchange, scope: Scope) -> str:
        """Whose address counts: the peer's, or what the nearest proxy that is not ours says (`X-Forwarded-For`)."""
        address = scope["client"][0] if scope["client"] else ""
        if self._trusts(address):
            forwarded = (exchange.header(b"x-forwarded-for") or b"").decode("latin-1")
            for hop in reversed(forwarded.split(",")):
                if not (hop := hop.strip()):
                    continue
                address = hop
                if not self._trusts(address):
                    break
        return _site(address)

    def _trusts(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._trusted_proxies)


def _check(verdict: Verdict) -> None:
    if not verdict.allowed:
        raise TooManyRequests(verdict.reset_after)


def _parsed(address: str) -> Address | None:
    if found := _WITH_PORT.fullmatch(address):
        address = found["v6"] or found["v4"] or ""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _site(address: str) -> str:
    """What a limit is counted for; text that is no address, which a proxy may send, is one bucket."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _SITE), strict=False))
    return str(parsed)


def policy_header(name: str, limiter: RateLimiter) -> Header:
    """What the limit is (draft-ietf-httpapi-ratelimit-headers-11 §3)."""
    return b"ratelimit-policy", f'"{name}";q={limiter.amount};w={limiter.window}'.encode()


def limit_header(name: str, verdict: Verdict) -> Header:
    """What is left of the limit (the same draft, §4)."""
    return b"ratelimit", b'"%b";r=%d;t=%d' % (name.encode(), verdict.remaining, verdict.reset_after)
