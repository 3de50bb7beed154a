"""Signatures that must be refused: none, another algorithm's or key's, and values that other libraries accepted."""

import base64
import json
from collections.abc import Callable

from attacks.forging import (
    FIXED,
    Cases,
    keyed_with,
    public,
    with_signer,
)
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from signing import (
    AUDIENCE,
    GOOD,
    SECRET,
    claims,
    compact,
    ecdsa,
    eddsa,
    header,
    hs,
    jwk,
    pkcs1,
    private_key,
    pss,
    published_keys,
    token,
)

DEFAULT_SECRET = b"better-auth-secret-12345678901234567890"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
PSYCHIC = {  # r and s
    "r = s = 0": (0, 0),
    "r = 0": (0, 1),
    "s = 0": (1, 0),
    "r = s = 1": (1, 1),
    "r = s = n": (P256_ORDER, P256_ORDER),
    "r = n, s = 1": (P256_ORDER, 1),
    "r = s = n - 1": (P256_ORDER - 1, P256_ORDER - 1),
    "r = s = 2^256 - 1": (2**256 - 1, 2**256 - 1),
}


def none() -> Cases:
    for name in ("none", "None", "NONE", "nOnE", " none", "none\0"):
        yield f"{name!r}, no signature", lambda name=name: compact({"alg": name}, claims(), lambda _: b"")
        yield f"{name!r}, HMAC signature", with_signer(lambda: FIXED, name)
    yield "none with a kid of the issuer", with_signer(lambda: lambda _: b"\0" * 64, "none", kid="ed")
    yield "no signature segment at all", lambda: compact({"alg": "none"}, claims(), lambda _: b"").rstrip(".")
    for value in (..., None, "", 0, 1.5, True, [], ["HS256"], ["none"], {}, {"alg": "HS256"}):
        absent = {} if value is ... else {"alg": value}
        yield f"alg is {value!r}", lambda absent=absent: compact(absent, claims(), FIXED)
    for value in ("hs256", "HS256 ", "HS256\0", "\ufeffHS256", "HS 256", "ＨＳ256", "HMAC", "HS256,none", "dir"):
        yield f"alg is {value!r}", with_signer(lambda: FIXED, value)


def confusion() -> Cases:
    for name in ("rs", "es256", "ed"):
        for encoding in ("PEM", "DER"):
            yield f"HS256 keyed with {name} as {encoding}", keyed_with(lambda n=name, e=encoding: public(n, e), name)
        yield f"HS256 keyed with {name} as JWK", keyed_with(lambda n=name: json.dumps(jwk(n)).encode(), name)
        yield f"HS256 keyed with {name} as PEM, no newline", keyed_with(lambda n=name: public(n).rstrip(), name)
    yield "HS256 keyed with rs as PKCS#1", keyed_with(lambda: public("rs", "PEM", "PKCS1"), "rs")
    yield "HS256 keyed with ed as raw bytes", keyed_with(lambda: public("ed", "Raw", "Raw"), "ed")
    yield "HS256 keyed with the x of ed", keyed_with(lambda: str(jwk("ed")["x"]).encode(), "ed")
    yield "HS256 keyed with the n of rs", keyed_with(lambda: str(jwk("rs")["n"]).encode(), "rs")
    yield "HS256 keyed with the published JWK Set", keyed_with(published_keys, "rs")
    yield "HS256 keyed with a published symmetric key", keyed_with(lambda: b"k" * 32, "symmetric")
    for alg, hash_name in (("HS384", "sha384"), ("HS512", "sha512")):
        yield f"{alg} with the secret", with_signer(lambda h=hash_name: hs(SECRET, h), alg)
    for alg, (kid, _) in list(GOOD.items())[1:]:
        yield f"{alg} signed with the secret", with_signer(lambda: FIXED, alg, kid=kid)
        yield f"HS256 in name, signed with {kid}", with_signer(lambda s=GOOD[alg][1]: s, "HS256", kid=kid)
    yield "EdDSA in name, ES256 in truth", with_signer(lambda: GOOD["ES256"][1], "EdDSA", kid="es256")
    yield "ES256 in name, EdDSA in truth", with_signer(lambda: GOOD["EdDSA"][1], "ES256", kid="ed")
    yield "ES512 in name, ES256 in truth", with_signer(lambda: GOOD["ES256"][1], "ES512", kid="es256")
    yield "ES256 in name, SHA-512 in truth", with_signer(lambda: ecdsa("es256", hashes.SHA512()), "ES256", kid="es256")
    yield "RS256 in name, PS256 in truth", with_signer(lambda: pss("rs"), "RS256", kid="rs")
    yield "PS256 in name, RS256 in truth", with_signer(lambda: pkcs1("ps"), "PS256", kid="ps")
    yield "PS256 with a key for RS256", with_signer(lambda: pss("rs"), "PS256", kid="rs")
    yield "RS256 with a key for PS256", with_signer(lambda: pkcs1("ps"), "RS256", kid="ps")
    yield "PS256 without salt", with_signer(lambda: pss("ps", salt=0), "PS256", kid="ps")
    yield "Ed25519, the newer name of EdDSA", with_signer(lambda: eddsa("ed"), "Ed25519", kid="ed")


def unfit_keys() -> Cases:
    yield "RSA with 1024 bits", with_signer(lambda: pkcs1("rs1024"), "RS256", kid="rs1024")
    yield "ES384, right key", with_signer(lambda: ecdsa("p384", hashes.SHA384()), "ES384", kid="p384")
    for kid in ("p384", "p384-as-es256", "p384-as-p256"):
        yield f"ES256 with a P-384 key ({kid})", with_signer(lambda: ecdsa("p384", hashes.SHA256()), "ES256", kid=kid)
    yield "ES256K, right key", with_signer(lambda: ecdsa("p256k", hashes.SHA256()), "ES256K", kid="p256k")
    yield "ES256 with a secp256k1 key", with_signer(lambda: ecdsa("p256k", hashes.SHA256()), "ES256", kid="p256k")
    yield "EdDSA with an Ed448 key", with_signer(lambda: eddsa("ed448"), "EdDSA", kid="ed448")
    for kid in ("with-private", "for-encryption", "for-signing"):
        yield f"EdDSA, published key {kid}", with_signer(lambda: eddsa("mallory"), "EdDSA", kid=kid)
    for alg, hashed in (("384", hashes.SHA384()), ("512", hashes.SHA512())):
        yield f"RS{alg}, right key", with_signer(lambda h=hashed: pkcs1("rs", h), f"RS{alg}", kid="rs")
        size = hashed.digest_size
        yield f"PS{alg}, right key", with_signer(lambda h=hashed, s=size: pss("ps", h, s), f"PS{alg}", kid="ps")


def psychic_signatures() -> Cases:
    for name, (r, s) in PSYCHIC.items():
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        yield f"ES256 {name}", with_signer(lambda sig=signature: lambda _: sig, "ES256", kid="es256")
    yield "ES512 r = s = 0", with_signer(lambda: lambda _: bytes(132), "ES512", kid="es512")
    yield "EdDSA all zero", with_signer(lambda: lambda _: bytes(64), "EdDSA", kid="ed")
    yield "EdDSA identity point", with_signer(lambda: lambda _: b"\1" + bytes(63), "EdDSA", kid="ed")
    yield "EdDSA with S + L", _altered("EdDSA", _plus_order)
    for value in (0, 1):
        raw = value.to_bytes(256, "big")
        for alg in ("RS256", "PS256"):
            yield f"{alg} signature {value}", with_signer(lambda raw=raw: lambda _: raw, alg, kid=GOOD[alg][0])
    yield "RS256 signature n", with_signer(lambda: lambda _: _modulus(0), "RS256", kid="rs")
    yield "RS256 signature n - 1", with_signer(lambda: lambda _: _modulus(1), "RS256", kid="rs")
    yield "ES256 as DER", _altered("ES256", _as_der)
    for alg in GOOD:
        yield f"{alg} one byte short", _altered(alg, lambda s: s[:-1])
        yield f"{alg} one byte long", _altered(alg, lambda s: s + b"\0")
        yield f"{alg} zero in front", _altered(alg, lambda s: b"\0" + s)
        yield f"{alg} one bit changed", _altered(alg, lambda s: bytes([s[0] ^ 1]) + s[1:])
        yield f"{alg} one byte only", _altered(alg, lambda s: s[:1])


def _altered(alg: str, alter: Callable[[bytes], bytes]) -> Callable[[], str]:
    sign = GOOD[alg][1]
    return lambda: compact(header(alg), claims(), lambda message: alter(sign(message)))


def _plus_order(signature: bytes) -> bytes:
    larger = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    return signature[:32] + larger.to_bytes(32, "little")


def _as_der(signature: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def _modulus(less: int) -> bytes:
    n: int = private_key("rs").public_key().public_numbers().n
    return (n - less).to_bytes(256, "big")


def secrets() -> Cases:
    for name, key in (
        ("another", b"another secret, just as long as the right one is!!"),
        ("none", b""),
        ("the known default", DEFAULT_SECRET),
        ("a usual one", b"secret"),
        ("your-256-bit-secret", b"your-256-bit-secret"),
        ("with a newline", SECRET + b"\n"),
        ("in quotes", b'"' + SECRET + b'"'),
        ("cut short", SECRET[:32]),
        ("in upper case", SECRET.upper()),
        ("in base64", base64.b64encode(SECRET)),
        ("in hexadecimal", SECRET.hex().encode()),
        ("in UTF-16", SECRET.decode().encode("utf-16-le")),
        ("the audience", AUDIENCE.encode()),
    ):
        yield f"HS256 keyed with {name}", lambda key=key: compact(header("HS256"), claims(), hs(key))
    for name in ("mallory", "ed-old"):
        yield f"EdDSA keyed with {name}", lambda n=name: compact(header("EdDSA"), claims(), eddsa(n))
    yield "RS256 keyed with another key of the issuer", lambda: compact(header("RS256"), claims(), pkcs1("ps"))
    yield "signed for other claims", lambda: f"{token(sub='mallory').rpartition('.')[0]}.{token().rpartition('.')[2]}"
