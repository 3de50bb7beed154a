"""Checks a token's claims: subject, scopes, lifetime, issuer and audience."""

import re
from dataclasses import dataclass
from typing import Final

from todo_adapters.jwt_identity.bearer import CredentialsRefused
from todo_adapters.jwt_identity.compact import JsonObject
from todo_core import SCOPES, Identity, InvalidInput, OwnerId, Scope, owner_id
from todo_core.identity import is_client

IAT_LEEWAY: Final = 30
"""Seconds by which `iat` may be in the future, since clocks differ."""

LATEST: Final = 253_402_300_799
"""The last second of the year 9999; later moments are refused."""

SESSION_CACHE: Final = "better-auth:session-cache"
"""The audience of Better Auth's cached sessions, which are signed with the same keys but are not access tokens."""

_SEPARATORS: Final = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must claim; None accepts anything."""

    issuer: str | None
    audience: str | None


@dataclass(frozen=True, slots=True)
class Proof:
    """The identity that a token proves, from `not_before` until before `not_after`, in seconds of the Unix epoch."""

    identity: Identity
    not_before: float
    not_after: float

    def holds(self, now: float) -> bool:
        """Whether it is valid at that moment."""
        return self.not_before <= now < self.not_after


def proof(claims: JsonObject, expected: Expected, now: float) -> Proof:
    """What the claims of a verified token prove. Raises `CredentialsRefused` unless they are valid at `now`."""
    _check_issuer(claims, expected.issuer)
    _check_audience(claims, expected.audience)
    issued_at = _moment(claims, "iat", default=0) - IAT_LEEWAY
    not_before = max(_moment(claims, "nbf", default=0), issued_at)
    not_after = _moment(claims, "exp")
    proved = Proof(Identity(_owner(claims), _client(claims), _scopes(claims), not_after), not_before, not_after)
    if now >= proved.not_after:
        raise CredentialsRefused("expired")
    if now < issued_at:
        raise CredentialsRefused("iat is in the future: the issuer's clock and this one differ")
    if now < not_before:
        raise CredentialsRefused("not valid yet (nbf)")
    return proved


def _owner(claims: JsonObject) -> OwnerId:
    # `sub` alone: Better Auth's e-mail tokens carry `userId` and `email` under the same secret.
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise CredentialsRefused("sub is missing or not a string")
    try:
        return owner_id(subject)
    except InvalidInput:
        raise CredentialsRefused("sub cannot name an owner") from None


def _client(claims: JsonObject) -> str | None:
    """The program that the token was issued to (OpenID Connect Core §2, RFC 9068 §2.2), if it has a valid name."""
    return next((name for key in ("azp", "client_id") if is_client(name := claims.get(key))), None)


def _scopes(claims: JsonObject) -> frozenset[Scope] | None:
    """Our scopes that the token names, as text (RFC 8693 §4.2) or as a list; None if it names none of ours.

    Commas separate too: a token whose scopes were not recognised would be allowed everything.
    """
    found = (claims.get("scope"), claims.get("scp"))
    texts = [text for claim in found for text in (claim if isinstance(claim, list) else [claim])]
    named = {name for text in texts if isinstance(text, str) for name in _SEPARATORS.split(text)}
    return frozenset(scope for scope in SCOPES if scope in named) or None


def _moment(claims: JsonObject, name: str, *, default: float | None = None) -> float:
    """The NumericDate of that name (RFC 7519 §2): a JSON number."""
    value = claims.get(name, default)
    # `isinstance` would accept booleans. The comparison excludes infinity and NaN as well.
    if (type(value) is int or type(value) is float) and 0 <= value <= LATEST:
        return value
    raise CredentialsRefused(f"{name} is missing or not a point in time")


def _check_issuer(claims: JsonObject, expected: str | None) -> None:
    issuer = claims.get("iss", "")
    if not isinstance(issuer, str):
        raise CredentialsRefused("iss is not a string")
    if expected is not None and issuer != expected:
        raise CredentialsRefused(f"issuer {'differs' if 'iss' in claims else 'is missing'}: iss must be {expected}")


def _check_audience(claims: JsonObject, expected: str | None) -> None:
    audience = claims.get("aud", ())
    audiences = audience if isinstance(audience, list | tuple) else [audience]
    if not all(isinstance(one, str) for one in audiences) or audience == []:
        raise CredentialsRefused("aud is not made of strings")
    if SESSION_CACHE in audiences:
        raise CredentialsRefused("a cached session of Better Auth, which is not an access token")
    if expected is not None and expected not in audiences:
        raise CredentialsRefused(f"audience {'differs' if audiences else 'is missing'}: aud must be {expected}")
