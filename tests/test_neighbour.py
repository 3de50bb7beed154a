"""The attacks of `benchmarks.neighbour` are as bad as the limits allow: one that is refused would prove nothing."""

import pytest

from benchmarks.neighbour import SEARCHES
from todo_adapters.postgres.listing import repeats_at_its_end
from todo_core.queries import SEARCH_LENGTH, folded, is_search
from todo_core.task import DESCRIPTION_LENGTH, is_description


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_is_as_long_as_it_may_be_and_reads_every_text_to_its_end(kind: str) -> None:
    text, needle = SEARCHES[kind]
    assert is_search(needle)
    assert len(folded(needle)) == SEARCH_LENGTH
    assert is_description(text)
    assert len(text) == DESCRIPTION_LENGTH
    assert folded(needle) not in folded(text)
    assert folded(needle)[1:-1] in folded(text)


def test_searches_take_both_ways_through_the_database() -> None:
    assert {repeats_at_its_end(folded(needle)) for _, needle in SEARCHES.values()} == {True, False}


def test_no_character_is_longer_folded() -> None:
    widest = folded(SEARCHES["grows when it is folded"].text[0])
    assert len(widest) == max(len(folded(chr(number))) for number in range(0x110000) if not 0xD800 <= number < 0xE000)
