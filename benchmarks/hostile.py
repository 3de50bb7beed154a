"""Hostile traffic: each attack on its own connection, and the statuses that may answer it."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from time import monotonic
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from benchmarks.http1 import read
from benchmarks.judging import Tally, WrongAnswer, require, require_problem
from benchmarks.modelled import ModelledUser

TIMEOUT = 60.0  # seconds for an answer: beyond it the service hangs
_BARE = {400, 414, 431}  # of the HTTP server, to what is no request at all: without a body
_GOOD = b'{"title":"Buy oat milk","description":"from the corner shop"}'
_BODIES = [
    b"", b"{", b'{"title":', b'{"title":"x"', b'{"title":"x"}}', b"[]", b"null", b"1e999", b'"title"', b"{'title':'x'}",
    b'{"title":"\xff"}', b'{"title":"\\ud800"}', b'{"title":"\\u0000"}', b'{"title":"x","owner":"ann"}', b"[" * 30_000,
    b'{"title":' + b"[" * 20_000, b'{"title":1}', b'{"title":"x","completed":"yes"}', b'{"title":""}', b"\x00" * 100,
    b'{"title":"' + b"x" * 60_000 + b'"}', b'{"title":"x","description":' + b"9" * 5_000 + b"}", b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
]  # fmt: skip
_PATHS = [
    "//", "/%00", "/%ff", "/api", "/api/", "/api//tasks", "/api/%2e%2e/metrics", "/./health/live",
    "/%61pi/x/tasks", "/api/{me}/tasks/", "/api/{me}/tasks/%00", "/api/{me}/tasks/1", "/api/{me}/tasks/%ff%fe",
    "/api/{me}/tasks/..%2f..",
    "/api/{me}/tasks/urn:uuid:018f3f6e-0000-7000-8000-000000000000", "/api/{me}/tasks/'; drop table tasks; --",
]  # fmt: skip
_QUERIES = [
    "limit=0", "limit=-1", "limit=1e3", "limit=201", "sort=owner", "sort=title;drop", "cursor=x", "cursor=%00", "q=%ff",
    "q=a%00b", "completed=1", "completed=true&completed=false", "owner=ann", "limit=" + "9" * 400, "a=1&" * 40,
    "cursor=" + "A" * 4000, "q=" + "x" * 101,
]  # fmt: skip
_NO_REQUESTS = [
    b"\x16\x03\x01\x00\xa5\x01", b"GET / HTTP/2.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00" * 1000,
    b"GET /\x00 HTTP/1.1\r\n\r\n", b"G@T / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
    b"POST /api/x/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nGET /",
    b"POST /api/x/tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 500 + b"\r\n",
]  # fmt: skip
_BAD_FIELDS = ["If-Match: x", 'If-Match: "1', "If-Match: \xff", "If-Match: ,,;", 'If-Match: "1" "2"']
_JSON = "Content-Type: application/json"


class Attack(NamedTuple):
    """What is sent, with a pause after each piece but the last, and which statuses may come; none: nobody waits."""

    kind: str
    pieces: list[bytes]
    statuses: set[int]
    is_request: bool = True
    pause: float = 0.0


class Attacker:
    """Somebody with a valid token who means no good, and knows the names and ids of `victims`."""

    def __init__(
        self, address: tuple[str, int], name: str, token: str, *,
        victims: list[ModelledUser], bad_tokens: list[str], tally: Tally, seed: str,
    ) -> None:  # fmt: skip
        self._address, self._name, self._token = address, name, token
        self._victims, self._bad_tokens, self._tally = victims, bad_tokens, tally
        self._chance = Random(seed)  # noqa: S311
        self.asked = 0

    async def live(self, requests: int, end: float) -> None:
        """Send so many requests, but none after `end` (of `monotonic`). Raises `WrongAnswer`."""
        attacks, weights = zip(*self._attacks(), strict=True)
        while self.asked < requests and monotonic() < end:
            self.asked += 1
            await self._carry_out(self._chance.choices(attacks, weights)[0]())

    def _attacks(self) -> Iterator[tuple[Callable[[], Attack], int]]:
        yield from [(self._broken_body, 20), (self._oversized, 5), (self._odd_path, 15), (self._odd_query, 10)]
        yield from [(self._odd_field, 5), (self._bad_token, 15), (self._anothers, 15), (self._no_request, 10)]
        yield from [(self._aborted, 10), (self._slow, 1)]

    async def _carry_out(self, attack: Attack) -> None:
        received = b""
        try:
            async with asyncio.timeout(TIMEOUT):
                received = await self._send(attack)
            self._judge(attack, received)
        except (WrongAnswer, ValueError, TimeoutError, ConnectionRefusedError) as problem:
            sent = b"".join(attack.pieces)[:2000]
            raise WrongAnswer(f"{attack.kind}: {sent!r} was answered {received[:2000]!r}: {problem!r}") from problem

    async def _send(self, attack: Attack) -> bytes:
        reader, writer = await asyncio.open_connection(*self._address)
        received = b""
        with suppress(ConnectionResetError, BrokenPipeError):  # refused before all of it was read
            for piece in attack.pieces[:-1]:
                writer.write(piece)
                await asyncio.sleep(attack.pause)
            writer.write(attack.pieces[-1])
            if not attack.statuses:
                writer.transport.abort()
                return b""
            if not attack.is_request:
                writer.write_eof()
            while data := await reader.read(65536):
                received += data
        writer.transport.abort()
        return received

    def _judge(self, attack: Attack, received: bytes) -> None:
        found = read(received) if received else None
        self._tally[attack.kind, found[0].status if found else 0] += 1
        if found is None:
            if attack.statuses and attack.is_request:
                raise WrongAnswer("no answer")
            return
        answer, rest = found
        require(not rest, answer, "one answer")
        require(answer.status in attack.statuses, answer, attack.statuses)
        if attack.is_request and answer.status >= 400:
            require_problem(answer, attack.statuses)

    def _request(self, method: str, target: str, *fields: str, body: bytes | None = None) -> bytes:
        own = (
            []
            if any(field.startswith("Authorization") for field in fields)
            else [f"Authorization: Bearer {self._token}"]
        )
        length = [] if body is None else [f"Content-Length: {len(body)}"]
        lines = [f"{method} {target} HTTP/1.1", "Host: soak", "Connection: close", *own, *fields, *length, "", ""]
        return "\r\n".join(lines).encode("latin-1") + (body or b"")

    def _mine(self) -> str:
        return f"/api/{self._name}/tasks"

    def _broken_body(self) -> Attack:
        chance, body = self._chance, self._chance.choice(_BODIES)
        if chance.random() < 0.3:
            body = _GOOD[: chance.randrange(len(_GOOD))]
        elif chance.random() < 0.3:
            body = b"{" + chance.randbytes(chance.randrange(300))
        if chance.random() < 0.1:
            return Attack(
                "wrong type", [self._request("POST", self._mine(), "Content-Type: text/plain", body=body)], {415}
            )
        return Attack("broken body", [self._request("POST", self._mine(), _JSON, body=body)], {400, 422})

    def _oversized(self) -> Attack:
        if self._chance.random() < 0.5:
            sent = self._request(
                "POST", self._mine(), _JSON, f"Content-Length: {self._chance.randrange(65_537, 2**62)}"
            )
            return Attack("oversized", [sent], {413})
        chunks = b"".join(b"%x\r\n%b\r\n" % (10_000, b" " * 10_000) for _ in range(7))
        sent = self._request("POST", self._mine(), _JSON, "Transfer-Encoding: chunked") + chunks
        return Attack("oversized", [sent + b"0\r\n\r\n"], {413})

    def _odd_path(self) -> Attack:
        path = self._chance.choice(_PATHS).replace("{me}", self._name).replace(" ", "%20")
        if self._chance.random() < 0.5:
            path = f"{self._mine()}/{quote_from_bytes(self._chance.randbytes(self._chance.randrange(1, 40)), safe='')}"
        elif self._chance.random() < 0.2:
            method = self._chance.choice(["TRACE", "FOO", "PUT", "X" * 500])
            return Attack("wrong method", [self._request(method, self._mine())], {405})
        return Attack("odd path", [self._request("GET", path)], {307} if path == "/" else {403, 404})

    def _odd_query(self) -> Attack:
        return Attack("odd query", [self._request("GET", f"{self._mine()}?{self._chance.choice(_QUERIES)}")], {422})

    def _odd_field(self) -> Attack:
        if self._chance.random() < 0.5:
            field = "Idempotency-Key: " + self._chance.choice(['"', "a b", '""', "x" * 300, "a, b", "\xe4"])
            return Attack("odd header", [self._request("POST", self._mine(), _JSON, field, body=_GOOD)], {400})
        target = f"{self._mine()}/018f3f6e-0000-7000-8000-000000000000"
        return Attack("odd header", [self._request("DELETE", target, self._chance.choice(_BAD_FIELDS))], {400, 404})

    def _bad_token(self) -> Attack:
        token = self._chance.choice([*self._bad_tokens, "x" * 7000, "..", f"{self._token}x", self._token[:-4]])
        victim = self._chance.choice(self._victims)
        return Attack("bad token", [self._request("GET", victim.path(), f"Authorization: Bearer {token}")], {401})

    def _anothers(self) -> Attack:
        victim = self._chance.choice(self._victims)
        tasks = list(victim.tasks)
        task, method = self._chance.choice(tasks) if tasks else None, self._chance.choice(["GET", "DELETE", "PATCH"])
        body = _GOOD if method == "PATCH" else None
        fields = [_JSON] if body else []
        if task and self._chance.random() < 0.5:
            return Attack("another's id", [self._request(method, f"{self._mine()}/{task}", *fields, body=body)], {404})
        method, target = (method, victim.path(task)) if task else ("GET", victim.path())
        return Attack("another's path", [self._request(method, target, *fields, body=body)], {403})

    def _no_request(self) -> Attack:
        sent = self._chance.choice(_NO_REQUESTS)
        if self._chance.random() < 0.3:
            sent = re.sub(rb"^[A-Z]+ ", b"", self._chance.randbytes(self._chance.randrange(1, 500)))
        return Attack("no HTTP", [sent], _BARE, is_request=False)

    def _aborted(self) -> Attack:
        """Gone before the answer is, or before the request was whole."""
        sent = self._request("POST", self._mine(), _JSON, body=_GOOD)
        if self._chance.random() < 0.5:
            sent = self._request("GET", self._mine())
        if self._chance.random() < 0.5:
            sent = sent[: self._chance.randrange(1, len(sent))]
        return Attack("aborted", [sent[:20], sent[20:]], set())

    def _slow(self) -> Attack:
        sent = self._request("GET", f"{self._mine()}?limit=1")
        return Attack("slow", [sent[place : place + 40] for place in range(0, len(sent), 40)], {200}, pause=0.05)
