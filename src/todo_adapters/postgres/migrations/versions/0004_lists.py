"""Lists, subtasks and an order: where each task is, and what a deletion took along.

Nothing that revision 0003 has is touched, but for columns that are empty or have constant defaults: a task without a
position stands where it was created, so that no row has to be written.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"

_TEXT: Final = sa.Text(collation="C")
_MOMENT: Final = sa.DateTime(timezone=True)
_POSITION: Final = "^[0-9a-z]{1,32}$"
_CONTROL: Final = r"[\u0001-\u001f\u007f-\u009f]"
_NOT_BLANK: Final = r"[^ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_PLACES: Final = "array['list_id', 'parent_id', 'position']"
_MOMENTS: Final = "'0001-01-01 00:00:00+00' and '9999-12-31 23:59:59.999999+00'"
# A server of the version before reads no member of a task that it does not know.
_FORGET_PLACES: Final = f"""
update changes set before = before - {_PLACES}, after = after - {_PLACES}
where before ?| {_PLACES} or after ?| {_PLACES}
"""
_FORGET_ANSWERS: Final = f"""
update used_keys set answer = (
    select coalesce(jsonb_agg(thing - {_PLACES} - 'kind'), '[]') from jsonb_array_elements(answer) as thing
    where thing ->> 'kind' is distinct from 'list'
) where exists (select from jsonb_array_elements(answer) as thing where thing ?| {_PLACES} or thing ? 'kind')
"""


def upgrade() -> None:
    """Make them."""
    for name in ("list_id", "parent_id"):
        op.add_column("tasks", sa.Column(name, sa.Uuid()))
    op.add_column("tasks", sa.Column("position", _TEXT))
    # Every row from before obeys: they are empty. Checked so, the table is not read under its strongest lock.
    op.execute(f"alter table tasks add constraint tasks_position_check check (position ~ '{_POSITION}') not valid")
    for name, column in (("tasks_in_list", "list_id"), ("tasks_below", "parent_id")):
        op.create_index(name, "tasks", ["user_id", column], postgresql_where=sa.text(f"{column} is not null"))
    op.add_column("owners", sa.Column("lists", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("changes", sa.Column("kind", _TEXT, nullable=False, server_default="task"))
    op.add_column("changes", sa.Column("root", sa.Uuid()))
    op.add_column("changes", sa.Column("took", sa.Integer(), nullable=False, server_default="1"))
    _make_lists()


def _make_lists() -> None:
    op.create_table(
        "lists",
        sa.Column("user_id", _TEXT, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("color", _TEXT),
        sa.Column("position", _TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "id", name="lists_pkey"),
        sa.CheckConstraint(
            f"char_length(user_id) between 1 and 255 and user_id !~ '{_CONTROL}'", name="lists_user_id_check"
        ),
        sa.CheckConstraint(
            f"char_length(name) between 1 and 100 and name !~ '{_CONTROL}' and name ~ '{_NOT_BLANK}'",
            name="lists_name_check",
        ),
        sa.CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name="lists_color_check"),
        sa.CheckConstraint(f"position ~ '{_POSITION}'", name="lists_position_check"),
        sa.CheckConstraint("version >= 1", name="lists_version_check"),
        sa.CheckConstraint(
            f"created_at between {_MOMENTS} and updated_at between {_MOMENTS}", name="lists_moments_check"
        ),
    )


def downgrade() -> None:
    """Remove them: lists, and where tasks are, are lost, and what the log and the keys say of either."""
    op.execute("delete from changes where kind = 'list'")
    op.execute(_FORGET_PLACES)
    op.execute(_FORGET_ANSWERS)
    op.drop_table("lists")
    for name in ("took", "root", "kind"):
        op.drop_column("changes", name)
    op.drop_column("owners", "lists")
    for name in ("tasks_below", "tasks_in_list"):
        op.drop_index(name, "tasks")
    op.drop_constraint("tasks_position_check", "tasks")
    for name in ("position", "parent_id", "list_id"):
        op.drop_column("tasks", name)
