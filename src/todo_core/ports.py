"""What the core needs from the world. The docstrings are the contract; `todo_core.testing` proves a storage."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Protocol

from todo_core.changes import ChangePage, ChangeQuery
from todo_core.identity import Identity
from todo_core.lists import TaskList
from todo_core.plans import Committed, Plan
from todo_core.queries import Page, Summary, TaskQuery
from todo_core.recurrence import Recurrence
from todo_core.sync import SyncPage, SyncQuery
from todo_core.task import OwnerId, Task, TaskId


class OwnedTasks(Protocol):
    """One owner's tasks and their log. There is no way to reach another owner's from here.

    Every method may raise `StoreUnavailable`. What a method has returned from is durable, and every later call, from
    any process, sees it (linearizability, Herlihy & Wing 1990). A cancelled commit is stored wholly or not at all.
    """

    async def get(self, task_id: TaskId) -> Task:
        """The task as last written. Raises `TaskNotFound`."""
        ...

    async def page(self, query: TaskQuery) -> Page:
        """What `query.page_of` returns for all of the owner's tasks, as of one moment."""
        ...

    async def lists(self) -> tuple[TaskList, ...]:
        """All of the owner's lists by position, as of one moment."""
        ...

    async def summary(self) -> Summary:
        """What `Summary.of` returns for all of the owner's tasks, as of one moment."""
        ...

    async def commit(self, plan: Plan) -> Committed:
        """Carry out `plan` atomically: what it saw is still so when its pairs and their change are stored, or none is.

        What `plans.decided` returns is stored, and the pairs are kept as one change in the log. Changes of one owner
        are numbered from 1 in the order in which they are stored, without gaps; a decision without pairs takes no
        number. Where `plan.once` is given and its key was used, nothing is decided, and the outcome of the plan that
        used it first is returned, as it was then, whatever has become of its tasks since. A key is kept together with
        what was done under it, for `KEY_LIFE` at least, also where that was nothing; a refused plan leaves its key
        unused.

        Raises what `decided` raises; `TaskExists` for a creation with an id that the owner has; `KeyReused` where the
        key was used with another fingerprint; `TooMany` where more tasks, or lists, would be left than the storage
        allows an owner, and than there were. In each case all stays as it was.
        """
        ...

    async def changes(self, query: ChangeQuery) -> ChangePage:
        """What `query.page_of` returns for the owner's whole log, as of one moment. Old entries may be forgotten."""
        ...

    async def sync(self, query: SyncQuery) -> SyncPage:
        """What `query.page_of` returns for all of the owner's things and the whole log, as of one moment.

        Raises `ResyncRequired`.
        """
        ...


class TaskStore(Protocol):
    """Where tasks are kept, reachable only owner by owner."""

    def tasks_of(self, owner: OwnerId) -> OwnedTasks:
        """That owner's tasks and nothing else; touches no storage yet. Raises `InvalidInput` as `owner_id` does."""
        ...

    async def changed(self, seen: Mapping[OwnerId, int]) -> Mapping[OwnerId, int]:
        """The number of the last change of each of these owners, but of those for whom it is the one given.

        Owners who never changed anything are left out. Costs one look-up an owner: it is asked several times a second.
        """
        ...

    async def ready(self) -> None:
        """Return if the storage can answer now; raise `StoreUnavailable` within a few seconds if not."""
        ...

    async def aclose(self) -> None:
        """Return when every call so far has its answer; none may follow."""
        ...


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        ...


class IdGenerator(Protocol):
    """Where identities come from."""

    def new(self, at: datetime) -> TaskId:
        """A fresh UUIDv7 for a task created `at` that moment: ids sort as the moments do, to the microsecond."""
        ...


class RecurrenceCalendar(Protocol):
    """Which days a rule of recurrence names: arithmetic with what clocks show, in no zone."""

    def after(self, rule: Recurrence, anchor: datetime, moment: datetime, *, skip: int = 0) -> Iterator[datetime]:
        """When a task recurs by `rule`, from `anchor` on and after `moment`, in order, but for the first `skip`.

        As RFC 5545 §3.3.10 says, with two exceptions. The anchor is among them only where the rule names it. A monthly
        or yearly rule without BYDAY and BYMONTHDAY means the anchor's day, or the last of a shorter month. Each is at
        the anchor's time of day; COUNT and UNTIL are left aside. It ends with the year 2999. What it costs grows
        neither with the distance between `anchor` and `moment` nor with `skip`, and to find that there is none takes a
        few milliseconds at most.
        """
        ...


class Authenticator(Protocol):
    """Who is calling."""

    async def authenticate(self, token: str) -> Identity:
        """Whom a bearer token proves, and what it allows. Raises `NotAuthenticated`, or `IdentityUnavailable`."""
        ...
