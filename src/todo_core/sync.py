"""Synchronization: pages of changes for a client that keeps a copy, from a place in the owner's log on."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from hashlib import blake2b
from typing import Final, NamedTuple, Self
from uuid import UUID

from todo_core.changes import LIMIT_DEFAULT, LIMIT_MAX, Entry, Kind, kind_of
from todo_core.errors import InvalidInput, Problem, ResyncRequired
from todo_core.lists import Thing
from todo_core.task import OwnerId, require_limit

TOKEN_RULE: Final = "must be the `next` of an earlier page, or the id of an event, of the same user"  # noqa: S105
SINCE_RULE: Final = "must be a SyncToken: SyncToken.decode reads its text"
TOKEN_PATTERN: Final = "^[A-Za-z0-9_-]{76}$"  # noqa: S105
_FORM: Final = struct.Struct(">B8sqq16s16s")
_NONE: Final = UUID(int=0)
_BEHIND_ALL: Final = UUID(int=2**128 - 1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)


class Stage(IntEnum):
    """What the next page contains."""

    CHANGES = 1
    LISTING = 2
    """A first sync is under way: the things after `listed`."""
    LISTED = 3
    """A first sync has listed everything: the changes since it began. No new listing starts here, so that it ends."""


class Mark(NamedTuple):
    """A place in an owner's log, just after one entry, and the moment of that entry.

    If the log was empty, `id` is None and the moment is that of the query.
    """

    number: int
    id: UUID | None
    at: datetime

    @property
    def place(self) -> tuple[int, UUID]:
        """A key for comparison: places after this one compare greater."""
        return self.number, _BEHIND_ALL if self.id is None else self.id


@dataclass(frozen=True, slots=True)
class SyncToken:
    """How far a client has synchronized: everything up to `mark`; in a first sync, the things up to the id `listed`."""

    mark: Mark
    stage: Stage = Stage.CHANGES
    listed: UUID = _NONE

    def encode(self, owner: OwnerId) -> str:
        """The token as opaque text that is safe in a URL, valid for that owner only."""
        number, thing, at = self.mark
        packed = _FORM.pack(
            self.stage, _digest(owner), number, (at - _EPOCH) // _TICK, (thing or _NONE).bytes, self.listed.bytes
        )
        return urlsafe_b64encode(packed).decode()

    @classmethod
    def decode(cls, text: str, owner: OwnerId) -> Self:
        """The token from what `encode` returned for that owner. Raises `InvalidInput` for anything else."""
        try:
            stage, whose, number, ticks, thing, listed = _FORM.unpack(urlsafe_b64decode(text.encode("ascii")))
            mark = Mark(number, UUID(bytes=thing) if any(thing) else None, _EPOCH + ticks * _TICK)
            token = cls(mark, Stage(stage), UUID(bytes=listed))
        except (ValueError, OverflowError, struct.error) as problem:
            raise _bad_token() from problem
        # No page returned this: another base64 spelling, a negative number, or `listed` outside a listing.
        made_up = token.encode(owner) != text or number < 0 or (any(listed) and token.stage is not Stage.LISTING)
        if made_up or whose != _digest(owner):
            raise _bad_token()
        return token


def _digest(owner: OwnerId) -> bytes:
    return blake2b(owner.encode(), digest_size=8).digest()


def _bad_token() -> InvalidInput:
    return InvalidInput([Problem("since", TOKEN_RULE)])


@dataclass(frozen=True, slots=True)
class SyncItem:
    """A thing in its present state; `value` is None if it has been deleted."""

    kind: Kind
    id: UUID
    value: Thing | None


@dataclass(frozen=True, slots=True)
class SyncPage:
    """One page for a synchronizing client, each thing once, and the token for the next page.

    `more`: the next page can be fetched now. `full`: the page belongs to a first sync, and is never its last page; what
    the client had before and finds on no such page has been deleted.
    """

    items: tuple[SyncItem, ...]
    next: SyncToken
    more: bool
    full: bool = False

    @property
    def here(self) -> SyncToken:
        """On the first page of a first sync: the end of the log at that moment."""
        return SyncToken(self.next.mark)


@dataclass(frozen=True, slots=True)
class LogState:
    """The state of an owner's log at one moment.

    `number`: that of the last change. `live`: how many things the owner has. `last`: the last entry. `near`: the last
    entry whose number is at most that of the client's mark.
    """

    number: int
    live: int
    last: Mark | None = None
    near: Mark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncQuery:
    """A request for the page after `since`; without it, for the first page of everything.

    `now`: the present moment. Changes before `kept_since` may have been pruned. `limit`: how many things, or log
    entries, a page covers at most. Raises `InvalidInput` for a limit outside 1 to 200, and a `since` that is no
    `SyncToken`.
    """

    now: datetime
    kept_since: datetime
    since: SyncToken | None = None
    limit: int = LIMIT_DEFAULT

    def __post_init__(self) -> None:
        require_limit(self.limit, LIMIT_MAX)
        if not (self.since is None or isinstance(self.since, SyncToken)):
            raise InvalidInput([Problem("since", SINCE_RULE)])

    @property
    def lists(self) -> bool:
        """Whether it asks for a listing of things, rather than for changes."""
        return self.since is None or self.since.stage is Stage.LISTING

    @property
    def behind(self) -> tuple[int, UUID]:
        """The number and id in the log after which the page starts."""
        return self.since.mark.place if self.since else (0, _NONE)

    @property
    def listed(self) -> UUID:
        """The id after which the listing starts."""
        return self.since.listed if self.since and self.lists else _NONE

    def page_of(self, things: Iterable[Thing], log: Iterable[Entry], number: int = 0) -> SyncPage:
        """The page, computed from all of an owner's things and the whole log: the reference for every storage.

        `number`: that of the last change, in case its entries have been pruned. Raises `ResyncRequired`.
        """
        current: dict[tuple[Kind, UUID], Thing] = {(kind_of(thing), thing.id): thing for thing in things}
        marked = {Mark(entry.number, entry.id, entry.at): entry.kind for entry in log}
        marks = sorted(marked, key=lambda mark: mark.place)
        near = [mark for mark in marks if mark.number <= self.behind[0]]
        last = marks[-1] if marks else None
        number = last.number if last else number
        state = LogState(number, len(current), last, near[-1] if near else None)
        if not self.lists and not self.is_far_behind(state):
            entries = [mark for mark in marks if mark.place > self.behind][: self.limit]
            items = [SyncItem(marked[mark], mark.place[1], None) for mark in entries]
            now = [replace(item, value=current.get((item.kind, item.id))) for item in items]
            return self.changed(state, list(zip(entries, now, strict=True)))
        query = self if self.lists else replace(self, since=None)
        ordered = sorted((thing for thing in current.values() if thing.id > query.listed), key=lambda thing: thing.id)
        return query.listing(state, ordered)

    def is_far_behind(self, state: LogState) -> bool:
        """Whether listing all things takes fewer items than reporting the changes. Raises `ResyncRequired`."""
        self._check(state)
        behind = state.number - self.behind[0]
        return self.since is not None and self.since.stage is Stage.CHANGES and behind > max(state.live, self.limit)

    def changed(self, state: LogState, entries: Sequence[tuple[Mark, SyncItem]]) -> SyncPage:
        """The page of changes, from the first `limit` entries after the mark, each with its thing's present state.

        Of several entries about one thing, all but the last may be left out.
        """
        assert self.since is not None  # noqa: S101  (a query without `since` lists)
        if not entries:
            return SyncPage((), SyncToken(self.since.mark), more=False)
        last = entries[-1][0]
        items = {(item.kind, item.id): item for _, item in reversed(entries)}
        more = state.last is not None and state.last.place > last.place
        return SyncPage(tuple(reversed(items.values())), SyncToken(last), more)

    def listing(self, state: LogState, things: Sequence[Thing]) -> SyncPage:
        """The page of a first sync, from the things after `listed` by id: pass one more than `limit`, if there is one.

        The token keeps the place in the log where the listing began; changes from there on follow the listing. Raises
        `ResyncRequired`.
        """
        self._check(state)
        mark = self.since.mark if self.since else state.last or Mark(state.number, None, self.now)
        items = tuple(SyncItem(kind_of(thing), thing.id, thing) for thing in things[: self.limit])
        if len(things) > self.limit:
            return SyncPage(items, SyncToken(mark, Stage.LISTING, items[-1].id), more=True, full=True)
        return SyncPage(items, SyncToken(mark, Stage.LISTED), more=True, full=True)

    def _check(self, state: LogState) -> None:
        """Raise `ResyncRequired` unless the token is of this log, and everything after its mark is still there."""
        if self.since is None:
            return
        mark, near = self.since.mark, state.near
        at_end = mark.place >= state.last.place if state.last else mark.number == state.number
        forgotten = not at_end and (state.last is None or mark.at < self.kept_since)
        if mark.number > state.number or forgotten or not _is_of(mark, near):
            raise ResyncRequired


def _is_of(mark: Mark, near: Mark | None) -> bool:
    """Whether the mark belongs to the log whose last entry up to the mark's number is `near`.

    After a backup is restored, new changes take the same numbers again, at other moments. The entry itself may be gone:
    pruned, or erased.
    """
    if near is None or mark.id is None:
        return near is None
    return near.at == mark.at if near.number == mark.number else near.at <= mark.at
