"""Refusals have one stable code each and say nothing that they should not."""

from todo_core import (
    InvalidInput,
    KeyReused,
    ListNotFound,
    NotAuthenticated,
    Problem,
    StoreUnavailable,
    TaskExists,
    TaskNotFound,
    TodoError,
    TooMany,
    VersionConflict,
)


def test_every_refusal_has_a_code_of_its_own() -> None:
    # Other rooms add their own, which are there or not depending on what has been imported.
    ours = [each for each in TodoError.__subclasses__() if each.__module__ == "todo_core.errors"]
    codes = [each.code for each in ours]
    assert set(codes) == {
        "change_not_found",
        "idempotency_key_reused",
        "identity_unavailable",
        "insufficient_scope",
        "invalid_input",
        "list_not_found",
        "merge_conflict",
        "not_authenticated",
        "not_in_trash",
        "resync_required",
        "store_unavailable",
        "task_exists",
        "task_not_found",
        "too_many",
        "undo_conflict",
        "version_conflict",
    }
    assert len(codes) == len(set(codes))


def test_messages_tell_what_to_do() -> None:
    assert str(InvalidInput([Problem("title", "is bad"), Problem("q", "is worse")])) == "title is bad; q is worse"
    assert "no task with this id" in str(TaskNotFound())
    assert "no list with this id" in str(ListNotFound())
    assert "already have a task" in str(TaskExists())
    assert "a new key for each request" in str(KeyReused())
    assert "10 tasks" in str(TooMany("tasks", 10))
    assert "current version is 3" in str(VersionConflict(3))
    assert "try again shortly" in str(StoreUnavailable())
    assert str(NotAuthenticated("the token has expired")) == "the token has expired"
