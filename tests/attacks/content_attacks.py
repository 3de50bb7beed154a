"""Correctly signed tokens whose claims are wrong, and tokens made for another purpose."""

import json
import time

from attacks.forging import FIXED, Cases, claiming, claiming_text, keyed_with, later
from signing import AUDIENCE, ISSUER, OWNER, b64, claims, compact, eddsa, hs, jwk, signed, token

SESSION_CACHE = "better-auth:session-cache"


def times() -> Cases:
    for name in ("exp", "nbf", "iat"):
        for text in (
            "null", "true", "false", '""', '"1"', "[]", "{}", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "-1",
            "-0.5", "253402300800", "1e12", "9" * 400, "9" * 4000, "[9999999999]", '{"$gt":0}',
        ):  # fmt: skip
            yield f"{name} is {text if len(text) < 20 else f'of {len(text)} digits'}", claiming_text(name, text)
        yield f"{name} in milliseconds", lambda n=name: token(**{n: int(time.time() * 1000) + 600_000})
        yield f"{name} as a string", lambda n=name: token(**{n: str(int(later(600 if n == "exp" else -1)))})
        yield f"{name} as a date", lambda n=name: token(**{n: "2099-01-01T00:00:00Z"})
    yield "exp missing", claiming(exp=...)
    yield "exp 0", claiming(exp=0)
    yield "exp -0.0", claiming_text("exp", "-0.0")
    yield "exp this very second", lambda: token(exp=later(0))
    yield "exp a second ago", lambda: token(exp=later(-1))
    yield "exp half a second ago", lambda: token(exp=time.time() - 0.5)
    yield "exp a second ago, issuer's key", lambda: token("EdDSA", exp=later(-1))
    yield "exp a year ago", lambda: token(exp=later(-365 * 86400))
    yield "exp in another case", lambda: token(exp=..., EXP=later(600))
    yield "nbf in 20 seconds", lambda: token(nbf=later(20))
    yield "nbf in 20 seconds, issuer's key", lambda: token("ES256", nbf=later(20))
    yield "nbf after exp", lambda: token(nbf=later(700))
    yield "iat in 50 seconds", lambda: token(iat=later(50))
    yield "iat in 50 seconds, issuer's key", lambda: token("EdDSA", iat=later(50))


def header_parameters() -> Cases:
    forged = lambda **more: compact({"alg": "EdDSA", **more}, claims(), eddsa("mallory"))  # noqa: E731
    yield "jwk brings the key", lambda: forged(jwk=jwk("mallory"))
    yield "jwk brings the key, kid of the issuer", lambda: forged(kid="ed", jwk=jwk("mallory", kid="ed"))
    yield "jku points to the key", lambda: forged(kid="mallory", jku="http://127.0.0.1:1/jwks")
    yield "jku points to the key, kid of the issuer", lambda: forged(kid="ed", jku="https://mallory.example/jwks")
    yield "jku starts like the issuer", lambda: forged(kid="ed", jku=f"{ISSUER}@mallory.example/jwks")
    yield "jku is a file", lambda: forged(kid="ed", jku="file:///etc/passwd")
    yield "x5u points to the key", lambda: forged(kid="ed", x5u="http://169.254.169.254/latest/meta-data")
    yield "x5c brings a certificate", lambda: forged(kid="ed", x5c=["MIIB"], x5t="AAAA")
    yield "iss in the header", lambda: token("EdDSA", header_={"iss": ISSUER}, iss=...)
    yield (
        "jwk brings a symmetric key",
        lambda: compact({"alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"m" * 32)}}, claims(), hs(b"m" * 32)),
    )
    for crit in (["exp"], ["b64"], ["alg"], [], [1], "exp", None, {}, 0, False, ["http://example/ext"]):
        yield f"crit is {crit!r}", lambda crit=crit: token(header_={"crit": crit})
    for b64_value in (True, False, None, "false", 0):
        yield f"b64 is {b64_value!r}", lambda v=b64_value: token(header_={"b64": v})
        yield f"b64 is {b64_value!r}, critical", lambda v=b64_value: token(header_={"b64": v, "crit": ["b64"]})
    yield "b64 false, payload as itself", _unencoded
    for typ in (
        "JWE", "jose", "JOSE+JSON", "", None, 0, True, [], ["JWT"], {"typ": "JWT"}, "JWT ", "JWT\0", "at+jwt;v=1",
        "dpop+jwt", "logout+jwt", "secevent+jwt", "application/json", "id_token",
        "better-auth.session-cache+jwt", "ＪＷＴ", "application/",
        "application/application/jwt", "text/jwt", " jwt",
    ):  # fmt: skip
        yield f"typ is {typ!r}", lambda typ=typ: token(header_={"typ": typ})


def _unencoded() -> str:
    text = json.dumps({k: v for k, v in claims().items() if k in ("sub", "exp")}, separators=(",", ":"))
    protected = b64(b'{"alg":"HS256","b64":false,"crit":["b64"]}')
    return signed(f"{protected}.{text}", FIXED)


def kids() -> Cases:
    for kid in (
        "unknown", "", "ED", "ed ", "ed\0", "ed\n", "../../../../dev/null", "/dev/null", "file:///dev/null",
        "..\\..\\nul",
        "' OR '1'='1", "x' UNION SELECT 'k';--", "$(touch /tmp/pwned)", "`id`", "|id", "http://127.0.0.1:1/",
        "${jndi:ldap://x}",
        "{{7*7}}", "*", "%00", "\ud800", "ed,ed-old", "__proto__", "k" * 4000,
    ):  # fmt: skip
        yield f"{kid[:24]!r} on the issuer's signature", lambda kid=kid: token("EdDSA", header_={"kid": kid})
    for kid in (None, 0, 1, True, [], ["ed"], {}, {"kid": "ed"}):
        yield f"{kid!r} on the issuer's signature", lambda kid=kid: token("EdDSA", header_={"kid": kid})
        yield f"{kid!r} on HS256", lambda kid=kid: token(header_={"kid": kid})
    yield "of another good key of the kind", lambda: token("EdDSA", header_={"kid": "ed-old"})
    yield "of a key of another kind", lambda: token("EdDSA", header_={"kid": "rs"})
    yield "absent, though two keys would do", lambda: token("EdDSA", header_={"kid": ...})
    for kid, key in (
        ("/dev/null", b""),
        ("../../etc/hostname", b"localhost\n"),
        ("x' UNION SELECT 'k", b"k"),
        ("ed", b"ed"),
    ):
        yield f"{kid!r} on HS256 keyed with {key!r}", keyed_with(lambda key=key: key, kid)


def subjects() -> Cases:
    for text in (
        "null", "0", "1e3", "true", "false", "[]", "{}", f'["{OWNER}"]', '{"id":"x"}', '""', r'"\u0000"', r'"a\u0000b"',
        r'"a\nb"', r'"a\r\nb"', r'"\ud800"', r'"\udc00\ud800"', r'"a\u007f"', r'"a\u0085"', r'"a\u009f"',
        f'"{"a" * 256}"', r'"\u001b[31m"', f'"{"a" * 5000}"',
    ):  # fmt: skip
        yield f"sub is {text[:20]}, {len(text)} long", claiming_text("sub", text)
    yield "sub missing", claiming(sub=...)
    yield "sub missing, issuer's key", claiming("EdDSA", sub=...)
    for name in ("id", "userId", "user_id", "email", "SUB", "Sub", "sub ", "uid", "username"):
        yield f"{name} for sub", lambda name=name: token(**{"sub": ..., name: OWNER})
    yield "sub within user", claiming(sub=..., user={"sub": OWNER, "id": OWNER})


def issuer_and_audience() -> Cases:
    other_issuers = (
        ..., None, "", 0, True, [], [ISSUER], {}, f"{ISSUER}/", ISSUER.upper(), f"{ISSUER}.mallory.example",
        ISSUER.replace("https", "http"), f"{ISSUER}:443", f" {ISSUER}", f"{ISSUER}\0", "https://mallory.example",
    )  # fmt: skip
    for issuer in other_issuers:
        yield f"EdDSA with iss {issuer!r}", claiming("EdDSA", iss=issuer)
    other_audiences = (
        ..., None, "", 0, True, [], {}, [[AUDIENCE]], [AUDIENCE, 0], [AUDIENCE, None], {AUDIENCE: True}, f"{AUDIENCE}/",
        AUDIENCE.upper(), f"{AUDIENCE} x", f"x,{AUDIENCE}", "https://mallory.example", ["a", "b"], SESSION_CACHE,
        [SESSION_CACHE], [AUDIENCE, SESSION_CACHE], [SESSION_CACHE, AUDIENCE],
    )  # fmt: skip
    for audience in other_audiences:
        yield f"EdDSA with aud {audience!r}", claiming("EdDSA", aud=audience)
    for issuer in (None, 0, True, [], [ISSUER], {}):
        yield f"HS256 with iss {issuer!r}", claiming(iss=issuer)
    for audience in (
        None, 0, True, {}, [], [[AUDIENCE]], [AUDIENCE, 0], SESSION_CACHE, [SESSION_CACHE], [AUDIENCE, SESSION_CACHE]
    ):  # fmt: skip
        yield f"HS256 with aud {audience!r}", claiming(aud=audience)
    yield "RS256 of another issuer, right key", claiming("RS256", iss="https://mallory.example")


def better_auth() -> Cases:
    email = {"email": "ann@example.com"}
    for name, payload in (
        ("e-mail verification", email),
        ("e-mail verification with its user", {**email, "userId": OWNER}),
        ("e-mail change", {**email, "updateTo": "mallory@example.com", "requestType": "change-email-confirmation"}),
        ("account deletion", {"id": OWNER, "userId": OWNER}),
        ("cached session", {"session": {"userId": OWNER}, "user": {"id": OWNER}, "updatedAt": 1, "version": "1"}),
    ):
        yield name, lambda p=payload: compact({"alg": "HS256"}, {**p, "iat": later(0), "exp": later(3600)}, FIXED)
    session = {"session": {"userId": OWNER}, "user": {"id": OWNER}, "sub": OWNER}
    kind = {"typ": "better-auth.session-cache+jwt"}
    yield "cached session, issuer's key", lambda: token("EdDSA", header_=kind, aud=SESSION_CACHE, iss=SESSION_CACHE)
    yield "cached session, issuer's key, no typ", lambda: token("EdDSA", aud=SESSION_CACHE, **session)
    yield "cached session, secret, no typ", lambda: token(aud=SESSION_CACHE, **session)
    yield "cached session, right audience", lambda: token("EdDSA", header_=kind, **session)
    yield "session token", lambda: "dTn6Yq3LwPzX8vBk1RsJ4mHcGf7eUaQ2"
    yield "signed session cookie", lambda: f"dTn6Yq3LwPzX8vBk1RsJ4mHcGf7eUaQ2.{b64(FIXED(b'x'))}"
    yield "user id", lambda: OWNER
