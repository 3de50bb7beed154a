"""Parses a token in JWS compact form strictly, before anything in it is trusted."""

import base64
import json
from dataclasses import dataclass
from typing import Final, TypeAlias

from todo_adapters.jwt_identity.bearer import HEADER_BYTES, CredentialsRefused

JsonObject: TypeAlias = dict[str, object]

DEPTH: Final = 32
"""How deep JSON may be nested; Python's own limit differs between versions."""

_TYPES: Final = frozenset({"jwt", "at+jwt"})
_JWS_SEGMENTS: Final = 3
_JWE_SEGMENTS: Final = 5
# Both ask for processing that is not implemented, so they must be refused (RFC 7515 §4.1.11, RFC 7797 §3).
_UNSUPPORTED: Final = frozenset({"crit", "b64"})


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """The contents of a well-formed token, not verified yet."""

    alg: str
    kid: str | None
    claims: JsonObject


def parse(token: str) -> UnverifiedToken:
    """The parts of `token`: three canonical base64url segments, two of them JSON objects. Raises `CredentialsRefused`.

    Only `alg`, `kid` and `typ` of the header are used; a key that a token carries or points to (`jwk`, `jku`, `x5c`,
    `x5u`) is ignored.
    """
    if len(token) > HEADER_BYTES:
        raise CredentialsRefused("the token is too long")
    segments = token.split(".")
    if len(segments) == _JWE_SEGMENTS:
        raise CredentialsRefused("encrypted (a JWE), where a signed JWT is expected")
    if len(segments) != _JWS_SEGMENTS:
        raise CredentialsRefused("not a JWT, which has three parts (a session token of Better Auth is not one either)")
    try:
        header, claims = (json_object(base64url(segment)) for segment in segments[:2])
        base64url(segments[2])
    except ValueError:
        raise CredentialsRefused("not a JWT: a part is not canonical base64url, or no JSON object") from None
    return UnverifiedToken(*_checked(header), claims)


def _checked(header: JsonObject) -> tuple[str, str | None]:
    alg, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(alg, str):
        raise CredentialsRefused("alg is not a string")
    if not isinstance(kid, str) and "kid" in header:
        raise CredentialsRefused("kid is not a string")
    # Media types compare without case (RFC 2045 §5.1), and `application/` may be left out (RFC 7515 §4.1.9).
    if not (isinstance(kind, str) and kind.lower().removeprefix("application/") in _TYPES):
        raise CredentialsRefused("typ is not that of an access token")
    if _UNSUPPORTED & header.keys():
        raise CredentialsRefused("the header asks for an extension")
    return alg, kid if isinstance(kid, str) else None


def base64url(text: str) -> bytes:
    """The bytes that `text` encodes. Raises `ValueError` unless it is their canonical encoding (RFC 7515 §2)."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # Encoding again detects foreign characters, padding, and bits set after the last byte.
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text.encode("ascii"):
        raise ValueError("not canonical base64url")
    return data


def json_object(data: bytes) -> JsonObject:
    """The JSON object in `data`. Raises `ValueError` for any other JSON, encoding, repeated name, NaN or depth."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_depth(value, DEPTH)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> JsonObject:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _check_depth(value: object, left: int) -> None:
    if isinstance(value, dict | list):
        if left == 0:
            raise ValueError("nested too deeply")
        for child in value.values() if isinstance(value, dict) else value:
            _check_depth(child, left - 1)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
