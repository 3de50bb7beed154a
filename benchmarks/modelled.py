"""A user who knows what every answer must be: requests one after the other, each carried out on a model as well.

The model is the core itself on the store in memory. What the server alone can choose, ids and moments, is taken from
its answer (and must make sense); everything else must be as the model has it. What a write answered must come back
byte for byte from every later read.
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from random import Random
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from benchmarks.http1 import Answer, Client
from benchmarks.judging import Tally, WrongAnswer, require, require_problem
from benchmarks.wishes import Wishes
from todo_adapters.memory import MemoryTaskStore
from todo_core import (
    Creation,
    InvalidInput,
    KeyReused,
    OwnerId,
    Page,
    Sort,
    Task,
    TaskId,
    TaskNotFound,
    TaskService,
    TodoError,
    Version,
    VersionConflict,
    idempotency_key,
)

STATUSES = {TaskNotFound: 404, VersionConflict: 412, InvalidInput: 422, KeyReused: 422}
TASKS_MOST = 60  # of one user: beyond it, more is deleted than created
CLOCKS_DIFFER = timedelta(seconds=1)
Result = TypeVar("Result")


class Told:
    """The clock and the ids of the model: what the server's answer says."""

    moment = datetime.now(UTC)
    id = TaskId(UUID(int=0))

    def now(self) -> datetime:
        """As `Clock.now`."""
        return self.moment

    def new(self, at: datetime) -> TaskId:
        """As `IdGenerator.new`."""
        return self.id


def shown(task: Task) -> dict[str, object]:
    """The task as the API must show it."""
    return {
        "id": str(task.id),
        "user_id": task.owner,
        "title": task.title,
        "description": task.description,
        "completed": task.completed,
        "completed_at": task.completed_at and _text(task.completed_at),
        "version": task.version,
        "created_at": _text(task.created_at),
        "updated_at": _text(task.updated_at),
    }


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class ModelledUser:
    """One user. `others` are those whose tasks must stay out of reach; `bad_tokens` prove nobody."""

    def __init__(
        self, client: Client, name: str, token: str, *, bad_tokens: list[str], limit: int, tally: Tally, seed: str
    ) -> None:
        self.name, self.tasks, self.others = OwnerId(name), dict[TaskId, bytes](), list[ModelledUser]()
        self._client, self._token, self._bad_tokens, self._tally = client, token, bad_tokens, tally
        self._limit, self._counted, self.asked = limit, 0, 0
        self._chance = Random(seed)  # noqa: S311
        self._wishes = Wishes(self._chance)
        self._told, self._last = Told(), ""
        self._model = TaskService(MemoryTaskStore(), self._told, self._told)
        self._gone: list[TaskId] = []
        self._keys: list[str] = []
        self._created: dict[str, dict[str, Any]] = {}
        self._places: dict[Sort, str] = {}

    async def live(self, requests: int, end: float, turns: AbstractAsyncContextManager[object]) -> None:
        """Send so many requests, but none after `end` (of `monotonic`), taking turns. Raises `WrongAnswer`."""
        acts, weights = zip(*self._acts(), strict=True)
        while self.asked < requests and monotonic() < end:
            act = self._chance.choices(acts, weights)[0]
            if len(self.tasks) > TASKS_MOST and act == self._create:
                act = self._delete
            try:
                async with turns:
                    await act()
            except (WrongAnswer, ConnectionError, ValueError) as problem:
                raise WrongAnswer(f"{self._last}: {problem}") from problem
            if self._chance.random() < 0.01:
                self._client.leave()  # whatever a server process remembers, the next connection may meet another one
        self._client.leave()

    def _acts(self) -> Iterator[tuple[Callable[[], Awaitable[None]], int]]:
        yield from [(self._create, 14), (self._create_once, 8), (self._get, 20), (self._page, 20), (self._put, 7)]
        yield from [(self._patch, 9), (self._complete, 12), (self._delete, 9), (self._foreign_path, 3)]
        yield (self._nobody, 2)

    async def _ask(
        self, kind: str, method: str, target: str, body: object = None, fields: str = "", *, token: str | None = None
    ) -> Answer | None:
        """The answer, after what must be true of every answer. None: the limit is reached, and was told rightly."""
        self.asked += 1
        request_id = f"{self.name}.{self.asked}"
        head = f"{method} {target} HTTP/1.1\r\nHost: soak\r\nX-Request-Id: {request_id}\r\n{fields}"
        head += f"Authorization: {f'Bearer {self._token}' if token is None else token}\r\n"
        content = b""
        if body is not None:
            content = json.dumps(body, ensure_ascii=self._chance.random() < 0.5).encode()
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        self._last, self._sent = f"{kind}: {method} {target} {fields!r} {content!r}", datetime.now(UTC)
        answer = await self._client.ask(f"{head}\r\n".encode() + content, to_head=method == "HEAD")
        self._tally[kind, answer.status] += 1
        require(answer.field("x-request-id") == request_id, answer, f"the answer to {request_id}")
        if token is None and self._is_over(answer) and kind != "another's path":
            require(answer.status == 429, answer, 429)
            if method != "HEAD":
                require_problem(answer, {429}, "too_many_requests")
            return None
        return answer

    def _is_over(self, answer: Answer) -> bool:
        """Whether this request is beyond the limit; the answer must tell exactly how many are left."""
        self._counted += 1
        left = max(0, self._limit - self._counted)
        require((answer.field("ratelimit") or "").startswith(f'"default";r={left};t='), answer, f"{left} left")
        return self._counted > self._limit

    async def _outcome(self, answer: Answer, modelled: Awaitable[Result]) -> Result | None:
        """What the model makes of it; None if it refuses, as the answer must have done."""
        if answer.status in (200, 201) and answer.body.startswith(b'{"id"'):
            told = json.loads(answer.body)
            self._told.moment, self._told.id = datetime.fromisoformat(told["updated_at"]), TaskId(UUID(told["id"]))
        try:
            return await modelled
        except TodoError as refusal:
            require(type(refusal) in STATUSES, answer, f"nothing that makes the model say {refusal!r}")
            require_problem(answer, {STATUSES[type(refusal)]}, refusal.code)
            if isinstance(refusal, VersionConflict):
                require(answer.field("etag") == f'"{refusal.current}"', answer, f"version {refusal.current}")
            return None

    def _require_task(self, answer: Answer, task: Task, status: int) -> None:
        """The answer to a write: the task as the model has it, made or changed just now unless it stayed the same."""
        require(answer.status == status, answer, status)
        require(json.loads(answer.body) == shown(task), answer, shown(task))
        require(answer.field("etag") == f'"{task.version}"', answer, f"version {task.version}")
        if self.tasks.get(task.id) != answer.body:
            soon = self._sent - CLOCKS_DIFFER <= task.updated_at <= datetime.now(UTC) + CLOCKS_DIFFER
            require(soon, answer, f"a moment since {self._sent}")

    def path(self, task: TaskId | None = None) -> str:
        return f"/api/{self.name}/tasks" + (f"/{task}" if task else "")

    def _some_task(self) -> TaskId:
        """One of this user's, mostly; otherwise another's, a deleted or an unknown one: each as unknown as the next."""
        dice = self._chance.random()
        if self.tasks and dice < 0.93:
            return self._chance.choice(list(self.tasks))
        if self._gone and dice < 0.95:
            return self._chance.choice(self._gone)
        other = self._chance.choice(self.others)
        return (
            self._chance.choice(list(other.tasks)) if other.tasks else TaskId(UUID(int=self._chance.getrandbits(128)))
        )

    def _version(self, task: TaskId) -> Version:
        """The version of this user's task; any other is as good as at its first."""
        return Version(json.loads(self.tasks.get(task, b'{"version": 1}'))["version"])

    async def _create(self) -> None:
        content = self._wishes.content()
        if (answer := await self._ask("create", "POST", self.path(), content)) is None:
            return
        task = await self._outcome(answer, self._model.create(self.name, **content))
        if task is not None:
            self._require_new(answer, task)
            self.tasks[task.id] = answer.body

    def _require_new(self, answer: Answer, task: Task) -> None:
        self._require_task(answer, task, 201)
        require(answer.field("location") == self.path(task.id), answer, self.path(task.id))
        milliseconds = task.id.int >> 80
        require(abs(milliseconds - task.created_at.timestamp() * 1000) < 2, answer, "an id of that moment")

    async def _create_once(self) -> None:
        """Under a fresh key, again under a used one, or under a used one for something else."""
        key, content, dice = f"{self.name} {self.asked}", self._wishes.content(), self._chance.random()
        if self._keys and dice < 0.4:
            key = self._chance.choice(self._keys)
            content = self._created[key] if dice < 0.3 else content
        asking = self._ask("create once", "POST", self.path(), content, f'Idempotency-Key: "{key}"\r\n')
        if (answer := await asking) is None:
            return
        creation = await self._outcome(answer, self._model.create_once(self.name, idempotency_key(key), **content))
        if creation is not None:
            self._require_creation(answer, creation, key, content)

    def _require_creation(self, answer: Answer, creation: Creation, key: str, content: dict[str, Any]) -> None:
        is_new = key not in self._created
        require(answer.field("idempotency-replayed") == (None if is_new else "true"), answer, f"new: {is_new}")
        if is_new:
            self._require_new(answer, creation.task)
            self.tasks[creation.task.id] = answer.body
            self._created[key] = content
            self._keys.append(key)
        else:
            require(answer.status == 201, answer, 201)
            require(json.loads(answer.body) == shown(creation.task), answer, shown(creation.task))

    async def _get(self) -> None:
        task, dice = self._some_task(), self._chance.random()
        field, wants = "", None
        if dice < 0.5:
            body = self.tasks.get(task)
            wants = (json.loads(body)["version"] if body else 1) + (dice < 0.1)
            field = f'If-None-Match: "x", {"W/" if dice < 0.2 else ""}"{wants}"\r\n'
        method = "HEAD" if dice > 0.9 else "GET"
        if (answer := await self._ask("get", method, self.path(task), fields=field)) is None:
            return
        if method == "HEAD" and task not in self.tasks:
            require(answer.status == 404, answer, 404)
        elif (found := await self._outcome(answer, self._model.get(self.name, task))) is not None:
            self._require_read(answer, found, is_known=wants == found.version, has_body=method == "GET")

    def _require_read(self, answer: Answer, task: Task, *, is_known: bool, has_body: bool) -> None:
        require(answer.status == (304 if is_known else 200), answer, 304 if is_known else 200)
        require(answer.field("etag") == f'"{task.version}"', answer, f"version {task.version}")
        expected = self.tasks[task.id] if has_body and not is_known else b""
        require(answer.body == expected, answer, expected)

    async def _page(self) -> None:
        given, query = self._wishes.query(self._places)
        target = f"{self.path()}?{urlencode(given)}"
        if (answer := await self._ask("list", "GET", target)) is None:
            return
        page = await self._outcome(answer, self._model.page(self.name, query))
        assert page is not None  # noqa: S101  (the model refuses no query)
        require(answer.status == 200, answer, 200)
        self._require_page(answer, page, given)
        if page.next is None:
            self._places.pop(query.sort, None)
        else:
            self._places[query.sort] = page.next.encode()

    def _require_page(self, answer: Answer, page: Page, given: dict[str, str]) -> None:
        after, link = b"null", None
        if page.next is not None:
            after = b'"%b"' % page.next.encode().encode()
            kept = {name: value for name, value in given.items() if name != "cursor"}
            link = f'<{self.path()}?{urlencode({**kept, "cursor": page.next.encode()})}>; rel="next"'
        items = b",".join(self.tasks[task.id] for task in page.items)
        expected = b'{"items":[%b],"next_cursor":%b}' % (items, after)
        require(answer.body == expected, answer, expected)
        require(answer.field("link") == link, answer, link)

    async def _change(
        self, kind: str, method: str, path: str, body: object, task: TaskId, change: Callable[..., Awaitable[Task]],
        **values: Any,
    ) -> None:  # fmt: skip
        field, expected = self._wishes.expecting(self._version(task))
        if (answer := await self._ask(kind, method, path, body, field)) is None:
            return
        changed = await self._outcome(answer, change(self.name, task, **values, expected=expected))
        if changed is not None:
            self._require_task(answer, changed, 200)
            self.tasks[task] = answer.body

    async def _put(self) -> None:
        task, content = self._some_task(), self._wishes.content()
        body = {**json.loads(self.tasks.get(task, b"{}")), **content} if self._chance.random() < 0.2 else content
        if "description" not in content:
            body.pop("description", None)
        if "completed" not in content:
            body.pop("completed", None)
        await self._change("put", "PUT", self.path(task), body, task, self._model.edit, **content)

    async def _patch(self) -> None:
        content = self._wishes.content()
        if self._chance.random() < 0.4:
            del content["title"]
        task = self._some_task()
        await self._change("patch", "PATCH", self.path(task), content, task, self._model.edit, **content)

    async def _complete(self) -> None:
        task, wanted = self._some_task(), self._chance.choice([None, True, False])
        body = None if wanted is None else {"completed": wanted}
        act = self._model.toggle if wanted is None else self._model.complete if wanted else self._model.reopen
        await self._change("complete", "PATCH", f"{self.path(task)}/complete", body, task, act)

    async def _delete(self) -> None:
        task = self._some_task()
        field, expected = self._wishes.expecting(self._version(task))
        if (answer := await self._ask("delete", "DELETE", self.path(task), fields=field)) is None:
            return
        if await self._outcome(answer, self._removed(task, expected)):
            require(answer.status == 204, answer, 204)
            del self.tasks[task]
            self._gone.append(task)
            del self._gone[:-20]

    async def _removed(self, task: TaskId, expected: frozenset[Version] | None) -> bool:
        await self._model.delete(self.name, task, expected=expected)
        return True

    async def _foreign_path(self) -> None:
        other = self._chance.choice(self.others)
        task = self._chance.choice(list(other.tasks) or [None])
        method = self._chance.choice(["GET", "PUT", "PATCH", "DELETE"] if task else ["GET", "POST"])
        body = {"title": "of somebody else"} if method in ("PUT", "PATCH", "POST") else None
        if (answer := await self._ask("another's path", method, other.path(task), body)) is not None:
            require_problem(answer, {403}, "not_your_path")

    async def _nobody(self) -> None:
        """With no token, or one that proves nobody."""
        target = self._chance.choice([self.path(), *map(self.path, list(self.tasks)[:1])])
        token = self._chance.choice(["", "Basic YTpi", "Bearer", *(f"Bearer {bad}" for bad in self._bad_tokens)])
        answer = await self._ask("bad token", self._chance.choice(["GET", "DELETE"]), target, token=token)
        assert answer is not None  # noqa: S101  (nobody has no limit)
        require_problem(answer, {401}, "not_authenticated")
