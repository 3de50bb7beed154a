"""The tables. What the core promises of a task is repeated here, so that no other writer can break it."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
)

from todo_core.idempotency import KEY_LENGTH
from todo_core.task import DESCRIPTION_LENGTH, OWNER_LENGTH, TITLE_LENGTH

# Collation "C" compares UTF-8 byte by byte, which is code point by code point: the order of Python and of the core,
# whatever locale the database was made with, and one that no update of an operating system changes.
TEXT: Final = Text(collation="C")
MOMENT: Final = DateTime(timezone=True)

# PostgreSQL's regular expressions; NUL is missing because its text cannot hold one.
_CONTROL = r"[\u0001-\u001f\u007f-\u009f]"
_CONTROL_BUT_LINES = r"[\u0001-\u0008\u000b-\u001f\u007f-\u009f]"
_NOT_BLANK = r"[^ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
# What Python's datetime can hold; PostgreSQL's reaches further, and has infinities.
_MOMENTS = "'0001-01-01 00:00:00+00' and '9999-12-31 23:59:59.999999+00'"

metadata: Final = MetaData()

# The primary key begins with the owner: every statement starts from it, the newest-first listing is the key read
# backwards, and the table can be partitioned by owner as it is.
tasks: Final = Table(
    "tasks",
    metadata,
    Column("user_id", TEXT, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("title", TEXT, nullable=False),
    Column("description", TEXT),
    Column("completed_at", MOMENT),
    Column("version", BigInteger, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("updated_at", MOMENT, nullable=False),
    # `todo_core.searchable`: case is folded by Python alone, so that every storage finds the same.
    Column("search_text", TEXT, nullable=False),
    PrimaryKeyConstraint("user_id", "id", name="tasks_pkey"),
    CheckConstraint(
        f"char_length(user_id) between 1 and {OWNER_LENGTH} and user_id !~ '{_CONTROL}'", name="tasks_user_id_check"
    ),
    CheckConstraint(
        f"char_length(title) between 1 and {TITLE_LENGTH} and title !~ '{_CONTROL}' and title ~ '{_NOT_BLANK}'",
        name="tasks_title_check",
    ),
    CheckConstraint(
        f"char_length(description) <= {DESCRIPTION_LENGTH} and description !~ '{_CONTROL_BUT_LINES}'",
        name="tasks_description_check",
    ),
    CheckConstraint("version >= 1", name="tasks_version_check"),
    CheckConstraint(
        f"created_at between {_MOMENTS} and updated_at between {_MOMENTS} and completed_at between {_MOMENTS}",
        name="tasks_moments_check",
    ),
)

# A key, and the task that was created under it as it was then. No foreign key: the key outlives an edit and a removal.
# Rows are written by the statement that writes their tasks, whose constraints judge the same values; never updated.
idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", TEXT, nullable=False),
    Column("key", TEXT, nullable=False),
    # By the database's clock, which all replicas share.
    Column("used_at", MOMENT, nullable=False, server_default=func.now()),
    Column("id", Uuid, nullable=False),
    Column("title", TEXT, nullable=False),
    Column("description", TEXT),
    Column("completed_at", MOMENT),
    Column("version", BigInteger, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("updated_at", MOMENT, nullable=False),
    PrimaryKeyConstraint("user_id", "key", name="idempotency_keys_pkey"),
    CheckConstraint(f"char_length(key) between 1 and {KEY_LENGTH}", name="idempotency_keys_key_check"),
    Index("idempotency_keys_used_at", "used_at"),
)
