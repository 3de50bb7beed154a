"""The key under which a caller may ask for one creation any number of times, and have it happen once."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NewType

from todo_core.errors import InvalidInput, Problem
from todo_core.task import Task

IdempotencyKey = NewType("IdempotencyKey", str)
"""What a caller names one creation by, unique among that owner's; compared exactly. Make one with `idempotency_key`."""

KEY_LIFE: Final = timedelta(hours=24)
"""For how long at least a key is remembered."""

KEY_LENGTH: Final = 255
KEY_RULE: Final = f"must be 1 to {KEY_LENGTH} printable ASCII characters"
_KEY = re.compile(rf"[\x20-\x7e]{{1,{KEY_LENGTH}}}")


def idempotency_key(text: str) -> IdempotencyKey:
    """The key that `text` is. Raises `InvalidInput` unless it is 1 to 255 printable ASCII characters."""
    if _KEY.fullmatch(text) is None:
        raise InvalidInput([Problem("idempotency_key", KEY_RULE)])
    return IdempotencyKey(text)


@dataclass(frozen=True, slots=True)
class Creation:
    """What came of asking for a task under a key: the task as it was created, and whether an earlier call did it."""

    task: Task
    replayed: bool


def asks_for_the_same(one: Task, other: Task) -> bool:
    """Whether two new tasks differ only in what their makers did not choose: the id and the moment."""
    return (one.title, one.description, one.completed) == (other.title, other.description, other.completed)
