"""The keys under which tasks were created, beside the tasks: nothing that revision 0001 has is touched."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

_TEXT: Final = sa.Text(collation="C")
_MOMENT: Final = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("used_at", _MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", _TEXT, nullable=False),
        sa.Column("description", _TEXT),
        sa.Column("completed_at", _MOMENT),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name="idempotency_keys_pkey"),
        sa.CheckConstraint("char_length(key) between 1 and 255", name="idempotency_keys_key_check"),
    )
    op.create_index("idempotency_keys_used_at", "idempotency_keys", ["used_at"])


def downgrade() -> None:
    """Remove it: creations of the last day can then be repeated."""
    op.drop_table("idempotency_keys")
