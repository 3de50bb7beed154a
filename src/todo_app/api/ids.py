"""Reads the ids and numbers that paths, queries and cursors name."""

import re
from typing import Final
from uuid import UUID

from todo_core import ChangeNotFound, TodoError

UUID_TEXT: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
"""A UUID as RFC 9562 §4 writes it; a reader accepts upper case too."""
NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
"""The number of a change."""


def read_id(text: str, missing: type[TodoError]) -> UUID:
    """The id in a path. Raises `missing` for anything else."""
    if not UUID_TEXT.fullmatch(text.lower()):
        raise missing
    return UUID(text)


def read_number(text: str) -> int:
    """The number of a change in a path. Raises `ChangeNotFound` for anything else."""
    if not NUMBER.fullmatch(text):
        raise ChangeNotFound
    return int(text)
