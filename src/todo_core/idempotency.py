"""The key under which a caller may ask for one write any number of times, and have it happen once."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NewType

from todo_core.errors import InvalidInput, Problem

IdempotencyKey = NewType("IdempotencyKey", str)
"""What a caller names one write by, unique among that owner's; compared exactly. Make one with `idempotency_key`."""

KEY_LIFE: Final = timedelta(hours=24)
"""For how long at least a key is remembered."""

KEY_LENGTH: Final = 255
KEY_RULE: Final = f"must be 1 to {KEY_LENGTH} printable ASCII characters"
FINGERPRINT_LENGTH: Final = 64
_KEY = re.compile(rf"[\x20-\x7e]{{1,{KEY_LENGTH}}}")
_FINGERPRINT = re.compile(rf"[\x20-\x7e]{{0,{FINGERPRINT_LENGTH}}}")


def idempotency_key(text: str) -> IdempotencyKey:
    """The key that `text` is. Raises `InvalidInput` unless it is 1 to 255 printable ASCII characters."""
    if _KEY.fullmatch(text) is None:
        raise InvalidInput([Problem("idempotency_key", KEY_RULE)])
    return IdempotencyKey(text)


@dataclass(frozen=True, slots=True)
class Once:
    """Do it once under this key, as long as the request is the same.

    `fingerprint` stands for the request: two requests that differ have different ones (a digest, at most 64 printable
    ASCII characters; else `ValueError`).
    """

    key: IdempotencyKey
    fingerprint: str

    def __post_init__(self) -> None:
        if _FINGERPRINT.fullmatch(self.fingerprint) is None:
            raise ValueError("a fingerprint is at most 64 printable ASCII characters, such as a digest in hexadecimal")
