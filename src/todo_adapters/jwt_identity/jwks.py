"""Reads the public keys of a JSON Web Key Set (RFC 7517) that may verify tokens."""

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


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one issuer at one moment. Equal sets have equal keys in the same order."""

    keys: tuple[Key, ...] = field(default=())

    def find(self, alg: str, kid: str | None) -> Key | None:
        """The key that matches a token's `alg` and `kid`; None if there is none, or more than one."""
        fitting = self.fitting(alg, kid)
        return fitting[0] if len(fitting) == 1 else None

    def fitting(self, alg: str, kid: str | None) -> list[Key]:
        """All keys that match a token's `alg` and `kid`."""
        return [key for key in self.keys if alg in key.algorithms and kid in (None, key.kid)]


def key_set(document: bytes) -> KeySet:
    """The keys of a JWK Set that may verify tokens; others are ignored.

    Raises `ValueError` if `document` is not a JWK Set.
    """
    members = json_object(document).get("keys")
    if not isinstance(members, list):
        raise ValueError("not a JWK Set")
    return KeySet(tuple(key for member in members if (key := _key(member)) is not None))


def _key(jwk: object) -> Key | None:
    if not isinstance(jwk, dict) or not _is_for_verifying(jwk):
        return None
    kid, kind = jwk.get("kid"), jwk.get("kty")
    curve = None if kind == "RSA" else jwk.get("crv")
    algorithms = _ALGORITHMS.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str | None) else None
    if algorithms is None or not isinstance(kid, str | None):
        return None
    if "alg" in jwk:
        algorithms = algorithms & {alg} if isinstance(alg := jwk["alg"], str) else frozenset()
    public = _public_key(jwk) if algorithms else None
    return Key(kid, algorithms, public) if public is not None else None


def _is_for_verifying(jwk: JsonObject) -> bool:
    """Whether the key may verify signatures (RFC 7517 §4.2, §4.3). A key with private members is compromised."""
    operations = jwk.get("key_ops", ["verify"])
    may_verify = isinstance(operations, list) and "verify" in operations
    return may_verify and jwk.get("use", "sig") == "sig" and not _PRIVATE & jwk.keys()


def _public_key(jwk: JsonObject) -> PublicKey | None:
    kind = str(jwk["kty"])
    read, names = _READERS[kind]
    try:
        for name in names:
            base64url(str(jwk.get(name)))
        public = read({name: jwk[name] for name in ("kty", "crv", *names) if name in jwk})
    except (InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        return None
    if isinstance(public, RSAPublicKey) and public.key_size not in RSA_BITS:
        return None
    return public if isinstance(public, PublicKey) else None
