"""What the tables on PostgreSQL themselves refuse and sort: the same as the core."""

from typing import Any

import psycopg
import pytest
from adapters.old_rows import INSERT, row, rows
from effort import code_points
from factories import ANN
from psycopg import sql

from todo_core.task import is_description, is_owner, is_title


@pytest.mark.parametrize(
    "values",
    [
        {"owner": ""},
        {"owner": "x" * 256},
        {"owner": "a\nb"},
        {"owner": None},
        {"title": ""},
        {"title": "x" * 201},
        {"title": " \u3000"},
        {"title": "a\tb"},
        {"title": None},
        {"description": "x" * 1001},
        {"description": "a\rb"},
        {"description": "\x9f"},
        {"version": 0},
        {"created_at": "infinity"},
        {"updated_at": "-infinity"},
        {"completed_at": "10000-01-01 00:00+00"},
        {"created_at": "0001-01-01 00:00:00+00 BC"},
    ],
)
def test_the_database_itself_refuses_what_the_core_refuses(database_url: str, values: dict[str, object]) -> None:
    with psycopg.connect(database_url) as connection:
        with pytest.raises(psycopg.errors.IntegrityError), connection.transaction():
            connection.execute(INSERT, row(**values))
        connection.execute(INSERT, row())


@pytest.mark.parametrize(("field", "fits"), [("owner", is_owner), ("title", is_title), ("description", is_description)])
def test_the_database_judges_every_character_as_the_core_does(database_url: str, field: str, fits: Any) -> None:
    column = {"owner": "user_id"}.get(field, field)
    [(rule,)] = rows(
        database_url,
        "select pg_get_expr(conbin, conrelid) from pg_constraint where conname = %s",
        f"tasks_{column}_check",
    )
    judged = sql.SQL(
        'select n from unnest(%s::int[]) n, lateral (select chr(n) collate "C" as {column}) t where {rule}'
    ).format(column=sql.Identifier(column), rule=sql.SQL(rule))
    characters = [each for each in code_points() if each and not 0xD800 <= each < 0xE000]  # all that PostgreSQL stores
    allowed = {number for (number,) in rows(database_url, judged, characters)}
    assert allowed == {number for number in characters if fits(chr(number))}


def test_the_longest_names_fit_the_primary_key(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(INSERT, row(owner="\U0010ffff" * 255, title="😀" * 200, description="😀" * 1000))


def test_owners_are_in_the_order_of_their_code_points_whatever_the_locale(database_url: str) -> None:
    names = ["b", "B", "a", "ä", "\uffee", "😀", ANN]
    with psycopg.connect(database_url) as connection:
        for name in names:
            connection.execute(INSERT, row(owner=name, title=name))
        for column in ("user_id", "title"):
            statement = sql.SQL("select {0} from tasks order by {0}").format(sql.Identifier(column))
            assert [name for (name,) in connection.execute(statement)] == sorted(names)
