"""Each refusal has one stable code, and says what to do."""

from uuid import uuid4

from todo_core import (
    ChangeNotFound,
    IdentityUnavailable,
    InsufficientScope,
    InvalidInput,
    KeyReused,
    ListNotFound,
    MergeConflict,
    NotAuthenticated,
    NotInTrash,
    Problem,
    ResyncRequired,
    StoreUnavailable,
    TaskExists,
    TaskNotFound,
    TodoError,
    TooMany,
    UndoConflict,
    VersionConflict,
)

BAD, WORSE = Problem("title", "is bad"), Problem("q", "is worse")
SENTENCES = {
    InvalidInput([BAD, WORSE]): "title is bad; q is worse",
    NotAuthenticated("the token has expired"): "the token has expired",
    IdentityUnavailable(): "Tokens cannot be verified at the moment: try again shortly.",
    TaskNotFound(): "You have no task with this id.",
    ListNotFound(): "You have no list with this id.",
    TaskExists(): "You already have a task or list with this id, or had one: use a new id.",
    KeyReused(): "You have used this idempotency key for another request: use a new key for each request.",
    ChangeNotFound(): "You have no change with this number, or it is older than the history that is kept.",
    ResyncRequired(): "This sync token is no longer valid: fetch everything again, without `since`.",
    NotInTrash(): "Nothing with this id is in your trash.",
    UndoConflict([(uuid4(), BAD)]): "Later changes conflict with this one: undo those first, or edit what it changed.",
    MergeConflict([BAD]): "The same members have changed since that version: fetch it again, and let the user choose.",
    TooMany("tasks", 10): "You may have at most 10 tasks: delete some before you add more.",
    VersionConflict(3): "The current version is 3: fetch it again and repeat your change.",
    InsufficientScope("tasks:write"): "This needs the scope tasks:write: request a token that has it.",
    StoreUnavailable(): "The task storage cannot answer at the moment: try again shortly.",
}


def refusals() -> list[type[TodoError]]:
    """Those of the core. Other packages add their own, which are there or not depending on what has been imported."""
    return [each for each in TodoError.__subclasses__() if each.__module__ == "todo_core.errors"]


def test_every_refusal_has_a_code_of_its_own() -> None:
    codes = [each.code for each in refusals()]
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


def test_every_refusal_says_what_to_do() -> None:
    assert {type(each) for each in SENTENCES} == set(refusals())
    assert {refusal.code: str(refusal) for refusal in SENTENCES} == {
        refusal.code: sentence for refusal, sentence in SENTENCES.items()
    }
