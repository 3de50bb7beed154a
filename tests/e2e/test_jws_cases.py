"""The table of attacks against a running service, over a real socket: always 401 in the same words, never a 5xx."""

import http.client
import json
from collections.abc import Iterator

import pytest
from attacks.jws_cases import ATTACKS, Attack
from databases import ScratchCluster
from e2e.running import Service, serving
from issuers import LoopbackIssuer, document, issuing
from signing import AUDIENCE, GOOD, ISSUER, OWNER, SECRET, published_keys, token

TASKS = f"/api/{OWNER}/tasks"
LONG = 60 * 1024
"""Of such a header the server may say that it is too large before anybody looks for a token in it."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[LoopbackIssuer]:
    with issuing(document(published_keys())) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def service(
    issuer: LoopbackIssuer, cluster: ScratchCluster, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    url = cluster.create_database(migrated)
    environment = {
        "BETTER_AUTH_SECRET": SECRET.decode(),
        "BETTER_AUTH_URL": ISSUER,
        "TODO_JWKS_URL": issuer.url,
        "TODO_JWT_AUDIENCE": AUDIENCE,
        "TODO_BAD_TOKEN_LIMIT": "1000000/minute",
    }
    with serving(url, tmp_path_factory.mktemp("service"), **environment) as service:
        yield service
    cluster.drop(url)


def get(service: Service, *authorization: bytes) -> tuple[int, dict[str, str], bytes]:
    """The status, the headers and the body of the answer to a request with these Authorization headers."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    try:
        connection.putrequest("GET", TASKS)
        for value in authorization:
            connection.putheader("Authorization", value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def can_be_sent(attack: Attack) -> bool:
    """Whether HTTP can carry the token: spaces around a header and control characters never reach a service."""
    text = attack.forge()
    return text.strip() == text != "" and all(character == "\t" or character >= " " != "\x7f" for character in text)


SENDABLE = [attack for attack in ATTACKS if can_be_sent(attack)]


@pytest.mark.parametrize("alg", GOOD)
def test_a_good_token_gets_in(service: Service, alg: str) -> None:
    status, _, body = get(service, b"Bearer " + token(alg).encode())
    assert (status, json.loads(body)["items"]) == (200, [])


@pytest.mark.parametrize("group", sorted({attack.group for attack in SENDABLE}))
def test_no_attack_gets_in(service: Service, group: str) -> None:
    for attack in SENDABLE:
        if attack.group == group:
            _assert_refused(service, attack)


def _assert_refused(service: Service, attack: Attack) -> None:
    forged = attack.forge().encode("utf-8", "surrogatepass")
    status, headers, body = get(service, b"Bearer " + forged)
    if len(forged) > LONG and status in (400, 431):
        return
    assert status == 401, attack
    assert headers["www-authenticate"].startswith("Bearer "), attack
    assert 'error="invalid_' in headers["www-authenticate"], attack
    problem = json.loads(body)
    assert len(problem.pop("request_id")) > 8
    assert problem == {
        "type": "urn:todo:problem:not_authenticated",
        "title": "A valid bearer token is required",
        "status": 401,
        "detail": "A valid bearer token is required.",
        "code": "not_authenticated",
    }, attack


def test_most_attacks_are_sent() -> None:
    assert len(SENDABLE) > 550


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([], None),
        ([b"Basic YTpi"], None),
        ([b"Bearer"], "invalid_request"),
        ([b"Bearer a b"], "invalid_request"),
        ([b"Bearer x", b"Bearer y"], "invalid_request"),
        ([b"Bearer " + b"a" * 9000], "invalid_request"),
        ([b"Bearer a.b.c"], "invalid_token"),
    ],
)
def test_the_challenge_names_the_kind_of_error(service: Service, values: list[bytes], error: str | None) -> None:
    status, headers, _ = get(service, *values)
    assert status == 401
    assert headers["www-authenticate"].startswith("Bearer")
    assert ("error=" in headers["www-authenticate"]) == (error is not None)
    assert error is None or f'error="{error}"' in headers["www-authenticate"]


def test_two_authorization_headers_are_refused_even_if_one_is_good(service: Service) -> None:
    good = b"Bearer " + token().encode()
    for others in ([good, good], [good, b"Basic YTpi"], [b"", good]):
        assert get(service, *others)[0] == 401


def test_no_token_reaches_the_log(service: Service) -> None:
    sent = [token(alg) for alg in GOOD]
    for text in sent:
        get(service, b"Bearer " + text.encode())
        get(service, b"Bearer " + text[:-2].encode())
    log = service.log.read_text()
    assert not any(part in log for text in sent for part in text.split("."))
