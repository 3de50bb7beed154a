"""The system's clock, and ids made from the system's randomness."""

import os
from datetime import UTC, datetime
from random import Random
from threading import Lock
from typing import Final
from uuid import UUID

from todo_core import TaskId

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION_AND_VARIANT: Final = 7 << 76 | 0b10 << 62
_TAIL_BITS: Final = 62


class SystemClock:
    """The operating system's clock."""

    def now(self) -> datetime:
        """The present moment in UTC, to the microsecond."""
        return datetime.now(UTC)


class SystemIds:
    """UUIDv7 (RFC 9562 §5.7), with the microseconds in `rand_a` (§6.2, method 3).

    The standard library has them from 3.14 only, and without a given moment. Ids sort by moment; consecutive ids of the
    same moment in the order of the calls. Not for secrets: from one id, its neighbours can be guessed.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._lock = Lock()
        self._random = Random()  # noqa: S311  (not a secret; seeded by the operating system)
        self._last_moment = -1
        self._last = 0

    def new(self, at: datetime) -> TaskId:
        """A new id for `at`. Raises `ValueError` for a moment before 1970, which the format cannot hold."""
        if self._process != os.getpid():  # forked: parent and child must not make the same ids, nor share a lock
            self._start()
        since = at - _EPOCH
        moment = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        if moment < 0:
            raise ValueError("a UUIDv7 cannot hold a moment before 1970")
        with self._lock:
            return TaskId(_uuid7(self._number(moment)))

    def _number(self, moment: int) -> int:
        """48 bits of milliseconds, 12 of microseconds, 62 random; greater than the previous one of that moment."""
        if moment == self._last_moment:
            self._last += 1 + self._random.getrandbits(32)
        else:
            milliseconds, microseconds = divmod(moment, 1000)
            fraction = milliseconds << 12 | microseconds * 4096 // 1000
            # One random bit less, to leave room for increments.
            self._last = fraction << _TAIL_BITS | self._random.getrandbits(_TAIL_BITS - 1)
            self._last_moment = moment
        return self._last


def _uuid7(number: int) -> UUID:
    milliseconds = number >> 74
    fraction = number >> _TAIL_BITS & 0xFFF
    tail = number & (1 << _TAIL_BITS) - 1
    return UUID(int=milliseconds << 80 | fraction << 64 | tail | _VERSION_AND_VARIANT)
