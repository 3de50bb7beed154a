"""What a modelled user asks for, drawn at random: sensible values mostly, and every kind of odd one sooner or later."""

from collections.abc import Mapping
from random import Random
from typing import Any

from todo_core import Cursor, Sort, TaskQuery, Version

_WORDS = [
    "Milk",
    "milch",
    "STRASSE",
    "straße",
    "İstanbul",
    "ﬁle",
    "Ärger",
    "ärger",
    "買う",
    "🥛",
    "50% off",
    "a_b",
    "\\",
]
_SEARCHES = ["milk", "MI", "strasse", "i̇", "file", "%", "_", "\\", "🥛", "nowhere", " ", "Ä"]
_BAD_TITLES = ["", "   ", "x" * 201, "a\x00b", "a\nb"]
_SORTS = list(Sort)


class Wishes:
    """Draws from `chance`, so that a seed gives the same wishes again."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def _title(self) -> str:
        if self._chance.random() < 0.02:
            return self._chance.choice(_BAD_TITLES)
        return " ".join(self._chance.choices(_WORDS, k=self._chance.choice((1, 1, 2, 3))))

    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"title": self._title()}
        if self._chance.random() < 0.5:
            content["description"] = self._chance.choice([None, "", "two\nlines\tand a tab", *_WORDS])
        if self._chance.random() < 0.2:
            content["completed"] = self._chance.random() < 0.5
        return content

    def expecting(self, now: Version) -> tuple[str, frozenset[Version] | None]:
        """An `If-Match` for a task at that version, and what it means: none, the right one, stale, a list, any."""
        dice = self._chance.random()
        if dice < 0.15:
            return f'If-Match: "{now}"\r\n', frozenset([now])
        if dice < 0.25:
            return f'If-Match: "{now + 1}"\r\n', frozenset([Version(now + 1)])
        if dice < 0.3:
            return f'If-Match: "{now + 5}", "x" , "{now}"\r\n', frozenset([Version(now + 5), Version(0), now])
        if dice < 0.33:
            return f'If-Match: W/"{now}"\r\n', frozenset()
        return ("If-Match: *\r\n" if dice < 0.36 else ""), None

    def query(self, places: Mapping[Sort, str]) -> tuple[dict[str, str], TaskQuery]:
        """A listing's parameters and what they mean; it goes on at one of these places, or begins."""
        chance, given = self._chance, dict[str, str]()
        sort = chance.choice(_SORTS) if chance.random() < 0.6 else Sort.NEWEST
        completed, search = chance.choice([None, None, True, False]), None
        if chance.random() < 0.3:
            search = given["q"] = chance.choice(_SEARCHES)
        if completed is not None:
            given["completed"] = "true" if completed else "false"
        if sort is not Sort.NEWEST:
            given["sort"] = sort
        limit = chance.choice([1, 2, 5, 10, 20, 50, 200])
        if limit != 50:
            given["limit"] = str(limit)
        after = places.get(sort) if chance.random() < 0.6 else None
        if after is not None:
            given["cursor"] = after
        place = Cursor.decode(after) if after else None
        return given, TaskQuery(completed=completed, search=search, sort=sort, limit=limit, after=place)
