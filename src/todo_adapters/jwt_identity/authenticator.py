"""The core's `Authenticator`, with PyJWT."""

import hashlib
import os
import ssl
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import jwt

from todo_adapters.jwt_identity.bearer import CredentialsRefused, shown
from todo_adapters.jwt_identity.claims import Expected, Proof, proof
from todo_adapters.jwt_identity.compact import UnverifiedToken, parse
from todo_adapters.jwt_identity.policy import ASYMMETRIC, JwtPolicy
from todo_core import Clock, Identity

if TYPE_CHECKING:
    from todo_adapters.jwt_identity.jwks import KeySet, PublicKey
    from todo_adapters.jwt_identity.key_source import KeySource

FETCH_WITHIN: Final = 3.0
"""Seconds for one fetch of keys, from the DNS look-up to the last byte."""

REMEMBERED: Final = 10_000
"""How many verified tokens are cached at most."""

_HS256: Final = "HS256"
_JWS: Final = jwt.PyJWS()


class JwtAuthenticator:
    """Accepts the tokens that `policy` describes. Belongs to one event loop; call `aclose` at the end.

    A verified token is not verified again until it expires or the issuer's keys change. The cache is keyed by the
    token's SHA-256, so that a memory dump reveals no tokens.
    """

    def __init__(
        self,
        policy: JwtPolicy,
        clock: Clock,
        *,
        on_fetch_failure: Callable[[], None] = lambda: None,
        on_new_keys: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_fetch_failure` is called for each failed fetch of keys, `on_new_keys` for each that changed them.

        Raises `ValueError` if the system's certificate authorities cannot be loaded.
        """
        self._policy = policy
        self._clock = clock
        self._keys = _key_source(policy, on_fetch_failure, on_new_keys)
        self._hs256 = Expected(
            policy.issuer if policy.check_hs256_issuer else None,
            policy.audience if policy.check_hs256_audience else None,
        )
        self._asymmetric = Expected(policy.issuer, policy.audience)
        self._remembered: OrderedDict[bytes, tuple[Proof, KeySet | None]] = OrderedDict()

    async def authenticate(self, token: str) -> Identity:
        """The identity that `token` proves. Raises `CredentialsRefused` for any invalid token.

        Raises `IdentityUnavailable` if it needs an unknown key and the issuer does not answer.
        """
        if (known := self.cached(token)) is not None:
            return known
        unverified = parse(token)
        key, keys, expected = await self._key_for(unverified)
        _check_signature(token, key, unverified.alg)
        proved = proof(unverified.claims, expected, self._clock.now().timestamp())
        self._remember(token, proved, keys)
        return proved.identity

    def cached(self, token: str) -> Identity | None:
        """The identity of a token that was verified before and is still valid; otherwise None."""
        remembered = self._remembered.get(_digest(token))
        if remembered is None:
            return None
        proved, keys = remembered
        if not proved.holds(self._clock.now().timestamp()):
            return None
        # A token verified with the secret stays valid; one verified with a key, while the issuer's keys are the same.
        unchanged = keys is None or self._keys is None or keys is self._keys.current()
        return proved.identity if unchanged else None

    async def aclose(self) -> None:
        """End a fetch that is under way."""
        if self._keys is not None:
            await self._keys.aclose()

    async def _key_for(self, token: UnverifiedToken) -> "tuple[bytes | PublicKey, KeySet | None, Expected]":
        """The key for a token's `alg`: never an issuer's key for HS256, never the secret for anything else."""
        if token.alg == _HS256:
            if self._policy.secret is None:
                raise _not_accepted(token.alg, self._policy.hs256_off)
            return self._policy.secret, None, self._hs256
        if token.alg not in ASYMMETRIC:
            raise _not_accepted(shown(token.alg), f"{', '.join(sorted({_HS256, *ASYMMETRIC}))} can be")
        if self._keys is None:
            raise _not_accepted(token.alg, self._policy.keys_off)
        key, keys = await self._keys.find(token.alg, token.kid)
        if key is None:
            raise _no_key(token, keys)
        return key.public, keys, self._asymmetric

    def _remember(self, token: str, proved: Proof, keys: "KeySet | None") -> None:
        self._remembered[_digest(token)] = proved, keys
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)


def _digest(token: str) -> bytes:
    # The token has not been checked yet: it may contain lone surrogates.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _not_accepted(alg: str, why: str) -> CredentialsRefused:
    return CredentialsRefused(f"algorithm not accepted here: {alg} ({why})")


def _no_key(token: UnverifiedToken, keys: "KeySet") -> CredentialsRefused:
    if token.kid is None:
        return CredentialsRefused(f"no kid, and the issuer has none, or several keys, for {token.alg}")
    kid = shown(token.kid)
    if keys.fitting(token.alg, token.kid):
        return CredentialsRefused(f"the issuer has several keys for {token.alg} with kid {kid}")
    if (why := keys.unusable.get(token.kid)) is not None:
        return CredentialsRefused(f"the issuer's key of kid {kid} cannot be used: {why}")
    return CredentialsRefused(f"the issuer has no key for {token.alg} with kid {kid}")


def _check_signature(token: str, key: "bytes | PublicKey", alg: str) -> None:
    try:
        _JWS.decode_complete(token, key, algorithms=[alg])
    except jwt.PyJWTError:
        signer = "the secret of this service" if alg == _HS256 else "the issuer's key of that kid"
        raise CredentialsRefused(f"signature differs: not made with {signer}, or the token was changed") from None


def _authorities() -> ssl.SSLContext:
    """The system's certificate authorities. Raises `ValueError`, with the variable's name, if it names no usable file.

    OpenSSL itself ignores such a file, and then trusts nobody.
    """
    if file := os.environ.get("SSL_CERT_FILE"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        except OSError as error:
            raise ValueError(
                f"SSL_CERT_FILE: {file} holds no certificates ({error}): name another, or unset it"
            ) from None
    try:
        return ssl.create_default_context()
    except OSError as error:
        raise ValueError(f"SSLKEYLOGFILE cannot be written ({error}): name another file, or unset it") from None


def _key_source(policy: JwtPolicy, on_failure: Callable[[], None], on_change: Callable[[], None]) -> "KeySource | None":
    if policy.jwks_url is None:
        return None
    # Only here, because they load the package `cryptography`, which the secret does not need.
    from todo_adapters.jwt_identity.fetch import Fetch
    from todo_adapters.jwt_identity.key_source import KeySource

    # Once, at the start: reading the system's authorities takes long enough to delay requests.
    tls = _authorities() if urlsplit(policy.jwks_url).scheme == "https" else None
    fetch = Fetch(policy.jwks_url, timeout=FETCH_WITHIN, tls=tls)
    return KeySource(fetch, on_failure=on_failure, on_change=on_change)
