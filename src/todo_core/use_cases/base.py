"""What every use case has: the ports, and `_commit`, by which all of them write."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NoReturn

from todo_core.idempotency import Once
from todo_core.plans import Committed, Decision, Plan
from todo_core.ports import Clock, IdGenerator, RecurrenceCalendar, TaskStore
from todo_core.recurring import Course, NoCalendar, Now
from todo_core.seen import Seen, Sees
from todo_core.task import OwnerId
from todo_core.versioned import Expected, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """The conditions of a write.

    `expected`: the version, or versions, that the thing must have. `base`: the version that an edit is based on; it is
    refused with `MergeConflict` if a member that it sets has changed since. `once`: the key under which a repetition
    changes nothing. `client`: the calling program, for the log. `zone`: the user's time zone, for tasks without one;
    a write that depends on it raises `InvalidInput` for an unknown one. Raises `TypeError` for a value of another type.
    """

    expected: Expected = None
    base: Version | None = None
    once: Once | None = None
    client: str | None = None
    zone: str | None = None

    def __post_init__(self) -> None:
        if not (self.expected is None or _are_versions(self.expected)):
            self._refuse("expected", "a version, or several")
        if not (self.base is None or isinstance(self.base, int)):
            self._refuse("base", "a version")
        if not (self.once is None or isinstance(self.once, Once)):
            self._refuse("once", "a Once")
        if not (self.client is None or isinstance(self.client, str)):
            self._refuse("client", "the name of a program")
        if not (self.zone is None or isinstance(self.zone, str)):
            self._refuse("zone", "the name of a time zone")

    def _refuse(self, name: str, kind: str) -> NoReturn:
        raise TypeError(f"{name} must be {kind}, not {type(getattr(self, name)).__name__}")


def _are_versions(value: object) -> bool:
    if isinstance(value, int):
        return True
    return isinstance(value, Collection) and all(isinstance(each, int) for each in value)


DEFAULTS: Final = WriteOptions()


def require_options(options: object) -> None:
    """Raise `TypeError` unless these are `WriteOptions`: what is meant for another parameter may have landed here."""
    if not isinstance(options, WriteOptions):
        raise TypeError(f"options must be WriteOptions, not {type(options).__name__}: name the arguments after it")


def _nobody(owner: OwnerId, number: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class UseCases:
    """The ports that use cases need."""

    store: TaskStore
    clock: Clock
    ids: IdGenerator
    history_kept: timedelta = timedelta(days=30)
    """How long the store keeps changes, and with them what was deleted."""
    calendar: RecurrenceCalendar = field(default_factory=NoCalendar)
    on_change: Callable[[OwnerId, int], object] = _nobody
    """Called with the owner and the number of each change made by this service, after it is stored."""

    def _course(self) -> Course:
        return Course(self.calendar)

    def _now(self, options: WriteOptions) -> Now:
        require_options(options)
        return Now(self.clock.now(), options.zone)

    def _fresh(self, at: datetime) -> str:
        """A new position: the digits of a new id."""
        return self.ids.new(at).hex

    def _commit(
        self, owner: OwnerId, sees: Sees, decide: Callable[[Seen], Decision], options: WriteOptions
    ) -> Awaitable[Committed]:
        require_options(options)
        return self._carry_out(owner, Plan(decide=decide, sees=sees, once=options.once, client=options.client))

    async def _carry_out(self, owner: OwnerId, plan: Plan) -> Committed:
        """Commit that plan, and call `on_change` with the number of its change."""
        committed = await self.store.tasks_of(owner).commit(plan)
        if committed.change is not None:
            self.on_change(owner, committed.change)
        return committed
