"""Reads the public keys of a JSON Web Key Set (RFC 7517) that may verify tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from todo_adapters.jwt_identity.compact import JsonObject, base64url, json_object

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

RSA_BITS: Final = range(2048, 8192 + 1)
"""Accepted RSA key sizes: from RFC 7518 §3.3's minimum to the largest that verifies within a millisecond."""

EXPLAINED: Final = 100
"""For how many unusable keys of an issuer the reason is kept at most."""

_INVALID: Final = "not a valid key of a supported type"
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# By curve: ES256 with a P-384 key, or EdDSA with an Ed448 key, is another algorithm.
_ALGORITHMS: Final = {
    ("RSA", None): frozenset({"RS256", "PS256"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
_READERS: Final = {
    "RSA": (RSAAlgorithm.from_jwk, ("n", "e")),
    "EC": (ECAlgorithm.from_jwk, ("x", "y")),
    "OKP": (OKPAlgorithm.from_jwk, ("x",)),
}


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and the algorithms that it may verify: those of its type, or the one in its `alg`."""

    kid: str | None
    algorithms: frozenset[str]
    public: PublicKey


class _Unusable(Exception):
    """The key cannot verify tokens. The message says why, with nothing of the key but its size."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one issuer at one moment. Equal sets have equal keys in the same order."""

    keys: tuple[Key, ...] = field(default=())
    unusable: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Why the other keys cannot be used, by `kid`: of the first `EXPLAINED` that have one."""

    def find(self, alg: str, kid: str | None) -> Key | None:
        """The key that matches a token's `alg` and `kid`; None if there is none, or more than one."""
        fitting = self.fitting(alg, kid)
        return fitting[0] if len(fitting) == 1 else None

    def fitting(self, alg: str, kid: str | None) -> list[Key]:
        """All keys that match a token's `alg` and `kid`."""
        return [key for key in self.keys if alg in key.algorithms and kid in (None, key.kid)]


def key_set(document: bytes) -> KeySet:
    """The keys of a JWK Set that may verify tokens; of others only the reason is kept.

    Raises `ValueError` if `document` is not a JWK Set.
    """
    members = json_object(document).get("keys")
    if not isinstance(members, list):
        raise ValueError("not a JWK Set")
    keys: list[Key] = []
    unusable: dict[str, str] = {}
    for jwk in members:
        if not isinstance(jwk, dict):
            continue
        try:
            keys.append(_key(jwk))
        except _Unusable as why:
            if isinstance(kid := jwk.get("kid"), str) and len(unusable) < EXPLAINED:
                unusable.setdefault(kid, str(why))
    return KeySet(tuple(keys), unusable)


def _key(jwk: JsonObject) -> Key:
    _check_is_for_verifying(jwk)
    kid, kind = jwk.get("kid"), jwk.get("kty")
    curve = None if kind == "RSA" else jwk.get("crv")
    algorithms = _ALGORITHMS.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str | None) else None
    if algorithms is None or not isinstance(kid, str | None):
        raise _Unusable(_INVALID)
    if "alg" in jwk:
        algorithms = algorithms & {alg} if isinstance(alg := jwk["alg"], str) else frozenset()
    if not algorithms:
        raise _Unusable("its alg is none that is accepted for its type")
    return Key(kid, algorithms, _public_key(jwk))


def _check_is_for_verifying(jwk: JsonObject) -> None:
    """Refuse a key that may not verify signatures (RFC 7517 §4.2, §4.3). A key with private members is compromised."""
    if _PRIVATE & jwk.keys():
        raise _Unusable("it has private members")
    if jwk.get("use", "sig") != "sig":
        raise _Unusable("it is not for signatures (use)")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _Unusable("it is not for verifying signatures (key_ops)")


def _public_key(jwk: JsonObject) -> PublicKey:
    kind = str(jwk["kty"])
    read, names = _READERS[kind]
    try:
        for name in names:
            base64url(str(jwk.get(name)))
        public = read({name: jwk[name] for name in ("kty", "crv", *names) if name in jwk})
    except (InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        raise _Unusable(_INVALID) from None
    if isinstance(public, RSAPublicKey) and public.key_size not in RSA_BITS:
        accepted = f"{RSA_BITS.start} to {RSA_BITS.stop - 1} are accepted"
        raise _Unusable(f"RSA of {public.key_size} bits; {accepted}")
    if not isinstance(public, PublicKey):
        raise _Unusable(_INVALID)
    return public
