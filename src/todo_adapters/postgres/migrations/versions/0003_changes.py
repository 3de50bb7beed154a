"""Numbered changes, members that tasks gain, and texts for searches that are folded by case and NFKC.

There is a row for each owner, the log, and what was done under a key. Nothing that revision 0002 has is touched, but
for columns with constant defaults. An owner's row, with the tasks from before as the first change, is made when the
owner first writes. Texts are folded anew a piece at a time, before the tables change.
"""

from collections.abc import Callable
from typing import Final, TypeAlias
from unicodedata import normalize
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0003"
down_revision: Final = "0002"

_TEXT: Final = sa.Text(collation="C")
_MOMENT: Final = sa.DateTime(timezone=True)
_TEXTS: Final = ("priority", "start_date", "due_date", "time_zone", "recurrence", "anchor", "rescheduled_from")
_DATE: Final = r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?$"


def upgrade() -> None:
    """Make them, and copy the keys of the last day."""
    for name in _TEXTS:
        op.add_column("tasks", sa.Column(name, _TEXT))
    op.add_column("tasks", sa.Column("recurrence_from", _TEXT, nullable=False, server_default="due_date"))
    for name in ("tags", "tag_keys"):
        op.add_column("tasks", sa.Column(name, sa.ARRAY(_TEXT), nullable=False, server_default="{}"))
    for name, rule in _rules().items():
        # Every row from before obeys: they are empty. Checked so, the table is not read under its strongest lock.
        op.execute(f"alter table tasks add constraint tasks_{name}_check check ({rule}) not valid")
    op.create_index("tasks_open", "tasks", ["user_id", "id"], postgresql_where=sa.text("completed_at is null"))
    op.create_table(
        "owners",
        sa.Column("user_id", _TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("live", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("user_id", name="owners_pkey"),
    )
    _make_log()
    _make_keys()


def _rules() -> dict[str, str]:
    return {
        "priority": "priority in ('high', 'medium', 'low')",
        "tags": "cardinality(tags) <= 20",
        "dates": f"start_date ~ '{_DATE}' and due_date ~ '{_DATE}' and char_length(time_zone) <= 64",
        "recurrence": (
            "char_length(recurrence) <= 255 and recurrence_from in ('due_date', 'completion')"
            " and (recurrence is null) = (anchor is null) and (recurrence is null or due_date is not null)"
            f" and anchor ~ '{_DATE}' and rescheduled_from ~ '{_DATE}'"
        ),
    }


def _make_log() -> None:
    op.create_table(
        "changes",
        sa.Column("user_id", _TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("action", _TEXT, nullable=False),
        sa.Column("client", _TEXT),
        sa.Column("before", postgresql.JSONB()),
        sa.Column("after", postgresql.JSONB()),
        sa.PrimaryKeyConstraint("user_id", "number", "id", name="changes_pkey"),
    )
    op.create_index("changes_of_one", "changes", ["user_id", "id", "number"])
    op.create_index("changes_trash", "changes", ["user_id", "number", "id"], postgresql_where=sa.text("after is null"))
    op.create_index("changes_at", "changes", ["at"])


def _make_keys() -> None:
    op.create_table(
        "used_keys",
        sa.Column("user_id", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("used_at", _MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("fingerprint", _TEXT),
        sa.Column("number", sa.BigInteger()),
        sa.Column("answer", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name="used_keys_pkey"),
        sa.CheckConstraint("char_length(key) between 1 and 255", name="used_keys_key_check"),
        sa.CheckConstraint("char_length(fingerprint) <= 64", name="used_keys_fingerprint_check"),
    )
    op.create_index("used_keys_used_at", "used_keys", ["used_at"])
    op.execute("""
        insert into used_keys (user_id, key, used_at, answer)
        select user_id, key, used_at, jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
            'id', id, 'title', title, 'description', description, 'completed_at', completed_at, 'version', version,
            'created_at', created_at, 'updated_at', updated_at, 'tags', '[]'::jsonb
        ))) from idempotency_keys
    """)


def downgrade() -> None:
    """Remove them: the history, the keys of the last day, and what tasks have in the new members are lost."""
    for table in ("used_keys", "changes", "owners"):
        op.drop_table(table)
    op.drop_index("tasks_open", "tasks")
    for name in _rules():
        op.drop_constraint(f"tasks_{name}_check", "tasks")
    for name in (*_TEXTS, "recurrence_from", "tags", "tag_keys"):
        op.drop_column("tasks", name)


_Key: TypeAlias = tuple[str, UUID]
_START: Final[_Key] = ("", UUID(int=0))  # before every key: no owner is empty
_PIECE: Final = 1000  # tasks: some tens of milliseconds
_MARK: Final = "\x1e"  # in front of a text that is folded by this revision's rule

_LAST: Final = sa.text("""
    select user_id, id from tasks where (user_id, id) > (:owner, :id) order by user_id, id offset :most - 1 limit 1
""")
# What somebody is writing at this moment is left out: a server of the version before may write more of it anyway.
_CHOSEN: Final = sa.text("""
    select user_id, id, title, coalesce(description, '') from tasks join (
        select user_id, id from tasks where (user_id, id) > (:owner, :id) order by user_id, id limit :most
    ) as piece using (user_id, id)
    where (left(search_text, 1) = :mark) <> :anew
    order by user_id, id for no key update of tasks skip locked
""")
_WRITE: Final = sa.text("""
    update tasks set search_text = anew.text
    from unnest(cast(:owners as text[]), cast(:ids as uuid[]), cast(:texts as text[])) as anew (owner, task, text)
    where user_id = owner and id = task
""")


def upgrade_piece(connection: sa.Connection, after: _Key | None) -> _Key | None:
    """Refold the next tasks after this one where needed; returns the last of them if there are more."""
    return _piece(connection, after or _START, _folded, anew=True)


def downgrade_piece(connection: sa.Connection, after: _Key | None) -> _Key | None:
    """As `upgrade_piece`, back to the rule of before."""
    return _piece(connection, after or _START, _folded_before, anew=False)


def _piece(connection: sa.Connection, after: _Key, fold: Callable[[str, str], str], *, anew: bool) -> _Key | None:
    bounds = {"owner": after[0], "id": after[1], "most": _PIECE}
    last = connection.execute(_LAST, bounds).one_or_none()
    rows = connection.execute(_CHOSEN, {**bounds, "mark": _MARK, "anew": anew}).all()
    if rows:
        owners, ids, titles, descriptions = map(list, zip(*rows, strict=True))
        texts = list(map(fold, titles, descriptions))
        connection.execute(_WRITE, {"owners": owners, "ids": ids, "texts": texts})
    return None if last is None else (last.user_id, last.id)


def _folded(title: str, description: str) -> str:
    return normalize("NFKC", normalize("NFKC", f"{_MARK}{title}\x1f{description}").casefold())


def _folded_before(title: str, description: str) -> str:
    return f"{title}\x1f{description}".casefold()
