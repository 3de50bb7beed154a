"""Reads the query of a listing, and names everything in it that is wrong."""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from todo_app.http.names import escaped, unknown
from todo_core import Cursor, InvalidInput, Problem, Sort, TaskQuery
from todo_core.queries import LIMIT_RULE, PAGE_DEFAULT, PAGE_MOST, SEARCH_RULE, is_search
from todo_core.task import with_line_feeds

_DIGITS = re.compile(r"[0-9]{1,9}")


def read_query(query_string: bytes) -> TaskQuery:
    """The listing that a query string asks for. Raises `InvalidInput`, naming the parameters at fault."""
    if not query_string:
        return _FIRST_PAGE
    problems: list[Problem] = []
    values: dict[str, object] = {}
    for name, text in _parameters(query_string):
        if name in values:
            problems.append(Problem(escaped(name), "must be given once"))
            continue
        values[name] = None
        try:
            values[name] = _PARAMETERS[name](text)
        except KeyError:
            problems.append(unknown(name, _PARAMETERS))
        except ValueError as error:
            problems.append(Problem(name, str(error)))
        except InvalidInput as error:
            problems.extend(error.problems)
    if problems:
        raise InvalidInput(problems)
    return TaskQuery(**{_ATTRIBUTES.get(name, name): value for name, value in values.items()})  # type: ignore[arg-type]


def _parameters(query_string: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:  # covers UnicodeDecodeError
        raise InvalidInput([Problem("", "the query must be at most 20 parameters in percent-encoded UTF-8")]) from None


def _completed(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _limit(text: str) -> int:
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= PAGE_MOST:
        raise ValueError(LIMIT_RULE)
    return int(text)


def _search(text: str) -> str:
    if not is_search(with_line_feeds(text)):
        raise ValueError(SEARCH_RULE)
    return text


def _sort(text: str) -> Sort:
    if text not in list(Sort):
        raise ValueError(f"must be one of {', '.join(Sort)}")
    return Sort(text)


_FIRST_PAGE: Final = TaskQuery(limit=PAGE_DEFAULT)
_PARAMETERS: Final[dict[str, Callable[[str], object]]] = {
    "completed": _completed,
    "q": _search,
    "sort": _sort,
    "limit": _limit,
    "cursor": Cursor.decode,
}
_ATTRIBUTES: Final = {"q": "search", "cursor": "after"}
