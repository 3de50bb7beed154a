"""The ports: what the core needs from the outside. The docstrings are the contract that `todo_core.testing` tests."""

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
    """One owner's tasks, lists and log. Another owner's cannot be reached from here.

    Every method may raise `StoreUnavailable`. When a method has returned, its effect is durable and visible to every
    later call from any process (linearizability, Herlihy & Wing 1990). A cancelled commit is stored completely or not
    at all.
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
        """Carry out `plan` atomically: its pairs and their change are stored while what it saw still holds, or nothing.

        Stores what `plans.decided` returns, and logs the pairs as one change. An owner's changes are numbered from 1 in
        the order in which they are stored, without gaps; a decision without pairs takes no number. If the key of
        `plan.once` was used before, nothing is decided: the outcome of the first plan under that key is returned, as it
        was then. A key is stored atomically with its write, also if that changed nothing, and kept for at least
        `KEY_LIFE`; a refused plan does not use its key.

        Raises what `decided` raises; `TaskExists` for a creation with an id that the owner has; `KeyReused` if the key
        was used with another fingerprint; `TooMany` if the plan adds tasks, or lists, beyond the storage's limit for
        one owner. When it raises, nothing is stored.
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
    """The storage of all owners' tasks, accessible one owner at a time."""

    def tasks_of(self, owner: OwnerId) -> OwnedTasks:
        """That owner's tasks and nothing else; does no I/O. Raises `InvalidInput` as `owner_id` does."""
        ...

    async def changed(self, seen: Mapping[OwnerId, int]) -> Mapping[OwnerId, int]:
        """The number of each owner's last change, for those of these owners whose number differs from the one given.

        Owners without changes are left out. It is called several times a second, so it must cost one look-up per owner.
        """
        ...

    async def ready(self) -> None:
        """Return if the storage can answer now; otherwise raise `StoreUnavailable` within a few seconds."""
        ...

    async def aclose(self) -> None:
        """Close the storage after all calls under way have been answered. No call may follow."""
        ...


class Clock(Protocol):
    """The current time."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        ...


class IdGenerator(Protocol):
    """Makes ids."""

    def new(self, at: datetime) -> TaskId:
        """A new UUIDv7 for a task created `at` that moment. Ids sort by that moment, to the microsecond."""
        ...


class RecurrenceCalendar(Protocol):
    """Computes the occurrences of a recurrence rule, in wall-clock time without a time zone."""

    def after(self, rule: Recurrence, anchor: datetime, moment: datetime, *, skip: int = 0) -> Iterator[datetime]:
        """The occurrences of `rule` counted from `anchor` that come after `moment`, in order, without the first `skip`.

        Follows RFC 5545 §3.3.10 with two exceptions: the anchor is an occurrence only if the rule names its day, and a
        monthly or yearly rule without BYDAY and BYMONTHDAY means the anchor's day, or the last day of a shorter month.
        Each occurrence has the anchor's time of day. COUNT and UNTIL are ignored; the year 2999 is the last. The cost
        depends neither on the distance between `anchor` and `moment` nor on `skip`; to find that there is no occurrence
        takes a few milliseconds at most.
        """
        ...

    def passed(self, rule: Recurrence, anchor: datetime, moment: datetime) -> int:
        """How many occurrences `after` the anchor there are up to that moment, at no more cost than finding one."""
        ...


class Authenticator(Protocol):
    """Verifies credentials."""

    async def authenticate(self, token: str) -> Identity:
        """The identity that a bearer token proves. Raises `NotAuthenticated` or `IdentityUnavailable`."""
        ...
