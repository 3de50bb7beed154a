"""Which tokens are believed: the settings of JWT identity, checked before anything starts."""

import ipaddress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import SplitResult, urlsplit

from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError

SECRET_BYTES: Final = 32
"""The shortest secret: as long as the hash that it keys (RFC 7518 §3.2)."""

_PUBLIC_SECRETS: Final = frozenset({b"better-auth-secret-12345678901234567890"})
"""Secrets that everybody knows: what Better Auth falls back to when it is given none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtPolicy:
    """Which tokens are believed. Raises `ValueError` rather than be a policy that lets strangers in.

    `secret` turns HS256 on, `jwks_url` the asymmetric algorithms; both may be on, and a key of one never verifies a
    token of the other. `issuer` and `audience` hold for every token; `check_hs256_…` lifts them for HS256 tokens, for
    when they describe the JWKS issuer alone.
    """

    secret: bytes | None = field(default=None, repr=False)
    jwks_url: str | None = None
    issuer: str | None = None
    audience: str | None = None
    check_hs256_issuer: bool = True
    check_hs256_audience: bool = True
    hs256_off: str = "there is no secret"
    keys_off: str = "there are no keys of an issuer"
    """What a refusal says where a token would need the secret, or keys: such as which setting is missing."""

    insecure_keys: bool = False
    """Whether keys may come over plain http from another machine, where a network that is trusted lies between."""

    iat_leeway: timedelta = timedelta(seconds=30)
    """How far in the future a token may claim to have been issued: two machines' clocks differ."""

    fresh_keys_for: timedelta = timedelta(minutes=5)
    """How long fetched keys are used before they are fetched again, in the background."""

    stale_keys_for: timedelta = timedelta(hours=1)
    """How long after their fetch keys are used at most, should the issuer be away all that time."""

    fetch_cooldown: timedelta = timedelta(seconds=10)
    """The least time between two fetches of the keys, after one that succeeded."""

    fetch_retry: timedelta = timedelta(seconds=2)
    """The least time from a failed fetch to the next one."""

    fetch_timeout: timedelta = timedelta(seconds=3)
    """The longest that one fetch of the keys may take, from the look-up of the name to the last byte."""

    remembered_tokens: int = 10_000
    """How many verified tokens are remembered at most, so as not to verify them again."""

    def __post_init__(self) -> None:
        if self.secret is None and self.jwks_url is None:
            raise ValueError("a secret or a JWKS URL is needed to verify tokens")
        if self.secret is not None:
            check_secret(self.secret)
        if self.jwks_url is not None:
            check_url(self.jwks_url, insecure=self.insecure_keys)
            if not (self.issuer and self.audience):
                raise ValueError("a JWKS URL needs an issuer and an audience to check tokens against")


def check_secret(secret: bytes) -> None:
    """Raises `ValueError`, without the secret in it, if `secret` is short, known to all, or looks like a public key."""
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"the secret must be at least {SECRET_BYTES} bytes long")
    if secret in _PUBLIC_SECRETS:
        raise ValueError("the secret is Better Auth's built-in default, which everybody knows")
    try:
        # An HS256 token keyed with a public key is the classic confusion of algorithms (RFC 8725 §2.1).
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except InvalidKeyError:
        raise ValueError("the secret looks like a key pair's key or a certificate") from None


class InsecureUrl(ValueError):
    """Whoever is on the way to that URL could replace what is served there."""


def check_url(url: str, *, insecure: bool = False) -> None:
    """Raises `ValueError` unless `url` is where keys may be fetched: https anywhere, http on this machine.

    `insecure` allows http anywhere. Without it the error for http is an `InsecureUrl`.
    """
    if not (url.isascii() and url.isprintable() and " " not in url):
        raise ValueError("the JWKS URL may hold printable ASCII characters only")
    parts = urlsplit(url)
    if not parts.hostname or not _port_is_valid(parts):
        raise ValueError("the JWKS URL needs a host, and a port from 1 to 65535 if any")
    if parts.username is not None or parts.fragment:
        raise ValueError("the JWKS URL may hold neither credentials nor a fragment")
    if parts.scheme not in ("http", "https"):
        raise ValueError("the JWKS URL must start with https://")
    if parts.scheme == "http" and not insecure and not _is_loopback(parts.hostname):
        raise InsecureUrl("the JWKS URL must start with https:// (http:// is for this machine only)")


def _port_is_valid(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
