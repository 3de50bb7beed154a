"""Functions that each make one kind of forged token, when it is used."""

import json
import time
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives import serialization
from signing import SECRET, Signer, claims, compact, header, hs, private_key, token

Cases = Iterator[tuple[str, Callable[[], str]]]
"""A group of attacks: what each is, and how its token is made."""

FIXED = hs(SECRET)
"""How the shared secret signs: rightly."""


def public(name: str, encoding: str = "PEM", form: str = "SubjectPublicKeyInfo") -> bytes:
    key = private_key(name).public_key()
    return bytes(key.public_bytes(getattr(serialization.Encoding, encoding), getattr(serialization.PublicFormat, form)))


def with_signer(sign: Callable[[], Signer], alg: str, **changes: object) -> Callable[[], str]:
    return lambda: compact({"alg": alg, **changes}, claims(), sign())


def keyed_with(key: Callable[[], bytes], kid: str) -> Callable[[], str]:
    return lambda: compact({"alg": "HS256", "kid": kid}, claims(), hs(key()))


def with_claims(payload: bytes | Callable[[], bytes]) -> Callable[[], str]:
    return lambda: compact(header("HS256"), payload if isinstance(payload, bytes) else payload(), FIXED)


def with_header(text: bytes) -> Callable[[], str]:
    return lambda: compact(text, claims(), FIXED)


def claiming(alg: str = "HS256", /, **changes: object) -> Callable[[], str]:
    return lambda: token(alg, **changes)


def claiming_text(name: str, text: str) -> Callable[[], str]:
    """A token with a claim written as this text, which Python's own JSON would not write."""
    marked = lambda: json.dumps(claims(**{name: "\0"})).replace('"\\u0000"', text)  # noqa: E731
    return with_claims(lambda: marked().encode("utf-8", "surrogatepass"))


def later(seconds: float) -> float:
    return int(time.time()) + seconds
