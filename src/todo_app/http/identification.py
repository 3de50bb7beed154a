"""Identifies the caller by token, and limits the bad tokens that are verified for one address."""

import ipaddress
import re
from collections.abc import Collection, Hashable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Final, Protocol, TypeAlias

from todo_adapters.jwt_identity import bearer_token
from todo_adapters.rate_limit import MemoryRateLimiter, RateLimiter, Verdict
from todo_app.http.errors import TooManyRequests
from todo_app.http.exchange import Exchange, Header, Scope
from todo_app.settings import Network
from todo_core import Authenticator, Identity, IdentityUnavailable, NotAuthenticated

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
# Reasons for the access log. The message of `NotAuthenticated` is itself the reason.
_REASONS: Final[Mapping[type[Exception], str]] = {
    TooManyRequests: "too many bad tokens from this address: only tokens that were verified before are accepted",
    IdentityUnavailable: "the issuer's keys cannot be fetched",
}
HOPS_MAX: Final = 32
"""How many entries of `X-Forwarded-For` are read, from its end. A header has room for thousands."""
_ADDRESS_LENGTH: Final = 100  # characters, with a port and an interface
_SITE: Final = 64  # bits: a client usually has all IPv6 addresses of its /64
_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^]]*)\](:\d+)?|(?P<v4>[\d.]+):\d+")  # some proxies append the port


class TokenVerifier(Authenticator, Protocol):
    """An authenticator that caches verified tokens."""

    def cached(self, token: str) -> Identity | None:
        """The identity of a token that was verified before and is still valid; otherwise None."""
        ...

    async def aclose(self) -> None:
        """End a verification that is under way."""
        ...


class Identification:
    """Identifies the caller. Raises `NotAuthenticated`, or `TooManyRequests` after too many bad tokens of one address.

    Raises `IdentityUnavailable` if the issuer's keys cannot be fetched; that does not count as a bad token.

    A token that was verified before is accepted from any address, so that a flood from a shared address does not lock
    out its legitimate users.
    """

    def __init__(
        self, verifier: TokenVerifier, bad_tokens: MemoryRateLimiter, trusted_proxies: Collection[Network]
    ) -> None:
        self._verifier = verifier
        self._bad_tokens = bad_tokens
        self._policy = policy_header("bad-tokens", bad_tokens)
        self._trusted_proxies = tuple(trusted_proxies)

    async def __call__(self, exchange: Exchange, scope: Scope) -> Identity:
        """The identity that the request's token proves."""
        try:
            token = _token(exchange.header(b"authorization"))
            return self._verifier.cached(token) or await self._verify(token, self.address(exchange, scope))
        except (NotAuthenticated, TooManyRequests, IdentityUnavailable) as refused:
            exchange.reason = _REASONS.get(type(refused)) or _several_headers(scope) or str(refused)
            verdict = self._bad_tokens.peek(self.address(exchange, scope))
            exchange.answer_headers += [self._policy, limit_header("bad-tokens", verdict)]
            raise

    def whose(self, scope: Scope) -> Hashable:
        """Whose the request is, if nothing is verified anew: the user of a token, otherwise the client's address.

        It takes some microseconds: hundreds of requests may wait in a round of the event loop.
        """
        fields = dict(scope["headers"])
        with suppress(NotAuthenticated):
            if (known := self._verifier.cached(_token(fields.get(b"authorization")))) is not None:
                return known.owner
        return "an address", self._address(fields.get(b"x-forwarded-for"), scope)

    async def _verify(self, token: str, address: str) -> Identity:
        _check(self._bad_tokens.peek(address))
        try:
            return await self._verifier.authenticate(token)
        except NotAuthenticated:
            # Many may have passed the first check while waiting for the issuer's keys.
            _check(await self._bad_tokens.hit(address))
            raise

    def address(self, exchange: Exchange, scope: Scope) -> str:
        """The client's address: the peer's, or from trusted proxies the last untrusted one of `X-Forwarded-For`."""
        return self._address(exchange.header(b"x-forwarded-for"), scope)

    def _address(self, forwarded: bytes | None, scope: Scope) -> str:
        address = scope["client"][0] if scope["client"] else ""
        if self._trusts(address):
            for hop in reversed((forwarded or b"").decode("latin-1").rsplit(",", HOPS_MAX)[-HOPS_MAX:]):
                if not (hop := hop.strip()):
                    continue
                address = hop
                if not self._trusts(address):
                    break
        return _site(address)

    def _trusts(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._trusted_proxies)


def _token(header: bytes | None) -> str:
    """The token in the header `Authorization`. Raises `NotAuthenticated`."""
    return bearer_token([] if header is None else [header])


def _several_headers(scope: Scope) -> str | None:
    """The reason of a refusal if there are several Authorization headers, which the exchange has as one."""
    count = sum(name == b"authorization" for name, _ in scope["headers"])
    return "several Authorization headers" if count > 1 else None


def _check(verdict: Verdict) -> None:
    if not verdict.allowed:
        raise TooManyRequests(verdict.reset_after)


def _parsed(address: str) -> Address | None:
    return _parse(address) if len(address) <= _ADDRESS_LENGTH else None


@lru_cache(256)
def _parse(address: str) -> Address | None:
    if found := _WITH_PORT.fullmatch(address):
        address = found["v6"] or found["v4"] or ""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _site(address: str) -> str:
    """The key that bad tokens are counted by. All invalid addresses, which a proxy may send, share one."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _SITE), strict=False))
    return str(parsed)


def policy_header(name: str, limiter: RateLimiter) -> Header:
    """The header `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11 §3)."""
    return b"ratelimit-policy", f'"{name}";q={limiter.amount};w={limiter.window}'.encode()


def limit_header(name: str, verdict: Verdict) -> Header:
    """The header `RateLimit` (the same draft, §4)."""
    return b"ratelimit", b'"%b";r=%d;t=%d' % (name.encode(), verdict.remaining, verdict.reset_after)
