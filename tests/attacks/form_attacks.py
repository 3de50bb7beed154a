"""Tokens of an invalid form, even if correctly signed: segments, encodings, JSON, sizes."""

import base64
import json
from collections.abc import Callable

from attacks.forging import (
    FIXED,
    Cases,
    claiming_text,
    with_claims,
    with_header,
    with_signer,
)
from signing import (
    GOOD,
    OWNER,
    b64,
    claims,
    compact,
    header,
    signed,
    token,
)

NO_TOKENS = (".", "..", "...", "a", "a.b", "a.b.c", "e30.e30.e30", "null.null.null", "undefined", "[object Object]")
SPACES = {"space": " ", "newline": "\n", "tab": "\t", "CRLF": "\r\n", "NUL": "\0", "VT": "\x0b"}
MARKS = ("=", "==", "%3D", " ", "\n", "\0", "\xa0", "\u200b", "*", "é", "\ud800", "\U0001f511", ",")


def segments() -> Cases:
    yield "empty", lambda: ""
    for text in NO_TOKENS:
        yield repr(text), lambda text=text: text
    for count in (1, 2):
        yield f"only {count}", lambda count=count: ".".join(token().split(".")[:count])
    yield "a fourth, empty", lambda: token() + "."
    yield "a fourth", lambda: token() + ".AAAA"
    yield "twice the same token", lambda: f"{token()}.{token()}"
    for index, name in enumerate(("header", "payload", "signature")):
        yield f"{name} empty", _segment(index, lambda _: "")
        yield f"{name} cut short", _segment(index, lambda s: s[:-1])
        yield f"{name} lengthened", _segment(index, lambda s: s + "A")
        if name != "header":
            yield f"{name} of another token", _segment(index, lambda _, i=index: token(sub="mallory").split(".")[i])


def stray_characters() -> Cases:
    for name, space in SPACES.items():
        yield f"{name} after", lambda space=space: token() + space
        yield f"{name} before", lambda space=space: space + token()
    for mark in MARKS:
        for index, name in enumerate(("header", "payload")):
            yield f"signed {name} with {mark!r}", _signed_text(index, lambda s, mark=mark: s + mark)
        yield f"signature with {mark!r}", _segment(2, lambda s, mark=mark: s + mark)
    yield "signed payload with a space within", _signed_text(1, lambda s: s[:8] + " " + s[8:])


def encodings() -> Cases:
    yield "signed payload in standard base64", lambda: _standard_alphabet()
    for index, name in enumerate(("header", "payload")):
        yield f"signed {name} with stray last bits", _signed_text(index, _stray_bits, lengthen=True)
    yield "signature with stray last bits", _segment(2, _stray_bits)
    yield "percent-encoded dots", lambda: token().replace(".", "%2E")
    yield "base64 of a token", lambda: b64(token().encode())
    yield "in quotes", lambda: f'"{token()}"'
    yield "scheme repeated", lambda: f"Bearer {token()}"
    yield "flattened JSON serialization", _flattened
    yield "fullwidth dots", lambda: token().replace(".", "．")


def _segment(index: int, change: Callable[[str], str]) -> Callable[[], str]:
    def forge() -> str:
        parts = token().split(".")
        parts[index] = change(parts[index])
        return ".".join(parts)

    return forge


def _signed_text(index: int, change: Callable[[str], str], *, lengthen: bool = False) -> Callable[[], str]:
    """A token whose segment's text is changed before it is signed, so that only its form is wrong."""

    def forge() -> str:
        parts = [json.dumps(header("HS256")), json.dumps(claims())]
        while lengthen and len(parts[index]) % 3 == 0:
            parts[index] += " "
        texts = [b64(part.encode()) for part in parts]
        texts[index] = change(texts[index])
        return signed(".".join(texts), FIXED)

    return forge


def _stray_bits(segment: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) | 1]


def _standard_alphabet() -> str:
    text = base64.b64encode(json.dumps(claims(name="???>>>")).encode()).decode().rstrip("=")
    return signed(f"{b64(json.dumps(header('HS256')).encode())}.{text}", FIXED)


def _flattened() -> str:
    protected, payload, signature = token().split(".")
    return json.dumps({"protected": protected, "payload": payload, "signature": signature})


def jwe_and_nested() -> Cases:
    outer = b64(b'{"alg":"dir","enc":"A256CBC-HS512"}')
    yield "JWE, key agreed upon directly", lambda: f"{outer}..{b64(bytes(16))}.{b64(bytes(64))}.{b64(bytes(32))}"
    yield "JWE, wrapped key", lambda: ".".join([b64(b'{"alg":"RSA-OAEP","enc":"A256GCM"}'), *["AAAA"] * 4])
    yield "JWE of empty segments", lambda: f"{outer}...."
    yield "a good JWS with two segments more", lambda: token() + ".AAAA.AAAA"
    yield "JWE algorithm in three segments", with_signer(lambda: FIXED, "dir", enc="A256GCM")
    yield (
        "PBES2 with a billion rounds",
        with_signer(lambda: FIXED, "PBES2-HS256+A128KW", enc="A256GCM", p2c=10**9, p2s="AA"),
    )
    for alg in ("HS256", "EdDSA"):
        sign = GOOD[alg][1]
        yield f"{alg} around a token", lambda a=alg, s=sign: compact(header(a, cty="JWT"), token(a).encode(), s)
        yield f"{alg} around a quoted token", lambda a=alg, s=sign: compact(header(a), json.dumps(token(a)).encode(), s)
    yield "a list of claims", lambda: compact(header("HS256"), json.dumps([claims()]).encode(), FIXED)
    yield "claims within a claim", lambda: compact(header("HS256"), {"jwt": claims()}, FIXED)
    yield "a token within a claim", lambda: compact(header("HS256"), {"jwt": token()}, FIXED)


def duplicates() -> Cases:
    yield "alg, the bad one first", with_header(b'{"alg":"none","alg":"HS256"}')
    yield "alg, the bad one last", with_header(b'{"alg":"HS256","alg":"none"}')
    yield "alg, both good", with_header(b'{"alg":"HS256","alg":"HS256"}')
    yield "alg, one escaped", with_header(b'{"alg":"HS256","\\u0061lg":"HS256"}')
    yield "kid", with_header(b'{"alg":"HS256","kid":"a","kid":"b"}')
    yield "typ", with_header(b'{"alg":"HS256","typ":"JWE","typ":"JWT"}')
    yield "in an unknown parameter", with_header(b'{"alg":"HS256","x":{"a":1,"a":2}}')
    for extra in (
        '"sub":"mallory"',
        f'"sub":"{OWNER}"',
        '"\\u0073ub":"mallory"',
        '"exp":99999999999',
        '"nbf":0,"nbf":0',
        '"aud":"x"',
        '"iss":"x"',
        '"x":{"a":1,"a":1}',
        '"x":[{"sub":1,"sub":2}]',
    ):
        yield f"claims with {extra}", with_claims(lambda e=extra: (json.dumps(claims())[:-1] + "," + e + "}").encode())


def malformed_json() -> Cases:
    for text in (b"", b"null", b"true", b"0", b'"sub"', b"[]", b"{}", b"{", b"}", b"{}{}", b"\0", b"\xff", b"[" * 3000):
        yield f"claims {text[:8]!r}…" if len(text) > 8 else f"claims {text!r}", with_claims(text)
        yield f"header {text[:8]!r}…" if len(text) > 8 else f"header {text!r}", with_header(text)
    yield "claims with a trailing comma", with_claims(lambda: json.dumps(claims()).encode()[:-1] + b",}")
    yield "claims in single quotes", with_claims(lambda: json.dumps(claims()).replace('"', "'").encode())
    yield "claims with a comment", with_claims(lambda: json.dumps(claims()).encode() + b"//")
    yield "claims twice", with_claims(lambda: json.dumps(claims()).encode() * 2)
    yield "claims after a byte order mark", with_claims(lambda: b"\xef\xbb\xbf" + json.dumps(claims()).encode())
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        yield f"claims in {encoding}", with_claims(lambda e=encoding: json.dumps(claims()).encode(e))
    yield "header in utf-16", lambda: compact(json.dumps(header("HS256")).encode("utf-16"), claims(), FIXED)
    yield "a byte that is no UTF-8", claiming_text("name", '"\udcff"')
    yield "an overlong slash", with_claims(lambda: json.dumps(claims(name="@")).encode().replace(b"@", b"\xc0\xaf"))
    yield (
        "a control character as itself",
        with_claims(lambda: json.dumps(claims(name="@")).encode().replace(b"@", b"\1")),
    )
    yield "NaN in an unknown claim", claiming_text("x", "NaN")
    yield "-Infinity in an unknown claim", claiming_text("x", "-Infinity")
    yield "a number of 5000 digits", claiming_text("x", "9" * 5000)
    yield "lists 40 deep", claiming_text("x", "[" * 40 + "]" * 40)
    yield "lists 2500 deep", claiming_text("x", "[" * 2500 + "]" * 2500)
    yield "objects 1000 deep", claiming_text("x", '{"":' * 1000 + "0" + "}" * 1000)
    yield "header 2500 deep", with_header(b'{"alg":"HS256","x":' + b"[" * 2500 + b"]" * 2500 + b"}")


def sizes() -> Cases:
    yield "a good token over 8 KiB", lambda: token(x="a" * 8192)
    yield "a good token over 8 KiB, issuer's key", lambda: token("EdDSA", x="a" * 8192)
    yield "a header over 8 KiB", lambda: token(header_={"x": "a" * 8192})
    yield "a signature over 8 KiB", lambda: token() + "A" * 8192
    yield "64 KiB of dots", lambda: "." * 65536
    yield "64 KiB of a letter", lambda: "A" * 65536
