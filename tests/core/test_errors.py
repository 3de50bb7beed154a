"""Refusals have one stable code each and say nothing that they should not."""

from todo_core import (
    InvalidInput,
    NotAuthenticated,
    Problem,
    StoreUnavailable,
    TaskExists,
    TaskNotFound,
    TodoError,
    VersionConflict,
)


def test_every_refusal_has_a_code_of_its_own() -> None:
    codes = {each.code: each for each in (TodoError, *TodoError.__subclasses__())}
    assert {code for code in codes if codes[code] is not TodoError} == {
        "invalid_input",
        "not_authenticated",
        "store_unavailable",
        "task_exists",
        "task_not_found",
        "version_conflict",
    }
    assert len(codes) == 1 + len(TodoError.__subclasses__())


def test_messages_tell_what_to_do() -> None:
    assert str(InvalidInput([Problem("title", "is bad"), Problem("q", "is worse")])) == "title is bad; q is worse"
    assert "no task with this id" in str(TaskNotFound())
    assert "already have a task" in str(TaskExists())
    assert "at version 3" in str(VersionConflict(3))
    assert "try again shortly" in str(StoreUnavailable())
    assert str(NotAuthenticated("the token has expired")) == "the token has expired"
