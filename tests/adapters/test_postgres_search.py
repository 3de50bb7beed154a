"""Searches on PostgreSQL find what the core finds, and never cost the length of the search times the text."""

from collections.abc import Sequence
from typing import Any

import pytest
from adapters.statements import store
from effort import examples
from factories import ANN, make_id, make_task
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection

from todo_adapters.postgres.listing import PagesOf, Shape, repeats_at_its_end
from todo_core import Task, TaskQuery
from todo_core.queries import SEARCH_LENGTH, folded, is_search

# Few letters make texts that repeat themselves. The second line: what means something in patterns.
LETTERS = st.sampled_from(["ab", "aΐ", "éü\n", "aßS"]) | st.sampled_from([".*a", "a\\(+", "%_a", "*=a", "^$a"])
NEEDLES = LETTERS.flatmap(lambda letters: st.text(letters, min_size=1, max_size=SEARCH_LENGTH)).filter(is_search)
SIZE = 400  # bytes of a text
UNITS = st.text("abcΐ", min_size=1, max_size=5)
REPETITIVE = st.builds(
    lambda head, unit, times, tail: head + unit * times + tail,
    st.text("abΐ", max_size=4), UNITS, st.integers(0, 40), st.text("abΐ", max_size=4),
).filter(lambda needle: needle != "")  # fmt: skip


def tasks_like(needle: str) -> list[Task]:
    """Tasks that have it, nearly have it, have it twice, or in their description alone."""
    half = needle[: len(needle) // 2]
    near = [needle[1:], needle[:-1], needle[:-1] + "b" + needle, half + "a" + half, needle.swapcase(), needle * 2]
    titled = [
        make_task(id=make_id(number), title=("x" + each.replace("\n", "x"))[:200]) for number, each in enumerate(near)
    ]
    described = [
        make_task(id=make_id(100 + number), description=each[:1000]) for number, each in enumerate([*near, needle])
    ]
    return [*titled, *described]


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NEEDLES)
@example("\n" * 50)
@example("\\" * 50)
@example("***=" * 20)
@example("ΐ" * 33)
@example("b" + "a" * 99)
async def test_a_search_finds_what_the_core_finds(connection: AsyncConnection[Any], needle: str) -> None:
    tasks = tasks_like(needle)
    await connection.execute("truncate tasks, owners, changes")
    await store(connection, tasks)
    query = TaskQuery(search=needle, limit=200)
    assert await PagesOf(Shape.of(query))(connection, [(ANN, query)]) == [query.page_of(tasks)]


def comparisons(needle: bytes, text: bytes) -> int:
    """How many bytes are compared where at each place of the text the needle is tried from its end on."""
    count = 0
    for end in range(len(needle), len(text) + 1):
        for place in range(1, len(needle) + 1):
            count += 1
            if needle[-place] != text[end - place]:
                break
    return count


def hostile_texts(needle: str) -> Sequence[bytes]:
    """Texts that are as much like the needle's end as can be, without having it."""
    raw = needle.encode()
    units = {raw, raw[1:], *(raw[-length:] for length in range(1, min(len(raw), 8)))}
    return [(unit * (SIZE // len(unit) + 1))[:SIZE] for unit in units if unit]


@given(REPETITIVE | NEEDLES)
@example("buy some milk and bread for breakfast")
@example("a" * 50 + "b" + "a" * 49)
@example("ab" * 40 + "b")
def test_a_needle_that_does_not_repeat_is_compared_a_few_times_for_each_byte_of_a_text(needle: str) -> None:
    compared = folded(needle)
    if not repeats_at_its_end(compared):
        assert max(comparisons(compared.encode(), text) for text in hostile_texts(compared)) <= 20 * SIZE


@pytest.mark.parametrize("needle", ["b" + "ΐ" * 33, "ΐ" * 33, "b" + "a" * 99, "x" + "ab" * 49, "é" * 50, "=" * 10])
def test_a_needle_that_repeats_is_searched_for_by_a_regular_expression(needle: str) -> None:
    assert Shape.of(TaskQuery(search=needle)).filters == ("repeating_search",)
    for others in ("a" * 99 + "b", "milk"):
        assert Shape.of(TaskQuery(search=others)).filters == ("search",)
    assert Shape.of(TaskQuery()).filters == ()
