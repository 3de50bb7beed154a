"""The table of tasks."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None

# A migration is history: it repeats what `table.py` said when it was written, and is not changed with it.
_TEXT: Final = sa.Text(collation="C")
_MOMENT: Final = sa.DateTime(timezone=True)
_MOMENTS: Final = "'0001-01-01 00:00:00+00' and '9999-12-31 23:59:59.999999+00'"


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "tasks",
        sa.Column("user_id", _TEXT, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", _TEXT, nullable=False),
        sa.Column("description", _TEXT),
        sa.Column("completed_at", _MOMENT),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.Column("search_text", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "id", name="tasks_pkey"),
        *(sa.CheckConstraint(rule, name=f"tasks_{name}_check") for name, rule in _rules().items()),
    )


def _rules() -> dict[str, str]:
    control = r"[\u0001-\u001f\u007f-\u009f]"
    control_but_lines = r"[\u0001-\u0008\u000b-\u001f\u007f-\u009f]"
    not_blank = r"[^ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    return {
        "user_id": f"char_length(user_id) between 1 and 255 and user_id !~ '{control}'",
        "title": f"char_length(title) between 1 and 200 and title !~ '{control}' and title ~ '{not_blank}'",
        "description": f"char_length(description) <= 1000 and description !~ '{control_but_lines}'",
        "version": "version >= 1",
        "moments": (
            f"created_at between {_MOMENTS} and updated_at between {_MOMENTS} and completed_at between {_MOMENTS}"
        ),
    }


def downgrade() -> None:
    """Remove it, with all tasks in it."""
    op.drop_table("tasks")
