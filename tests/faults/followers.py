"""Clients that keep copies, as docs/how-to/live-updates.md says, and often restart their streams."""

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, TypeAlias

import httpx
from serving import NO_TLS, eventually, token_for

Things: TypeAlias = dict[tuple[str, str], dict[str, Any]]
Page: TypeAlias = dict[str, Any]
SILENCE = 45.0  # seconds: with a comment every 15 s, who hears nothing for so long reconnects
PAUSE = 0.2  # before the next attempt: shorter than clients should take
STEP = 60.0  # seconds that all copies have to be in step again
RESYNC = 410


class Follower:
    """One user's copy of their things, kept over whatever breaks."""

    def __init__(self, user: str, urls: Sequence[str]) -> None:
        self.user = user
        self.things: Things = {}
        self.counts: Counter[str] = Counter()
        self._headers = {"Authorization": f"Bearer {token_for(user)}"}
        self._urls = urls
        self._random = random.Random(user)
        self._token: str | None = None
        self._named: set[tuple[str, str]] | None = None

    async def follow(self) -> None:
        """Go on until cancelled; each attempt at any of the servers."""
        options: Any = {"headers": self._headers, "timeout": SILENCE, "verify": NO_TLS}
        async with AsyncExitStack() as stack:
            made = [httpx.AsyncClient(base_url=url, **options) for url in self._urls]
            clients = [await stack.enter_async_context(client) for client in made]
            while True:
                client = self._random.choice(clients)
                with suppress(httpx.TransportError):
                    if await self._catch_up(client):
                        await self._listen(client)
                await asyncio.sleep(PAUSE)

    async def _catch_up(self, client: httpx.AsyncClient) -> bool:
        """Whether it has all pages; they may be of any size."""
        more = True
        while more:
            params: dict[str, str | int] = {"limit": self._random.choice([1, 7, 200])}
            if self._token is not None:
                params["since"] = self._token
            answer = await client.get(f"/api/{self.user}/changes", params=params)
            if not self._is_good(answer):
                return False
            more = self._take(answer.json())
        return True

    async def _listen(self, client: httpx.AsyncClient) -> None:
        """Take what a stream says, until it ends."""
        assert self._token is not None
        asked = {"Last-Event-ID": self._token}
        async with client.stream("GET", f"/api/{self.user}/events", headers=asked) as answer:
            if self._is_good(answer):
                self.counts["streams"] += 1
                async for page in _pages(answer):
                    self._take(page)
                    self.counts["pushed"] += 1

    def _is_good(self, answer: httpx.Response) -> bool:
        if answer.status_code == RESYNC:
            self._token = self._named = None
            self.counts["begun anew"] += 1
        else:
            assert answer.status_code in {200, 503}, f"{answer.request.url}: {answer.status_code}"
        return answer.status_code == 200

    def _take(self, page: Page) -> bool:
        """Become what the page says; whether there are more."""
        if page["full"]:
            self._named = (self._named or set()) | {(item["kind"], item["id"]) for item in page["items"]}
        elif self._named is not None:
            self.things = {key: thing for key, thing in self.things.items() if key in self._named}
            self._named = None
        for item in page["items"]:
            if item["deleted"]:
                self.things.pop((item["kind"], item["id"]), None)
            else:
                self.things[item["kind"], item["id"]] = item["value"]
        self._token = page["next"]
        return bool(page["more"])


async def _pages(answer: httpx.Response) -> AsyncIterator[Page]:
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "data":
            yield json.loads(value)


class Followers:
    """A follower of each user, at those servers, from the beginning of the block to its end, in one thread."""

    def __init__(self, users: Sequence[str], urls: Sequence[str]) -> None:
        self._all = [Follower(user, urls) for user in users]
        self._urls = urls
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._ended = threading.Event()

    def __enter__(self) -> "Followers":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._problem is not None and error is None:
            raise self._problem

    def count(self, what: str) -> int:
        return sum(each.counts[what] for each in self._all)

    def hear(self) -> None:
        """Wait until each has received something by a stream, from now on."""
        before = {each: each.counts["pushed"] for each in self._all}
        self._until(lambda: all(each.counts["pushed"] > count for each, count in before.items()), "hears nothing")

    def are_in_step(self) -> None:
        """Wait until each has exactly what the server has, where nobody writes any more."""
        for each in self._all:
            there = things_at(self._urls[0], each.user)
            self._until(lambda each=each, there=there: each.things == there, f"{each.user} is not in step")

    def _until(self, condition, what: str) -> None:  # type: ignore[no-untyped-def]
        with suppress(AssertionError):
            eventually(lambda: self._problem is not None or condition(), STEP)
        assert self._problem is None, self._problem
        assert condition(), what

    def _run(self) -> None:
        async def everybody() -> None:
            async with asyncio.TaskGroup() as group:
                following = [group.create_task(each.follow()) for each in self._all]
                while not (self._ended.is_set() or any(task.done() for task in following)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                for task in following:
                    task.cancel()

        try:
            asyncio.run(everybody())
        except BaseException as problem:
            self._problem = problem


def things_at(url: str, user: str) -> Things:
    """All tasks and lists of that user, from their listings."""
    found: Things = {}
    headers = {"Authorization": f"Bearer {token_for(user)}"}
    with httpx.Client(base_url=f"{url}/api/{user}", headers=headers, timeout=SILENCE, verify=NO_TLS) as client:
        found |= {("list", each["id"]): each for each in client.get("/lists").raise_for_status().json()["items"]}
        cursor: dict[str, str] = {}
        while True:
            page = client.get("/tasks", params={"limit": "200", **cursor}).raise_for_status().json()
            found |= {("task", each["id"]): each for each in page["items"]}
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}
