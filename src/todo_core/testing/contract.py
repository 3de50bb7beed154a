"""The promises of `todo_core.ports`, one test each, for any storage."""

from todo_core.testing.editing import EditingContract
from todo_core.testing.isolation import IsolationContract
from todo_core.testing.keeping import KeepingContract
from todo_core.testing.listing import ListingContract
from todo_core.testing.once import OnceContract


class TaskStoreContract(KeepingContract, IsolationContract, EditingContract, ListingContract, OnceContract):
    """Subclass it with a fixture `store` that gives a `TaskStore`; pytest then runs every promise on it."""
