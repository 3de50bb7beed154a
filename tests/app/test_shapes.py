"""A value of the wrong type is refused in JSON's words, and not in those of Python or of the decoder."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from asking import Service
from factories import ANN
from msgspec.inspect import AnyType, ListType, Metadata, RawType, StructType, Type, UnionType
from refusals import problem
from tool_calls import call

from todo_app.api.bodies import decoded
from todo_app.api.shapes import info_of, rule_at
from todo_app.api.subjects import operations
from todo_app.mcp.tools import TOOLS
from todo_core import InvalidInput

HOME: Final = f"/api/{ANN}"
KINDS: Final = (
    "create, edit, complete, skip, reschedule, move, delete, restore, create_list, edit_list, move_list, delete_list"
)
BODIES: Final = {each.body.struct for each in operations() if each.body} | {each.arguments for each in TOOLS.values()}


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/tasks", [], "the body must be an object"),
        ("/tasks", {"title": "x", "tags": ["a", 5]}, "tags/1 must be a string"),
        ("/tasks", {"title": "x", "completed": 1}, "completed must be true or false"),
        ("/batch", "x", "the body must be an object"),
        ("/batch", {"operations": "x"}, "operations must be an array with 1 to 100 items"),
        ("/batch", {"operations": []}, "operations must be an array with 1 to 100 items"),
        ("/batch", {"operations": None}, "operations must be an array with 1 to 100 items"),
        ("/batch", {"operations": [5]}, "operations/0 must be an object"),
        ("/batch", {"operations": [{"op": 5}]}, f"operations/0/op must be one of {KINDS}"),
        ("/batch", {"operations": [{"op": "create", "task": []}]}, "operations/0/task must be an object"),
        ("/batch", {"operations": [{"op": "delete", "id": 5}]}, "operations/0/id must be a UUID"),
    ],
)
async def test_a_body_is_refused_in_words_of_json(service: Service, path: str, body: Any, says: str) -> None:
    assert problem(await service.ask("POST", f"{HOME}{path}", json_=body), 422)["detail"] == says


@pytest.mark.parametrize("neighbour", ["x", 5, None])
async def test_a_neighbour_must_be_a_uuid(service: Service, task: dict[str, Any], neighbour: Any) -> None:
    answer = await service.ask("POST", f"{HOME}/tasks/{task['id']}/move", json_={"before": neighbour})
    assert problem(answer, 422)["detail"] == "before must be a UUID"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"title":5,"title":"x"}', "title must be a string"),
        (b'{"title":"x","tags":[1],"tags":[]}', "tags/0 must be a string"),
    ],
)
async def test_the_first_of_two_members_is_refused_in_words_of_json(service: Service, body: bytes, says: str) -> None:
    assert problem(await service.ask("POST", f"{HOME}/tasks", body=body), 422)["detail"] == says


@pytest.mark.parametrize(
    ("tool", "given", "says"),
    [
        ("list_tasks", {"limit": "5"}, "limit must be a whole number from 1 to 200"),
        ("list_tasks", {"limit": 1.5}, "limit must be a whole number from 1 to 200"),
        ("list_tasks", {"tag": "x"}, "tag must be an array"),
        ("list_tasks", {"q": 5}, "q must be a string"),
        ("list_tasks", {"completed": "true"}, "completed must be true or false"),
        ("undo", {"change": "1"}, "change must be a whole number"),
        ("undo", {"changes": 1}, "changes must be an array with 1 to 50 items"),
        ("undo", {"changes": ["1"]}, "changes/0 must be a whole number"),
        ("get_task", {"ids": [5]}, "ids/0 must be a string"),
        ("move_task", {"before": "x"}, "before must be a UUID"),
        ("add_task", {"tasks": [5]}, "tasks/0 must be an object"),
    ],
)
async def test_an_argument_is_refused_in_words_of_json(
    service: Service, tool: str, given: dict[str, Any], says: str
) -> None:
    assert (await call(service, tool, **given))["error"]["detail"] == says


@pytest.mark.parametrize("shape", sorted(BODIES, key=lambda each: each.__qualname__))
def test_every_type_that_may_be_sent_has_words(shape: type[msgspec.Struct]) -> None:
    for kind in _types_in(info_of(shape)):
        if not isinstance(_plain(kind), (AnyType, RawType)):  # which anything fits
            assert "documented" not in rule_at(kind, []), kind


WRONG: Final = (None, True, 5, 1.5, "x", [], [5], ["x"], [None], {}, {"a": 1}, [[]], [{}], 10**30)


@pytest.mark.parametrize("shape", sorted(BODIES, key=lambda each: each.__qualname__))
def test_no_refusal_quotes_the_decoder(shape: type[msgspec.Struct]) -> None:
    said = [_said_of(shape, body) for name in shape.__struct_encode_fields__ for body in _bodies_with(name)]
    assert not [each for each in said if re.search("`|Expected|Invalid|documented|wrong", each)]


def _bodies_with(name: str) -> Iterator[bytes]:
    for value in WRONG:
        body = json.dumps({name: value}).encode()
        yield body
        yield b"%b,%b" % (body[:-1], b'"%b":[]}' % name.encode())  # a second time, otherwise
        yield json.dumps(value).encode()


def _said_of(shape: type[msgspec.Struct], body: bytes) -> str:
    try:
        decoded(msgspec.json.Decoder(shape), body)
    except InvalidInput as error:
        return str(error)
    return ""


def _types_in(kind: Type) -> list[Type]:
    match kind:
        case Metadata(type=inside) | ListType(item_type=inside):
            return [kind, *_types_in(inside)]
        case UnionType(types=several):
            return [kind, *(found for each in several for found in _types_in(each))]
        case StructType(fields=fields):
            return [kind, *(found for each in fields for found in _types_in(each.type))]
        case _:
            return [kind]


def _plain(kind: Type) -> Type:
    return _plain(kind.type) if isinstance(kind, Metadata) else kind
