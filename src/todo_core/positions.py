"""Positions: texts that sort by code point, with room between any two (a fractional index).

A new thing's position is the digits of its id. Ids grow with time, so it sorts last. Clocks differ, and what is made
first may be stored second: in a list or below a task, it then comes `just_behind` the sibling with the later id. A move
takes the shortest text between the two neighbours. If that would exceed 32 characters, all siblings get new positions,
which sort before all ids.
"""

from typing import Final

from todo_core.task import POSITION_LENGTH

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_BASE: Final = len(_DIGITS)
_FRONT: Final = "000"  # smaller than a UUIDv7 of any year after 1970
_SPREAD: Final = 4  # digits, for 1.6 million siblings
_BEHIND: Final = 20  # digits: an id's time, a million positions before the next microsecond's, and room behind each


def between(low: str, high: str | None) -> str | None:
    """The shortest position after `low` ("" for the beginning) and before `high` (None for the end).

    None if it would be longer than 32 characters.
    """
    made, is_low, is_high = "", True, high is not None
    for place in range(POSITION_LENGTH):
        first = _DIGITS.index(low[place]) if is_low and place < len(low) else -1
        end = _BASE
        if is_high:
            if place == len(high or ""):
                return None
            end = _DIGITS.index((high or "")[place])
        digit = max(first, 0) if end - first < 2 else (first + end) // 2
        if first < digit < end and digit > 0:  # nothing sorts between "a" and "a0": a final 0 leaves no room before it
            return made + _DIGITS[digit]
        made += _DIGITS[digit]
        is_low = is_low and digit == max(first, 0)
        is_high = is_high and digit == end
    return None


def just_behind(last: str) -> str | None:
    """A position soon after `last`, with room between them unless `last` has 32 characters and ends with 12 times `z`.

    If `last` is an id, it sorts before all ids of later microseconds. None if nothing sorts after `last`.
    """
    number = int(last[:_BEHIND].ljust(_BEHIND, "0"), _BASE) + 1
    return None if number == _BASE**_BEHIND else _numeral(number, _BEHIND).rstrip("0")


def spread(count: int) -> list[str]:
    """That many positions in order, evenly spaced, all sorting before those of new things."""
    step = _BASE**_SPREAD // (count + 1)
    return [_FRONT + _numeral(step * place, _SPREAD) for place in range(1, count + 1)]


def _numeral(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, _BASE)
        text = _DIGITS[digit] + text
    return text
