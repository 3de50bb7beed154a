"""Random requests of a modelled user: mostly sensible values, and every kind of odd one."""

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
_TAGS = ["home", "Home", "STRASSE", "straße", "a b"]
_DATES = ["2026-12-01", "2026-12-01T17:00:00", "2027-02-28", "2026-12-24T18:30:00"]
_GIVEN = [*_DATES, "2026-12-01T17:00", "2026-12-01T16:00:00Z", "2026-12-01T18:00:00.5+02:00", None]
_BAD_DATES = ["2026-02-30", "tomorrow", "20261201", "1899-12-31", ""]
_ZONES = ["UTC", "Europe/Madrid", "Asia/Kathmandu", None]
_LEVELS = ["high", "medium", "low"]


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
        if self._chance.random() < 0.3:
            content["priority"] = self._chance.choice([*_LEVELS, None])
        if self._chance.random() < 0.3:
            content["tags"] = self._chance.choice([None, *(self._chance.choices(_TAGS, k=count) for count in range(4))])
        for name, share in {"due_date": 0.3, "start_date": 0.1}.items():
            if self._chance.random() < share:
                content[name] = self._chance.choice(_BAD_DATES if self._chance.random() < 0.05 else _GIVEN)
        if self._chance.random() < 0.2:
            content["time_zone"] = self._chance.choice(
                [*_ZONES, "Mars/Olympus"] if self._chance.random() < 0.1 else _ZONES
            )
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

    def query(self, places: Mapping[Sort, str]) -> tuple[list[tuple[str, str]], TaskQuery]:
        """A listing's parameters and what they mean; it goes on at one of these places, or begins."""
        chance = self._chance
        wanted = self._filters()
        given = [(name, text) for name, texts, _ in wanted for text in texts]
        query: dict[str, Any] = {name: value for _, _, values in wanted for name, value in values.items()}
        sort = chance.choice(_SORTS) if chance.random() < 0.6 else Sort.NEWEST
        if sort is not Sort.NEWEST:
            given.append(("sort", sort.value))
        limit = chance.choice([1, 2, 5, 10, 20, 50, 200])
        if limit != 50:
            given.append(("limit", f"{limit}"))
        after = places.get(sort) if chance.random() < 0.6 else None
        if after is not None:
            given.append(("cursor", after))
        place = Cursor.decode(after) if after else None
        return given, TaskQuery(sort=sort, limit=limit, after=place, **query)

    def _filters(self) -> list[tuple[str, list[str], dict[str, Any]]]:
        """Some filters: the parameter, its texts, and what they mean."""
        chance, found = self._chance, list[tuple[str, list[str], dict[str, Any]]]()
        if chance.random() < 0.3:
            found.append(("q", [search := chance.choice(_SEARCHES)], {"search": search}))
        if (completed := chance.choice([None, None, True, False])) is not None:
            found.append(("completed", ["true" if completed else "false"], {"completed": completed}))
        if chance.random() < 0.15:
            levels = chance.choices([*_LEVELS, "none"], k=2)
            kept = frozenset(None if level == "none" else level for level in levels)
            found.append(("priority", [",".join(levels)], {"priorities": kept}))
        if chance.random() < 0.15:
            tags = chance.choices(_TAGS, k=chance.choice((1, 1, 2)))
            found.append(("tag", tags, {"tags": tuple(tags)}))
        for name in ("due_from", "due_before"):
            if chance.random() < 0.1:
                found.append((name, [date := chance.choice(_DATES)], {name: date}))
        return found
