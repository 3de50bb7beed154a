"""Keys and signatures for tests, made without the library that the service verifies them with."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from todo_adapters.jwt_identity import JwtPolicy

SECRET = b"a secret that only the tests know, of no use elsewhere"
ISSUER = "https://auth.example"
AUDIENCE = "https://tasks.example"
OWNER = "XQhN7wA2kdRr0vVuYJ5pZc1sT9mLbGfE"

Signer = Callable[[bytes], bytes]
Json = Mapping[str, Any]

_MAKERS: dict[str, Callable[[], Any]] = {
    "ed": ed25519.Ed25519PrivateKey.generate,
    "ed-old": ed25519.Ed25519PrivateKey.generate,
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rs": lambda: rsa.generate_private_key(65537, 2048),
    "ps": lambda: rsa.generate_private_key(65537, 2048),
    # Keys that no token may be verified with, whoever publishes them.
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p256k": lambda: ec.generate_private_key(ec.SECP256K1()),
    "ed448": ed448.Ed448PrivateKey.generate,
    "rs1024": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505
    "mallory": ed25519.Ed25519PrivateKey.generate,
}


@cache
def private_key(name: str) -> Any:
    """The private key of that name, the same one all through the process."""
    return _MAKERS[name]()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def jwk(name: str, /, **more: object) -> dict[str, object]:
    """The public key of that name as RFC 7517 writes it, with its name as `kid`."""
    public = private_key(name).public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        members = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    elif isinstance(public, ec.EllipticCurvePublicKey):
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "secp256k1": "secp256k1"}
        point, size = public.public_numbers(), (public.curve.key_size + 7) // 8
        members = {"kty": "EC", "crv": curve[public.curve.name]}
        members |= {"x": _number(point.x, size), "y": _number(point.y, size)}
    else:
        curve_name = "Ed25519" if isinstance(public, ed25519.Ed25519PublicKey) else "Ed448"
        members = {"kty": "OKP", "crv": curve_name, "x": b64(public.public_bytes_raw())}
    return {**members, "kid": name, **more}


def hs(key: bytes, hash_name: str = "sha256") -> Signer:
    return lambda message: hmac.new(key, message, hash_name).digest()


def eddsa(name: str) -> Signer:
    return lambda message: bytes(private_key(name).sign(message))


def ecdsa(name: str, algorithm: hashes.HashAlgorithm) -> Signer:
    def sign(message: bytes) -> bytes:
        key = private_key(name)
        size = (key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(algorithm)))
        return bytes(r.to_bytes(size, "big") + s.to_bytes(size, "big"))

    return sign


def pkcs1(name: str, algorithm: hashes.HashAlgorithm | None = None) -> Signer:
    return lambda message: bytes(private_key(name).sign(message, padding.PKCS1v15(), algorithm or hashes.SHA256()))


def pss(name: str, algorithm: hashes.HashAlgorithm | None = None, salt: int = 32) -> Signer:
    hashed = algorithm or hashes.SHA256()
    scheme = padding.PSS(padding.MGF1(hashed), salt)
    return lambda message: bytes(private_key(name).sign(message, scheme, hashed))


GOOD: dict[str, tuple[str | None, Signer]] = {
    "HS256": (None, hs(SECRET)),
    "EdDSA": ("ed", eddsa("ed")),
    "ES256": ("es256", ecdsa("es256", hashes.SHA256())),
    "ES512": ("es512", ecdsa("es512", hashes.SHA512())),
    "RS256": ("rs", pkcs1("rs")),
    "PS256": ("ps", pss("ps")),
}
"""What is accepted: the algorithm, the `kid` of its key, and how that key signs."""


def published_keys() -> bytes:
    """The JWK Set of an issuer that has a good key of every kind, and many that must not be used."""
    d = b64(private_key("mallory").private_bytes_raw())
    keys = [
        jwk("ed", alg="EdDSA"),
        jwk("ed-old"),
        jwk("es256", alg="ES256", use="sig"),
        jwk("es512", key_ops=["verify"]),
        jwk("rs", alg="RS256"),
        jwk("ps", alg="PS256"),
        jwk("p384", alg="ES384"),
        jwk("p384", kid="p384-as-es256", alg="ES256"),
        jwk("p384", kid="p384-as-p256", alg="ES256", crv="P-256"),
        jwk("p256k", alg="ES256K"),
        jwk("ed448", alg="EdDSA"),
        jwk("rs1024", alg="RS256"),
        jwk("mallory", kid="with-private", d=d),
        jwk("mallory", kid="for-encryption", use="enc"),
        jwk("mallory", kid="for-signing", key_ops=["sign"]),
        {"kty": "oct", "kid": "symmetric", "k": b64(b"k" * 32), "alg": "HS256"},
    ]
    return json.dumps({"keys": keys}).encode()


def compact(header: Json | bytes, payload: Json | bytes, sign: Signer) -> str:
    """A token of these two parts, written as they are if they are bytes, and a signature over them."""
    segments = [
        b64(part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode())
        for part in (header, payload)
    ]
    return signed(".".join(segments), sign)


def signed(signing_input: str, sign: Signer) -> str:
    """Any text with two segments, and a signature over it exactly as it is."""
    return f"{signing_input}.{b64(sign(signing_input.encode('utf-8', 'surrogatepass')))}"


def claims(**changes: object) -> dict[str, object]:
    """What a good token claims now, with changes; `...` leaves a claim out."""
    now = int(time.time())
    base = {"sub": OWNER, "iat": now, "exp": now + 600, "iss": ISSUER, "aud": AUDIENCE}
    return {name: value for name, value in {**base, **changes}.items() if value is not ...}


def header(alg: str, /, **changes: object) -> dict[str, object]:
    """The header of a good token of that algorithm, with changes; `...` leaves a parameter out."""
    base = {"alg": alg, "kid": GOOD[alg][0] or ..., **changes}
    return {name: value for name, value in base.items() if value is not ...}


def token(alg: str = "HS256", /, *, header_: Json | None = None, **changes: object) -> str:
    """A good token of that algorithm, with changes to its header and its claims, rightly signed all the same."""
    return compact(header(alg, **(header_ or {})), claims(**changes), GOOD[alg][1])


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def both_ways(jwks_url: str) -> JwtPolicy:
    """HS256 and the issuer's keys, with HS256 tokens free to name any issuer and audience: all that can be let in."""
    return JwtPolicy(
        secret=SECRET,
        jwks_url=jwks_url,
        issuer=ISSUER,
        audience=AUDIENCE,
        check_hs256_issuer=False,
        check_hs256_audience=False,
    )
