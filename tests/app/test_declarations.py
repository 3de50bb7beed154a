"""Every operation declares, once, its scope, answers, refusals, examples and parameters."""

from collections import Counter

import msgspec
import pytest

from todo_app.api.examples import refusals
from todo_app.api.openapi import openapi
from todo_app.api.operation import Operation
from todo_app.api.public import PUBLIC
from todo_app.api.subjects import operations
from todo_app.http.errors import STATUSES
from todo_core import SCOPES

OPERATIONS = list(operations())
EACH = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
PATHS = openapi()["paths"]


@EACH
def test_each_operation_has_a_scope_and_only_get_has_the_read_scope(operation: Operation) -> None:
    assert operation.scope in SCOPES
    assert (operation.scope == "tasks:read") == (operation.method == "GET")


@EACH
def test_each_refusal_has_a_status_and_an_example(operation: Operation) -> None:
    assert operation.refusals <= STATUSES.keys()
    assert {kind.code for kind in operation.refusals} <= refusals().keys()


@EACH
def test_each_body_and_answer_has_an_example_of_its_form(operation: Operation) -> None:
    if operation.body is not None:
        assert operation.body.examples
        for example in operation.body.examples.values():
            msgspec.json.decode(msgspec.json.encode(example), type=operation.body.struct)
    for answer in operation.answers.values():
        if answer.struct is not None:
            msgspec.json.decode(msgspec.json.encode(answer.example), type=answer.struct)


@EACH
def test_no_parameter_is_listed_twice(operation: Operation) -> None:
    item = PATHS[f"/api/{{user_id}}{operation.path}"]
    listed = [*item["parameters"], *item[operation.method.lower()].get("parameters", [])]
    assert Counter((each["in"], each["name"]) for each in listed).most_common(1)[0][1] == 1


def test_each_operation_has_a_unique_name_and_route() -> None:
    names = [each.id for each in (*OPERATIONS, *PUBLIC)]
    places = [(each.method, each.path) for each in OPERATIONS]
    assert len(set(names)) == len(names)
    assert len(set(places)) == len(places)
    assert all(each.documentation[0] for each in (*OPERATIONS, *PUBLIC))
