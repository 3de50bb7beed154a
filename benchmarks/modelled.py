"""A user of the soak: each of its requests also runs on a model, which says what the answer must be.

The model is the core itself on the store in memory. What the server alone can choose, ids and moments, is taken from
its answer (and must make sense); everything else must be as the model has it. What a write answered must come back
byte for byte from every later read.
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from time import monotonic
from typing import Any, Final, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from benchmarks.http1 import Answer, Client
from benchmarks.judging import Tally, WrongAnswer, require, require_problem
from benchmarks.wishes import Wishes
from todo_adapters.memory import MemoryTaskStore
from todo_core import (
    ChangePage,
    ChangeQuery,
    Committed,
    Entry,
    InvalidInput,
    KeyReused,
    Once,
    OwnerId,
    Page,
    Place,
    Sort,
    Task,
    TaskId,
    TaskNotFound,
    TaskService,
    TodoError,
    Version,
    VersionConflict,
    WriteOptions,
    idempotency_key,
)

STATUSES = {TaskNotFound: 404, VersionConflict: 412, InvalidInput: 422, KeyReused: 422}
TASKS_MAX = 60  # of one user: beyond it, more is deleted than created
KEYS_MAX = 50  # of one user: older ones are not tried again
READ_ONLY = ("id", "user_id", "position", "due_at", "completed_at", "version", "created_at", "updated_at")
CLOCKS_DIFFER = timedelta(seconds=1)
Result = TypeVar("Result")


class Stated:
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
        "priority": task.priority,
        "tags": _plain(task.tags),
        "start_date": task.start_date,
        "due_date": task.due_date,
        "time_zone": task.time_zone,
        "recurrence": task.recurrence,
        "recurrence_from": task.recurrence_from,
        "list_id": task.list_id and str(task.list_id),
        "parent_id": task.parent_id and str(task.parent_id),
        "position": task.position,
        "due_at": _plain(task.due_at),
        "completed_at": _plain(task.completed_at),
        "version": task.version,
        "created_at": _plain(task.created_at),
        "updated_at": _plain(task.updated_at),
    }


_COUNTED: Final = frozenset({"version", "created_at", "updated_at"})


def happened(entry: Entry) -> dict[str, object]:
    """The change as the task's history must show it, but for its moment."""
    before, after = entry.before or {}, entry.after or {}
    pairs = {name: [_plain(before.get(name)), _plain(after.get(name))] for name in {**before, **after}}
    fields = {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and name not in _COUNTED}
    return {"change": entry.number, "client": entry.client, "action": entry.action, "fields": fields}


def _plain(value: object) -> object:
    """A value of the core's as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Write:
    """A request that writes, what carries it out on the model, and what was answered to it first."""

    kind: str
    method: str
    path: str
    body: object
    act: Callable[[WriteOptions], Awaitable[Committed]]
    task: TaskId | None = None
    answered: bytes = b""

    def once(self, key: str) -> Once:
        """Under that key; the same for the same request, however its body is spelled."""
        said = json.dumps([self.method, self.path, self.body], sort_keys=True)
        return Once(idempotency_key(key), sha256(said.encode()).hexdigest())


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
        self._stated, self._last = Stated(), ""
        self._model = TaskService(MemoryTaskStore(), self._stated, self._stated)
        self._gone: list[TaskId] = []
        self._keyed: dict[str, Write] = {}
        self._places: dict[Sort, str] = {}

    async def live(self, requests: int, end: float, turns: AbstractAsyncContextManager[object]) -> None:
        """Send so many requests, but none after `end` (of `monotonic`), taking turns. Raises `WrongAnswer`."""
        acts, weights = zip(*self._acts(), strict=True)
        while self.asked < requests and monotonic() < end:
            act = self._chance.choices(acts, weights)[0]
            if len(self.tasks) > TASKS_MAX and act == self._create:
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
        yield from [(self._create, 18), (self._get, 18), (self._page, 18), (self._put, 7), (self._history, 4)]
        yield from [(self._patch, 9), (self._complete, 12), (self._delete, 9), (self._again, 4), (self._summary, 2)]
        yield from [(self._foreign_path, 3), (self._nobody, 2)]

    async def _ask(
        self, kind: str, method: str, target: str, body: object = None, fields: str = "", *, token: str | None = None
    ) -> Answer | None:
        """The answer, after what must be true of every answer. None: rightly refused, for the limit is reached."""
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
        """Whether this request is beyond the limit; the answer must state exactly how many are left."""
        self._counted += 1
        left = max(0, self._limit - self._counted)
        require((answer.field("ratelimit") or "").startswith(f'"default";r={left};t='), answer, f"{left} left")
        return self._counted > self._limit

    async def _outcome(self, answer: Answer, modelled: Awaitable[Result]) -> Result | None:
        """What the model makes of it; None if it refuses, as the answer must have done."""
        if answer.status in (200, 201) and answer.body.startswith(b'{"id"'):
            body = json.loads(answer.body)
            self._stated.moment, self._stated.id = datetime.fromisoformat(body["updated_at"]), TaskId(UUID(body["id"]))
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

    async def _write(self, write: Write, *, key: str = "") -> None:
        """Send it, sometimes under a fresh key, or under one that is used: the model says what must come of it."""
        dice = self._chance.random()
        if not key and dice < 0.3:
            used = list(self._keyed)[-KEYS_MAX:]
            key = self._chance.choice(used) if used and dice < 0.05 else f"{self.name} {self.asked}"
        field, expected = self._wishes.expecting(self._version(write.task)) if write.task else ("", None)
        once = write.once(key) if key else None
        if key:
            field += f'Idempotency-Key: "{key}"\r\n'
        kind = f"{write.kind} once" if key else write.kind
        if (answer := await self._ask(kind, write.method, write.path, write.body, field)) is None:
            return
        done = await self._outcome(answer, write.act(WriteOptions(expected=expected, once=once)))
        if done is None:
            return
        require(answer.field("idempotency-replayed") == ("true" if done.replayed else None), answer, done)
        require(answer.field("change") == (None if done.change is None else f"{done.change}"), answer, done)
        if done.replayed:
            self._require_first(answer, done, self._keyed[key])
        else:
            self._require_done(answer, done, write)
            if key:
                self._keyed[key] = replace(write, answered=answer.body)

    def _require_first(self, answer: Answer, done: Committed, write: Write) -> None:
        """The answer to a repetition: as it was the first time, whatever has become of the task."""
        require(answer.status == {"create": 201, "delete": 204}.get(write.kind, 200), answer, write.kind)
        require(answer.body == write.answered, answer, write.answered)
        if done.things:
            require(answer.field("etag") == f'"{done.task.version}"', answer, f"version {done.task.version}")

    def _require_done(self, answer: Answer, done: Committed, write: Write) -> None:
        if write.kind == "delete" and write.task is not None:
            require(answer.status == 204 and not answer.body, answer, 204)
            del self.tasks[write.task]
            self._gone.append(write.task)
            del self._gone[:-20]
        elif write.kind == "create":
            self._require_new(answer, done.task)
            self.tasks[done.task.id] = answer.body
        else:
            self._require_task(answer, done.task, 200)
            self.tasks[done.task.id] = answer.body

    def _require_new(self, answer: Answer, task: Task) -> None:
        self._require_task(answer, task, 201)
        require(answer.field("location") == self.path(task.id), answer, self.path(task.id))
        milliseconds = task.id.int >> 80
        require(abs(milliseconds - task.created_at.timestamp() * 1000) < 2, answer, "an id of that moment")

    async def _create(self) -> None:
        content = self._wishes.content()

        def act(options: WriteOptions) -> Awaitable[Committed]:
            return self._model.create(self.name, options, **content)

        await self._write(Write("create", "POST", self.path(), content, act))

    async def _again(self) -> None:
        """What was asked before, under its key."""
        if used := list(self._keyed)[-KEYS_MAX:]:
            key = self._chance.choice(used)
            await self._write(self._keyed[key], key=key)

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

    def _require_page(self, answer: Answer, page: Page, given: list[tuple[str, str]]) -> None:
        after, link = b"null", None
        if page.next is not None:
            after = b'"%b"' % page.next.encode().encode()
            kept = [pair for pair in given if pair[0] != "cursor"]
            link = f'<{self.path()}?{urlencode([*kept, ("cursor", page.next.encode())])}>; rel="next"'
        items = b",".join(self.tasks[task.id] for task in page.items)
        expected = b'{"items":[%b],"next_cursor":%b}' % (items, after)
        require(answer.body == expected, answer, expected)
        require(answer.field("link") == link, answer, link)

    async def _edit(self, kind: str, method: str, body: dict[str, Any], content: dict[str, Any]) -> None:
        task = self._some_task()

        def act(options: WriteOptions) -> Awaitable[Committed]:
            return self._model.edit(self.name, task, options, **content)

        await self._write(Write(kind, method, self.path(task), body, act, task))

    async def _put(self) -> None:
        content = self._wishes.content()
        read = json.loads(self._chance.choice(list(self.tasks.values()) or [b"{}"]))
        sent = {name: read[name] for name in READ_ONLY if name in read} if self._chance.random() < 0.2 else {}
        await self._edit("put", "PUT", sent | content, content)

    async def _patch(self) -> None:
        content = self._wishes.content()
        if self._chance.random() < 0.4:
            del content["title"]
        await self._edit("patch", "PATCH", content, content)

    async def _complete(self) -> None:
        task, wanted = self._some_task(), self._chance.choice([None, True, False])
        body = None if wanted is None else {"completed": wanted}
        model = self._model.toggle if wanted is None else self._model.complete if wanted else self._model.reopen

        def act(options: WriteOptions) -> Awaitable[Committed]:
            return model(self.name, task, options)

        await self._write(Write("complete", "PATCH", f"{self.path(task)}/complete", body, act, task))

    async def _delete(self) -> None:
        task = self._some_task()

        def act(options: WriteOptions) -> Awaitable[Committed]:
            return self._model.delete(self.name, task, options)

        await self._write(Write("delete", "DELETE", self.path(task), None, act, task))

    async def _history(self) -> None:
        """A task's changes, page by page."""
        task, limit, after = self._some_task(), self._chance.choice([1, 3, 50]), None
        while True:
            query = ChangeQuery(of=task, newest_first=True, limit=limit, after=after)
            target = f"{self.path(task)}/history?limit={limit}{f'&cursor={after.number}' if after else ''}"
            if (answer := await self._ask("history", "GET", target)) is None:
                return
            if (page := await self._outcome(answer, self._model.history(self.name, query))) is None:
                return
            self._require_history(answer, page)
            if page.next is None or self._chance.random() < 0.5:
                return
            after = Place(page.next.number, task)

    def _require_history(self, answer: Answer, page: ChangePage) -> None:
        body = json.loads(answer.body)
        moments = [datetime.fromisoformat(item.pop("at")) for item in body["items"]]
        require(moments == sorted(moments, reverse=True), answer, "the newest first")
        require(body["items"] == list(map(happened, page.items)), answer, list(map(happened, page.items)))
        require(body["next_cursor"] == (f"{page.next.number}" if page.next else None), answer, page.next)

    async def _summary(self) -> None:
        if (answer := await self._ask("summary", "GET", f"/api/{self.name}/summary")) is not None:
            counted = await self._model.summary(self.name)
            expected = {"open": counted.open, "completed": counted.completed}
            expected |= {"by_tag": dict(counted.by_tag), "by_priority": dict(counted.by_priority)}
            expected |= {"by_list": dict(counted.by_list)}
            require(answer.status == 200 and json.loads(answer.body) == expected, answer, expected)

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
