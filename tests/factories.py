"""The owners, moments and tasks that tests speak of."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from todo_adapters.system import SystemIds
from todo_core import OwnerId, Task, TaskId, Version

ANN: Final = OwnerId("ann")
BOB: Final = OwnerId("bob")
NOON: Final = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)
LATER: Final = datetime(2026, 11, 5, 12, 30, 0, 123456, tzinfo=UTC)

_ids = SystemIds()


def make_id(number: int) -> TaskId:
    """The id with that number: they sort as the numbers do."""
    return TaskId(UUID(int=0x0198_0000_0000_7000_8000_000000000000 + number))


def make_task(**values: Any) -> Task:
    """A task of Ann's, made at noon, but for what is given."""
    at = values.get("created_at", NOON)
    defaults = {"id": _ids.new(NOON), "owner": ANN, "title": "Buy milk", "created_at": at, "updated_at": at}
    return Task(**{"version": Version(1), **defaults, **values})
