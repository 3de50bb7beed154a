"""The attacks of `benchmarks.neighbour` are as bad as the limits allow: one that is refused would prove nothing."""

import re
from pathlib import Path

import pytest

from benchmarks.neighbour import LONG_HEADERS, SEARCHES
from todo_adapters.postgres.listing import repeats_at_its_end
from todo_core.queries import SEARCH_LENGTH, folded, is_search
from todo_core.task import DESCRIPTION_LENGTH, is_description


@pytest.mark.parametrize("kind", SEARCHES)
def test_each_search_has_the_maximum_length_and_nearly_matches_its_text(kind: str) -> None:
    text, needle = SEARCHES[kind]
    assert is_search(needle)
    assert len(folded(needle)) == SEARCH_LENGTH
    assert is_description(text)
    assert len(text) == DESCRIPTION_LENGTH
    assert folded(needle) not in folded(text)
    assert folded(needle)[1:-1] in folded(text)


def test_searches_cover_both_search_methods_of_the_database() -> None:
    assert {repeats_at_its_end(folded(needle)) for _, needle in SEARCHES.values()} == {True, False}


def test_the_search_uses_the_character_that_grows_most_when_folded() -> None:
    widest = folded(SEARCHES["grows when it is folded"].text[0])
    assert len(widest) == max(len(folded(chr(number))) for number in range(0x110000) if not 0xD800 <= number < 0xE000)


def test_long_headers_are_of_every_kind_that_is_parsed() -> None:
    sources = "".join(path.read_text() for path in (Path(__file__).parents[1] / "src/todo_app").rglob("*.py"))
    parsed = set(re.findall(r'\.header\(b"([a-z-]+)"\)', sources))
    by_the_sdk = {"accept", "mcp-protocol-version"}
    assert {name.lower() for name in LONG_HEADERS} - {"x-request-id"} == parsed | by_the_sdk
