"""Users who write without a pause, one request after the other, all of them in the ledger."""

import asyncio
import itertools
import random
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any

import httpx
from faults.ledger import GONE, PADDING, Answer, Known, Ledger
from serving import NO_TLS, eventually, token_for

PAUSE = 0.05  # after an answer that says that the service is unavailable: ruder than Retry-After asks for
GIVE_UP = 30.0
KEY = "Idempotency-Key"
USERS = [f"user{number}" for number in range(24)]


class Load:
    """Users at those servers, from the beginning of the block to its end, in a thread of their own."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.ledger = Ledger()
        self.slowest = Answer(0, {})
        self.unavailable = 0
        self.unanswered: list[str] = []
        self.first_users: list[str] = []
        self._acknowledged = [0.0]
        self._stopping = False
        self._held = False
        self._resting: set[User] = set()
        self._users = [User(self, name, urls) for name in USERS]
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        self.flows(40)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thread.join(90)
        assert not self._thread.is_alive(), "a request hangs"
        if self._problem is not None and error is None:
            raise self._problem

    def flows(self, writes: int = 100) -> float:
        """Wait until so many writes more, begun from now on, are acknowledged; the seconds until the first was."""
        since, before = monotonic(), len(self._acknowledged)
        eventually(lambda: not self._thread.is_alive() or len(self._acknowledged) > before + writes, 60)
        assert self._thread.is_alive(), self._problem
        return self._acknowledged[before] - since

    @contextmanager
    def held(self) -> Iterator[None]:
        """While users begin nothing new; what has a key is still repeated until it is answered."""
        self._held = True
        yield
        self._held = False

    def rests(self) -> None:
        """Wait until every user has every answer, while they are held."""
        eventually(lambda: not self._thread.is_alive() or len(self._resting) == len(self._users), 60)
        assert self._thread.is_alive(), self._problem

    async def rest(self, user: "User") -> None:
        """Wait while users are held."""
        if self._held:
            self._resting.add(user)
            while self._held and not self._stopping:  # noqa: ASYNC110  (another thread sets it)
                await asyncio.sleep(PAUSE)
            self._resting.discard(user)

    def goes_on(self, seconds: float) -> None:
        """Let it go on for so long."""
        self._thread.join(seconds)
        assert self._thread.is_alive(), self._problem

    def note(self, answer: Answer, *, writes: bool, retry_after: bool) -> None:
        """Look at an answer as such."""
        self.slowest = max(self.slowest, answer, key=lambda each: each.seconds)
        self.unavailable += answer.status == 503
        if answer.is_unknown:
            self.unanswered.append(answer.asked)
        if answer.status in {500, 502, 504} or (answer.status == 503 and not retry_after):
            self.ledger.complaints.append(f"answered {answer.status} {answer.body} Retry-After: {retry_after}")
        if writes and 200 <= answer.status < 300:
            self._acknowledged.append(monotonic())

    @property
    def acknowledged(self) -> int:
        """How many writes were, so far."""
        return len(self._acknowledged)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def _run(self) -> None:
        async def everybody() -> None:
            async with asyncio.TaskGroup() as group:
                for user in self._users:
                    group.create_task(user.live())

        try:
            asyncio.run(everybody())
        except BaseException as problem:
            self._problem = problem


class User:
    """Creates, changes, reads and deletes their own tasks."""

    def __init__(self, load: Load, name: str, urls: Sequence[str]) -> None:
        self._load, self._ledger = load, load.ledger
        self._name = name
        self._urls = urls
        self._numbers = itertools.count()
        self._random = random.Random(name)
        self._tasks: list[Known] = []

    async def live(self) -> None:
        """Go on until the load ends."""
        headers = {"Authorization": f"Bearer {token_for(self._name)}"}
        async with AsyncExitStack() as stack:
            clients = [
                httpx.AsyncClient(base_url=url, headers=headers, timeout=GIVE_UP, verify=NO_TLS) for url in self._urls
            ]
            self._clients = [await stack.enter_async_context(client) for client in clients]
            doings = [self._create, self._create_with_key, self._create_in_vain, *[self._with_a_task] * 5]
            while not self._load.stopping:
                await self._load.rest(self)
                await self._random.choice(doings)()

    async def _with_a_task(self) -> None:
        self._tasks = [task for task in self._tasks if task.state is not GONE]
        if len(self._tasks) < 3:
            return await self._create_with_key()
        doings = [
            self._toggle,
            self._toggle_with_key,
            self._describe,
            self._edit_in_vain,
            self._look,
            self._look_at_others,
            self._random.choice([self._remove, self._remove_with_key]),
        ]
        task = self._random.choice(self._tasks)
        await self._random.choice(doings)(task)
        if task.doubt != task.state or task.state is GONE:  # what is unknown may still come: nobody writes after it
            self._tasks.remove(task)
        return None

    async def _ask(self, method: str, url: str, *, writes: bool = True, **options: Any) -> Answer:
        begun = monotonic()
        asked = f"{method} {url} {'with a key' if 'headers' in options and KEY in options['headers'] else ''}".strip()
        try:
            got = await self._random.choice(self._clients).request(method, url, **options)
        except httpx.ConnectError:  # nothing was sent: the ledger need not know, and may see the next attempt only
            await asyncio.sleep(PAUSE)
            if self._load.stopping:
                return Answer(0, {})
            return await self._ask(method, url, writes=writes, **options)
        except httpx.TransportError:
            answer, retry_after = Answer(0, {}, monotonic() - begun, f"{method} {url}"), False
        else:
            body = got.json() if "json" in got.headers.get("content-type", "") else {}
            change = int(got.headers.get("change", 0))
            answer = Answer(got.status_code, body, monotonic() - begun, asked, change)
            retry_after = "retry-after" in got.headers
        self._load.note(answer, writes=writes, retry_after=retry_after)
        if answer.is_unknown:
            await asyncio.sleep(PAUSE)
        return answer

    def _title(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    async def _post(self, title: str, **options: Any) -> Answer:
        body = {"title": title, "description": PADDING, **options.pop("more", {})}
        return await self._ask("POST", f"/api/{self._name}/tasks", json=body, **options)

    async def _create(self) -> None:
        self._keep(self._ledger.created(title := self._title(), await self._post(title), keyed=False))

    async def _create_with_key(self) -> None:
        """Repeat it until it is answered, as whoever has sent a key may."""
        title = self._title()
        answer = await self._until_answered(title, lambda **options: self._post(title, **options))
        self._keep(self._ledger.created(title, answer, keyed=True))

    async def _until_answered(self, key: str, ask: Callable[..., Awaitable[Answer]]) -> Answer:
        while (answer := await ask(headers={KEY: f'"{key}"'})).is_unknown and not self._load.stopping:
            pass
        return answer

    def _keep(self, task: Known | None) -> None:
        if task is not None:
            self._tasks.append(task)
            if self._name == "user0":
                self._load.first_users.append(task.url.rpartition("/")[2])

    async def _create_in_vain(self) -> None:
        title = self._title()
        self._ledger.created_in_vain(title, await self._post(title, more={"owner": "other"}))

    async def _toggle(self, task: Known) -> None:
        assert task.state
        after = task.state._replace(completed=not task.state.completed, version=task.state.version + 1)
        self._ledger.changed(task, await self._ask("PATCH", f"{task.url}/complete"), after)

    async def _toggle_with_key(self, task: Known) -> None:
        """Repeated without it, this would undo itself."""
        assert task.state
        after = task.state._replace(completed=not task.state.completed, version=task.state.version + 1)
        answer = await self._until_answered(self._title(), partial(self._ask, "PATCH", f"{task.url}/complete"))
        self._ledger.changed(task, answer, after)

    async def _describe(self, task: Known) -> None:
        assert task.state
        after = task.state._replace(description=f"{next(self._numbers)}{PADDING}", version=task.state.version + 1)
        headers = {"If-Match": f'"{task.state.version}"'}
        answer = await self._ask("PATCH", task.url, json={"description": after.description}, headers=headers)
        self._ledger.changed(task, answer, after)

    async def _edit_in_vain(self, task: Known) -> None:
        headers = {"If-Match": '"999999"'}
        answer = await self._ask("PATCH", task.url, json={"description": "stale"}, headers=headers)
        self._ledger.changed_in_vain(task, answer)

    async def _look(self, task: Known) -> None:
        self._ledger.seen(task, await self._ask("GET", task.url, writes=False))

    async def _look_at_others(self, task: Known) -> None:
        """Nobody sees it: neither at its own address nor under another user's."""
        foreign = task.url.replace(f"/{self._name}/", "/another/")
        self._ledger.hidden(foreign, await self._ask("GET", foreign, writes=False), 403)
        if self._name == "user0" or not self._load.first_users:
            return
        elsewhere = f"/api/{self._name}/tasks/{self._random.choice(self._load.first_users)}"
        self._ledger.hidden(elsewhere, await self._ask("GET", elsewhere, writes=False), 404)

    async def _remove(self, task: Known) -> None:
        self._ledger.changed(task, await self._ask("DELETE", task.url), GONE)

    async def _remove_with_key(self, task: Known) -> None:
        answer = await self._until_answered(self._title(), partial(self._ask, "DELETE", task.url))
        self._ledger.changed(task, answer, GONE)
