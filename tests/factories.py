"""The owners, moments and tasks that tests speak of: those of the published contract."""

from todo_core.testing.examples import ANN, BOB, LATER, NASTY, NOON, make_id, make_list, make_owner, make_task

__all__ = ["ANN", "BOB", "LATER", "NASTY", "NOON", "make_id", "make_list", "make_owner", "make_task"]
