"""Idempotency keys: a write that is repeated under the same key happens once."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NewType

from todo_core.errors import InvalidInput, Problem

IdempotencyKey = NewType("IdempotencyKey", str)
"""A caller's name for one write, unique per owner and compared exactly. Make one with `idempotency_key`."""

KEY_LIFE: Final = timedelta(hours=24)
"""How long a key is kept, at least."""

KEY_LENGTH: Final = 255
KEY_RULE: Final = f"must be 1 to {KEY_LENGTH} printable ASCII characters"
FINGERPRINT_LENGTH: Final = 64
_KEY = re.compile(rf"[\x20-\x7e]{{1,{KEY_LENGTH}}}")
_FINGERPRINT = re.compile(rf"[\x20-\x7e]{{0,{FINGERPRINT_LENGTH}}}")


def idempotency_key(text: str) -> IdempotencyKey:
    """`text` as a key. Raises `InvalidInput` unless it is 1 to 255 printable ASCII characters."""
    if not _is_key(text):
        raise InvalidInput([Problem("idempotency_key", KEY_RULE)])
    return IdempotencyKey(text)


def _is_key(value: object) -> bool:
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Once:
    """Makes a write happen once under `key`.

    `fingerprint` identifies the request, so that another request under the same key is refused: a digest of at most 64
    printable ASCII characters. Raises `ValueError` for anything else.
    """

    key: IdempotencyKey
    fingerprint: str

    def __post_init__(self) -> None:
        if _FINGERPRINT.fullmatch(self.fingerprint) is None:
            raise ValueError("a fingerprint is at most 64 printable ASCII characters, such as a digest in hexadecimal")
