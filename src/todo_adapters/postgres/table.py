"""The tables. The core's rules are repeated as constraints, so that no other writer can break them."""

from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from todo_core.due import ZONE_LENGTH
from todo_core.idempotency import FINGERPRINT_LENGTH, KEY_LENGTH
from todo_core.lists import NAME_LENGTH
from todo_core.recurrence import RECURRENCE_FROM, RULE_LENGTH
from todo_core.task import DESCRIPTION_LENGTH, OWNER_LENGTH, POSITION_LENGTH, PRIORITIES, TAGS_MAX, TITLE_LENGTH

# Collation "C" compares UTF-8 by bytes, and so by code point, as Python does. It depends neither on the database's
# locale nor on the operating system's version.
TEXT: Final = Text(collation="C")
MOMENT: Final = DateTime(timezone=True)

# PostgreSQL's regular expressions. NUL is missing because its text cannot hold it.
_CONTROL = r"[\u0001-\u001f\u007f-\u009f]"
_CONTROL_BUT_LINES = r"[\u0001-\u0008\u000b-\u001f\u007f-\u009f]"
_NOT_BLANK = r"[^ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_DATE = r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?$"
_POSITION = f"^[0-9a-z]{{1,{POSITION_LENGTH}}}$"
# The range of Python's datetime; PostgreSQL's is larger, and has infinities.
_MOMENTS = "'0001-01-01 00:00:00+00' and '9999-12-31 23:59:59.999999+00'"

metadata: Final = MetaData()

# The primary key begins with the owner: every statement starts from it, a newest-first listing reads the key backwards,
# and the table can be partitioned by owner.
tasks: Final = Table(
    "tasks",
    metadata,
    Column("user_id", TEXT, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("title", TEXT, nullable=False),
    Column("description", TEXT),
    Column("priority", TEXT),
    Column("tags", ARRAY(TEXT), nullable=False, server_default="{}"),
    Column("start_date", TEXT),
    Column("due_date", TEXT),
    Column("time_zone", TEXT),
    Column("recurrence", TEXT),
    Column("recurrence_from", TEXT, nullable=False, server_default=RECURRENCE_FROM[0]),
    Column("anchor", TEXT),
    Column("rescheduled_from", TEXT),
    Column("list_id", Uuid),
    Column("parent_id", Uuid),
    # Null stands for the digits of the id: the position of a task that was never moved.
    Column("position", TEXT),
    Column("completed_at", MOMENT),
    Column("version", BigInteger, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("updated_at", MOMENT, nullable=False),
    # `todo_core.searchable`, and the tags case-folded: by Python, so that every storage finds the same.
    Column("search_text", TEXT, nullable=False),
    Column("tag_keys", ARRAY(TEXT), nullable=False, server_default="{}"),
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
    CheckConstraint(f"priority in {PRIORITIES}", name="tasks_priority_check"),
    CheckConstraint(f"cardinality(tags) <= {TAGS_MAX}", name="tasks_tags_check"),
    CheckConstraint(
        f"start_date ~ '{_DATE}' and due_date ~ '{_DATE}' and char_length(time_zone) <= {ZONE_LENGTH}",
        name="tasks_dates_check",
    ),
    CheckConstraint(
        f"char_length(recurrence) <= {RULE_LENGTH} and recurrence_from in {RECURRENCE_FROM}"
        " and (recurrence is null) = (anchor is null) and (recurrence is null or due_date is not null)"
        f" and anchor ~ '{_DATE}' and rescheduled_from ~ '{_DATE}'",
        name="tasks_recurrence_check",
    ),
    CheckConstraint(f"position ~ '{_POSITION}'", name="tasks_position_check"),
    CheckConstraint("version >= 1", name="tasks_version_check"),
    CheckConstraint(
        f"created_at between {_MOMENTS} and updated_at between {_MOMENTS} and completed_at between {_MOMENTS}",
        name="tasks_moments_check",
    ),
)

# For listings of open tasks, newest first, without reading completed ones.
Index("tasks_open", tasks.c.user_id, tasks.c.id, postgresql_where=tasks.c.completed_at.is_(None))

# The tasks in a list, and the subtasks of a task. Partial: most tasks are in neither.
Index("tasks_in_list", tasks.c.user_id, tasks.c.list_id, postgresql_where=tasks.c.list_id.is_not(None))
Index("tasks_below", tasks.c.user_id, tasks.c.parent_id, postgresql_where=tasks.c.parent_id.is_not(None))

lists: Final = Table(
    "lists",
    metadata,
    Column("user_id", TEXT, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("name", TEXT, nullable=False),
    Column("color", TEXT),
    Column("position", TEXT, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("updated_at", MOMENT, nullable=False),
    PrimaryKeyConstraint("user_id", "id", name="lists_pkey"),
    CheckConstraint(
        f"char_length(user_id) between 1 and {OWNER_LENGTH} and user_id !~ '{_CONTROL}'", name="lists_user_id_check"
    ),
    CheckConstraint(
        f"char_length(name) between 1 and {NAME_LENGTH} and name !~ '{_CONTROL}' and name ~ '{_NOT_BLANK}'",
        name="lists_name_check",
    ),
    CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name="lists_color_check"),
    CheckConstraint(f"position ~ '{_POSITION}'", name="lists_position_check"),
    CheckConstraint("version >= 1", name="lists_version_check"),
    CheckConstraint(f"created_at between {_MOMENTS} and updated_at between {_MOMENTS}", name="lists_moments_check"),
)

# One row per owner: every write of that owner locks it first, and sets `number` to that of its change. `live` counts
# the tasks, `lists` the lists. A row is made when an owner first writes, and is never deleted.
owners: Final = Table(
    "owners",
    metadata,
    Column("user_id", TEXT, nullable=False),
    Column("number", BigInteger, nullable=False, server_default="0"),
    Column("live", Integer, nullable=False, server_default="0"),
    Column("lists", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("user_id", name="owners_pkey"),
)

# The log: one row for each thing that a change wrote, with the members that differ (`todo_core.changes.Entry`).
# Creations and deletions leave out nulls, and may leave out all defaults.
changes: Final = Table(
    "changes",
    metadata,
    Column("user_id", TEXT, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("id", Uuid, nullable=False),
    # The database's clock, which all replicas share, read after the owner's lock: it has the order of the numbers.
    Column("at", MOMENT, nullable=False),
    Column("action", TEXT, nullable=False),
    Column("client", TEXT),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("kind", TEXT, nullable=False, server_default="task"),
    # Of a deletion: the thing that it was deleted along with, and how many things were deleted with it.
    Column("root", Uuid),
    Column("took", Integer, nullable=False, server_default="1"),
    PrimaryKeyConstraint("user_id", "number", "id", name="changes_pkey"),
    Index("changes_of_one", "user_id", "id", "number"),
    Index("changes_trash", "user_id", "number", "id", postgresql_where=text("after is null")),
    # For pruning. A BRIN index costs less to write, but would lead to pruned parts of the table again and again.
    Index("changes_at", "at"),
)

# Idempotency keys, each with the number of the change, if there was one, and the things of the answer. A fingerprint is
# null for keys from before revision 0003. Rows are only updated to erase an answer.
used_keys: Final = Table(
    "used_keys",
    metadata,
    Column("user_id", TEXT, nullable=False),
    Column("key", TEXT, nullable=False),
    Column("used_at", MOMENT, nullable=False, server_default=func.now()),
    Column("fingerprint", TEXT),
    Column("number", BigInteger),
    Column("answer", JSONB, nullable=False),
    PrimaryKeyConstraint("user_id", "key", name="used_keys_pkey"),
    CheckConstraint(f"char_length(key) between 1 and {KEY_LENGTH}", name="used_keys_key_check"),
    CheckConstraint(f"char_length(fingerprint) <= {FINGERPRINT_LENGTH}", name="used_keys_fingerprint_check"),
    Index("used_keys_used_at", "used_at"),
)
