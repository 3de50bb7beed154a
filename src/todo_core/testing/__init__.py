"""Tests of a storage of your own: the promises of `todo_core.ports`. Needs pytest and Hypothesis.

    class TestMyTaskStore(TaskStoreContract):
        @pytest.fixture
        async def store(self):
            yield MyTaskStore()

    def test_my_store_answers_as_memory_does():
        with asyncio.Runner() as runner:
            assert_stores_agree(MemoryTaskStore(), MyTaskStore(), run=runner.run)

The tests are coroutines: pytest-asyncio (in auto mode) or another plugin must run them. The store need not be empty,
since every test makes owners of its own, but nothing else may use it at the same time.
"""

import pytest

# Before the modules are imported, so that failing assertions show their values.
_CHAPTERS = "agreement belongings convergence editing families isolation keeping listing log once placing sync undoing"
for _module in _CHAPTERS.split():
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from todo_core.testing.agreement import assert_stores_agree  # noqa: E402
from todo_core.testing.convergence import assert_clients_converge  # noqa: E402
from todo_core.testing.editing import EditingContract  # noqa: E402
from todo_core.testing.families import assert_families_hold  # noqa: E402
from todo_core.testing.isolation import IsolationContract  # noqa: E402
from todo_core.testing.keeping import KeepingContract  # noqa: E402
from todo_core.testing.listing import ListingContract  # noqa: E402
from todo_core.testing.log import LogContract  # noqa: E402
from todo_core.testing.once import OnceContract  # noqa: E402
from todo_core.testing.placing import PlacingContract  # noqa: E402
from todo_core.testing.sync import SyncContract  # noqa: E402
from todo_core.testing.undoing import UndoingContract  # noqa: E402

__all__ = ["TaskStoreContract", "assert_clients_converge", "assert_families_hold", "assert_stores_agree"]


class TaskStoreContract(
    KeepingContract,
    IsolationContract,
    EditingContract,
    ListingContract,
    OnceContract,
    LogContract,
    UndoingContract,
    SyncContract,
    PlacingContract,
):
    """All contract tests. Subclass it with a fixture `store` that provides a `TaskStore`."""
