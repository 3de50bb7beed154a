"""Which tokens are accepted: the settings of JWT authentication, checked before anything starts."""

import ipaddress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError

SECRET_BYTES: Final = 32
"""The minimum length of a secret, that of the hash (RFC 7518 §3.2)."""

ASYMMETRIC: Final = frozenset({"EdDSA", "ES256", "ES512", "RS256", "PS256"})
"""The algorithms of an issuer's keys: all that Better Auth supports."""

_PUBLIC_SECRETS: Final = frozenset({b"better-auth-secret-12345678901234567890"})
"""Secrets that are public: Better Auth's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtPolicy:
    """Which tokens are accepted. Raises `ValueError` for an insecure policy.

    `secret` enables HS256, `jwks_url` the asymmetric algorithms; with both, a key of one never verifies a token of the
    other. `issuer` and `audience` are required of every token; with `check_hs256_…=False`, not of HS256 tokens.
    """

    secret: bytes | None = field(default=None, repr=False)
    jwks_url: str | None = None
    issuer: str | None = None
    audience: str | None = None
    check_hs256_issuer: bool = True
    check_hs256_audience: bool = True
    hs256_off: str = "there is no secret"
    keys_off: str = "there are no keys of an issuer"
    """The reason in a refusal if a token needs the secret, or keys, and there are none: such as a missing setting."""

    insecure_keys: bool = False
    """Whether keys may be fetched over plain http from another machine, on a trusted network."""

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
    """Raises `ValueError`, without the secret in it, if `secret` is too short, public, or looks like a public key."""
    if len(secret) < SECRET_BYTES:
        raise ValueError(
            f"the secret must be at least {SECRET_BYTES} bytes long: `openssl rand -hex {SECRET_BYTES}` makes one"
        )
    if secret in _PUBLIC_SECRETS:
        raise ValueError("the secret is Better Auth's built-in default, which everybody knows")
    try:
        # A public key as the HS256 secret would allow algorithm confusion (RFC 8725 §2.1).
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except InvalidKeyError:
        raise ValueError("the secret looks like a key of a key pair, or a certificate") from None


class InsecureUrl(ValueError):
    """The URL is not protected: somebody on the network path could replace the keys."""


def check_url(url: str, *, insecure: bool = False) -> None:
    """Raises `ValueError` unless keys may be fetched from `url`: https anywhere, http only on this machine.

    `insecure` allows http anywhere; without it, http elsewhere raises `InsecureUrl`.
    """
    if not (url.isascii() and url.isprintable() and " " not in url):
        raise ValueError("the JWKS URL may hold printable ASCII characters only")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("the JWKS URL must start with https://")
    if not parts.hostname or not _port_is_valid(parts) or parts.netloc.endswith(":"):
        raise ValueError("the JWKS URL needs a host, and a port from 1 to 65535 if any")
    if parts.username is not None or "#" in url:  # also an empty fragment
        raise ValueError("the JWKS URL may hold neither credentials nor a fragment")
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
