"""Which keys of a published set are used, and for which tokens."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing import b64, jwk, private_key, published_keys

from todo_adapters.jwt_identity.jwks import EXPLAINED, KeySet, key_set


def document(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize(
    ("name", "algorithms"),
    [("ed", {"EdDSA"}), ("es256", {"ES256"}), ("es512", {"ES512"}), ("rs", {"RS256", "PS256"})],
)
def test_a_key_serves_the_algorithms_of_its_kind(name: str, algorithms: set[str]) -> None:
    (key,) = key_set(document(jwk(name))).keys
    assert (key.kid, key.algorithms) == (name, algorithms)
    assert key.public == private_key(name).public_key()


def test_a_key_that_names_its_algorithm_serves_no_other() -> None:
    keys = key_set(document(jwk("rs", alg="PS256")))
    assert keys.find("PS256", "rs")
    assert not keys.find("RS256", "rs")


UNFIT = {
    "too short": jwk("rs1024"),
    "another curve": jwk("p384"),
    "a blockchain's curve": jwk("p256k"),
    "Ed448": jwk("ed448"),
    "symmetric": {"kty": "oct", "k": b64(b"k" * 32), "kid": "a"},
    "symmetric, called EdDSA": {"kty": "oct", "k": b64(b"k" * 32), "alg": "EdDSA"},
    "an algorithm of another kind": jwk("ed", alg="ES256"),
    "an algorithm of another curve": jwk("es256", alg="ES512"),
    "an algorithm that is not accepted": jwk("rs", alg="RS512"),
    "alg none": jwk("ed", alg="none"),
    "alg null": jwk("ed", alg=None),
    "alg a list": jwk("ed", alg=["EdDSA"]),
    "for encryption": jwk("rs", use="enc"),
    "use null": jwk("ed", use=None),
    "for signing": jwk("ed", key_ops=["sign"]),
    "for nothing": jwk("ed", key_ops=[]),
    "key_ops a string": jwk("ed", key_ops="verify"),
    "private": jwk("ed", d=b64(bytes(32))),
    "private, RSA": jwk("rs", p="AQAB"),
    "private, null": jwk("ed", d=None),
    "another curve's name": jwk("es256", crv="P-521"),
    "a curve of another kind": jwk("ed", crv="P-256"),
    "no curve": {name: value for name, value in jwk("ed").items() if name != "crv"},
    "curve a list": jwk("ed", crv=["Ed25519"]),
    "no kind": {name: value for name, value in jwk("ed").items() if name != "kty"},
    "an unknown kind": jwk("ed", kty="AKP"),
    "kind a list": jwk("ed", kty=["OKP"]),
    "no value": {name: value for name, value in jwk("ed").items() if name != "x"},
    "value null": jwk("ed", x=None),
    "value a number": jwk("ed", x=7),
    "value short": jwk("ed", x="AAAA"),
    "value padded": jwk("ed", x=f"{jwk('ed')['x']}="),
    "value not canonical": jwk("ed", x=f"{str(jwk('ed')['x'])[:-1]}_"),
    "value in standard base64": jwk("rs", n="+/" * 171),
    "a point off the curve": jwk("es256", x=b64(bytes(32))),
    "modulus even": jwk("rs", n=b64(b"\xff" * 255 + b"\xfe"), e="AA"),
    "exponent 1": jwk("rs", e="AQ"),
    "exponent even": jwk("rs", e="AAAC"),
    "modulus enormous": jwk("rs", n=b64(b"\xff" * 1500)),
    "kid a number": jwk("ed", kid=7),
    "kid a list": jwk("ed", kid=["ed"]),
    "null": None,
    "a string": "key",
    "a list": [],
    "empty": {},
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_key_is_left_out_and_the_others_stay(name: str) -> None:
    fit = key_set(document(jwk("es256")))
    assert key_set(document(UNFIT[name], jwk("es256"), UNFIT[name])) == fit


def test_kid_decides_between_keys_of_one_kind() -> None:
    keys = key_set(document(jwk("ed"), jwk("ed-old")))
    for name in ("ed", "ed-old"):
        found = keys.find("EdDSA", name)
        assert found is not None
        assert found.public == private_key(name).public_key()
    assert keys.find("EdDSA", "other") is None
    assert keys.find("EdDSA", None) is None
    assert keys.find("ES256", "ed") is None


def test_without_kid_the_only_fitting_key_serves() -> None:
    keys = key_set(document(jwk("ed"), jwk("es256")))
    assert keys.find("EdDSA", None) == keys.keys[0]
    assert keys.find("ES256", None) == keys.keys[1]


def test_a_key_without_kid_serves_tokens_without_kid_alone() -> None:
    nameless = {name: value for name, value in jwk("ed").items() if name != "kid"}
    keys = key_set(document(nameless))
    assert keys.find("EdDSA", None)
    assert keys.find("EdDSA", "ed") is None


def test_two_keys_with_the_same_kid_and_kind_are_not_used() -> None:
    keys = key_set(document(jwk("ed"), jwk("ed-old", kid="ed")))
    assert keys.find("EdDSA", "ed") is None


def test_sets_are_equal_when_their_keys_are() -> None:
    assert key_set(published_keys()) == key_set(published_keys())
    assert key_set(document(jwk("ed"))) != key_set(document(jwk("ed-old", kid="ed")))
    assert key_set(document(jwk("ed"))) != key_set(document(jwk("ed", kid="other")))
    assert key_set(document(jwk("rs"))) != key_set(document(jwk("rs", alg="RS256")))


def test_unusable_keys_do_not_make_sets_differ() -> None:
    unusable = jwk("ed-old", use="enc")
    assert key_set(document(jwk("ed"), unusable)) == key_set(document(jwk("ed")))
    assert key_set(document(jwk("ed"), unusable)).unusable.keys() == {"ed-old"}


def test_the_reasons_of_many_unusable_keys_are_bounded() -> None:
    keys = key_set(document(*({"kid": str(number)} for number in range(500)), jwk("ed")))
    assert len(keys.unusable) == EXPLAINED
    assert keys.find("EdDSA", "ed")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":null}',
        b'{"keys":[],"keys":[]}',
        b"\xff",
        b"<html>",
        b"[" * 60000,
    ],
)
def test_an_invalid_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        key_set(text)


def test_an_empty_key_set_is_valid() -> None:
    assert key_set(document()) == KeySet()


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(["RSA", "EC", "OKP", "Ed25519", "P-256", "AQAB"])
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops"]), VALUES)
    )
)
def test_any_keys_are_usable_or_left_out(keys: list[dict[str, object]]) -> None:
    for key in key_set(document(*keys)).keys:
        assert key.algorithms
