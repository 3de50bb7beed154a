"""Listing over HTTP: filters, search, order, pages, and invalid queries."""

import base64
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from asking import Service
from effort import examples
from factories import ANN, BOB, cursor_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import check_dressed, pointers, problem

TASKS = f"/api/{ANN}/tasks"


@pytest.fixture
async def seven(service: Service) -> list[str]:
    """Seven tasks' titles, in the order in which they were made; every other one is done."""
    titles = ["Milk", "bread", "Äpfel", "milk again", "100%", "a_b", "Zoo"]
    for number, title in enumerate(titles):
        body = {"title": title, "description": f"About {title.upper()}", "completed": number % 2 == 1}
        assert (await service.ask("POST", TASKS, json_=body)).status_code == 201
    await service.ask("POST", f"/api/{BOB}/tasks", user=BOB, json_={"title": "Bob's milk"})
    return titles


def titles(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    check_dressed(answer)
    assert answer.headers["cache-control"] == "private, no-cache, no-transform"
    assert list(answer.json()) == ["items", "next_cursor"]
    return [item["title"] for item in answer.json()["items"]]


def next_link(answer: httpx.Response) -> str | None:
    """The target of the answer's link to the next page; it must say what `next_cursor` says."""
    link, cursor = answer.headers.get("link"), answer.json()["next_cursor"]
    assert (link is None) == (cursor is None)
    if link is None:
        return None
    assert link.startswith("<")
    assert link.endswith('>; rel="next"')
    target = link[1 : link.index(">")]
    assert parse_qs(urlsplit(target).query)["cursor"] == [cursor]
    return str(target)


async def test_a_user_without_tasks_gets_an_empty_page(service: Service) -> None:
    answer = await service.ask("GET", TASKS)
    assert titles(answer) == []
    assert answer.json()["next_cursor"] is None


async def test_the_newest_comes_first(service: Service, seven: list[str]) -> None:
    assert titles(await service.ask("GET", TASKS)) == seven[::-1]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("completed=true", [5, 3, 1]),
        ("completed=false", [6, 4, 2, 0]),
        ("q=MILK", [3, 0]),
        ("q=about%20milk", [3, 0]),
        ("q=about+milk", [3, 0]),
        (f"q={quote('äPFEL')}", [2]),
        ("q=100%25", [4]),
        ("q=%25", [4]),
        ("q=_", [5]),
        ("q=", [6, 5, 4, 3, 2, 1, 0]),
        ("q=milk&completed=true", [3]),
        ("q=nowhere", []),
        ("sort=created_at", [0, 1, 2, 3, 4, 5, 6]),
        ("sort=-created_at", [6, 5, 4, 3, 2, 1, 0]),
        ("sort=title", [4, 0, 6, 5, 1, 3, 2]),
        ("sort=-title", [2, 3, 1, 5, 6, 0, 4]),
        ("sort=updated_at&limit=3", [0, 1, 2]),
        ("limit=1", [6]),
        ("limit=200", [6, 5, 4, 3, 2, 1, 0]),
        ("limit=007", [6, 5, 4, 3, 2, 1, 0]),
        ("&&limit=1&", [6]),
        ("%6Cimit=1", [6]),
    ],
)
async def test_query_parameters_select_tasks(service: Service, seven: list[str], query: str, shown: list[int]) -> None:
    assert titles(await service.ask("GET", f"{TASKS}?{query}")) == [seven[number] for number in shown]


@pytest.mark.parametrize("query", ["", "completed=false&", "q=milk&", f"q={quote('a&b=c #ä')}&", "q=&"])
@pytest.mark.parametrize("sort", ["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"])
async def test_links_lead_through_everything_and_keep_the_filters(
    service: Service, seven: list[str], query: str, sort: str
) -> None:
    await service.ask("POST", TASKS, json_={"title": "a&b=c #Ä"})
    await service.ask("POST", TASKS, json_={"title": "A&B=C #ä", "completed": True})
    whole = titles(await service.ask("GET", f"{TASKS}?{query}sort={sort}"))
    target: str | None = f"{TASKS}?{query}sort={sort}&limit=1"
    walked = []
    while target is not None:
        answer = await service.ask("GET", target)
        walked += titles(answer)
        target = next_link(answer)
    assert walked == whole


async def test_links_work_for_user_names_with_special_characters(service: Service) -> None:
    owner = "a/b c?<>;ä"
    target: str | None = f"/api/{quote(owner, safe='')}/tasks"
    for title in ("x", "y", "z"):
        await service.ask("POST", str(target), user=owner, json_={"title": title})
    target, walked = f"{target}?limit=1", []
    while target is not None:
        answer = await service.ask("GET", target, user=owner)
        walked += titles(answer)
        target = next_link(answer)
    assert walked == ["z", "y", "x"]


async def test_pages_neither_repeat_nor_hide_when_tasks_come_and_go(service: Service, seven: list[str]) -> None:
    first = await service.ask("GET", f"{TASKS}?limit=3")
    last_shown = first.json()["items"][-1]["id"]
    await service.ask("DELETE", f"{TASKS}/{last_shown}")
    await service.ask("POST", TASKS, json_={"title": "newer"})
    rest = await service.ask("GET", f"{TASKS}?cursor={first.json()['next_cursor']}")
    assert titles(first) + titles(rest) == seven[::-1]


@pytest.mark.parametrize(
    ("query", "at"),
    [
        ("limit=0", ["/limit"]),
        ("limit=201", ["/limit"]),
        ("limit=-1", ["/limit"]),
        ("limit=", ["/limit"]),
        ("limit", ["/limit"]),
        ("limit=1.0", ["/limit"]),
        ("limit=1e2", ["/limit"]),
        ("limit=%2B1", ["/limit"]),
        ("limit=1_0", ["/limit"]),
        ("limit=%D9%A1", ["/limit"]),
        ("limit=" + "9" * 5000, ["/limit"]),
        ("limit=1&limit=1", ["/limit"]),
        ("limit=1&Limit=1", ["/Limit"]),
        ("completed=1", ["/completed"]),
        ("completed=True", ["/completed"]),
        ("completed=", ["/completed"]),
        ("completed=true&completed=false", ["/completed"]),
        ("completed[]=true", ["/completed[]"]),
        ("sort=id", ["/sort"]),
        ("sort=-", ["/sort"]),
        ("sort=%2Btitle", ["/sort"]),
        ("sort=title,id", ["/sort"]),
        ("sort=", ["/sort"]),
        ("sort=CREATED_AT", ["/sort"]),
        ("q=" + "x" * 101, ["/q"]),
        ("q=" + quote("ß" * 51), ["/q"]),
        ("q=%00", ["/q"]),
        ("q=%1F", ["/q"]),
        ("q=%C2%85", ["/q"]),
        ("q=%ED%A0%80", [""]),
        ("q=%FF", [""]),
        ("%FF=1", [""]),
        ("offset=1", ["/offset"]),
        ("user_id=bob", ["/user_id"]),
        ("_method=DELETE", ["/_method"]),
        ("a/b~c=1", ["/a~1b~0c"]),
        ("=1", [""]),
        ("limit=x&sort=x&completed=y&z=1", ["/limit", "/sort", "/completed", "/z"]),
        ("z=1&limit=0&q=%00", ["/z", "/limit", "/q"]),
        ("&".join(f"q{number}=1" for number in range(41)), [""]),
    ],
)
async def test_a_wrong_query_is_refused_by_name(service: Service, query: str, at: list[str]) -> None:
    assert pointers(await service.ask("GET", f"{TASKS}?{query}")) == at


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("search", "q"), ("query", "q"), ("status", "completed"), ("done", "completed"), ("Limit", "limit"),
        ("pageSize", "limit"), ("per_page", "limit"), ("orderBy", "sort"), ("sort_by", "sort"),
        ("next_cursor", "cursor"), ("complete", "completed"), ("limt", "limit"), ("title", None), ("page", None),
    ],
)  # fmt: skip
async def test_an_unknown_parameter_is_refused_with_a_suggestion(
    service: Service, name: str, meant: str | None
) -> None:
    errors = problem(await service.ask("GET", f"{TASKS}?{name}=1&limit=0"), 422)["errors"]
    advice = (
        f"did you mean {meant}?"
        if meant
        else "use one of completed, q, priority, tag, list_id, parent_id, due_from, due_before, sort, limit, cursor"
    )
    assert errors[0] == {"pointer": f"/{name}", "detail": f"is unknown: {advice}"}
    assert [each["pointer"] for each in errors] == [f"/{name}", "/limit"]


HEX = "0198" + "0" * 8 + "7" + "0" * 3 + "8" + "0" * 15


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "....", "%00", "%FF", "AAAA", "A" * 10_000, cursor_text([]), cursor_text({}), cursor_text(None),
        cursor_text("abc"), cursor_text(["-created_at", HEX]), cursor_text(["-created_at", HEX, 1]),
        cursor_text(["-created_at", HEX, "x"]), cursor_text(["-created_at", 1, None]),
        cursor_text(["-created_at", "z" * 32, None]), cursor_text(["nope", HEX, None]),
        cursor_text([[], HEX, None]), cursor_text(["created_at", HEX, None]), cursor_text(["title", HEX, "x"]),
        cursor_text(["title", HEX, "\ud800"]), cursor_text(["updated_at", HEX, "2026-01-01"]),
        cursor_text(["updated_at", HEX, "9999-99-99T00:00:00+00:00"]),
        cursor_text(["-created_at", HEX.upper() + "A", None]), cursor_text(["-created_at", f"{{{HEX}}}", None]),
        cursor_text(["-created_at", HEX, None]) + "=", cursor_text(["-created_at", HEX, None]) + "%0A",
        base64.b64encode(b"[" * 100_000).decode(), base64.b64encode(b"9" * 5000).decode(),
    ],
)  # fmt: skip
async def test_a_bad_cursor_is_refused(service: Service, cursor: str) -> None:
    problems = pointers(await service.ask("GET", f"{TASKS}?cursor={cursor}"))
    assert problems == (["/cursor"] if "%FF" not in cursor else [""])


async def test_a_cursor_is_refused_with_another_sort_order(service: Service, seven: list[str]) -> None:
    cursor = (await service.ask("GET", f"{TASKS}?limit=1&sort=title")).json()["next_cursor"]
    assert pointers(await service.ask("GET", f"{TASKS}?cursor={cursor}&sort=-title")) == ["/cursor"]
    assert pointers(await service.ask("GET", f"{TASKS}?cursor={cursor}")) == ["/cursor"]


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=6).map(cursor_text),
        st.tuples(st.sampled_from(["-created_at", "title"]), st.text(), st.none() | st.text()).map(cursor_text),
    )
)
async def test_any_made_up_cursor_is_refused(service: Service, cursor: str) -> None:
    assert pointers(await service.ask("GET", f"{TASKS}?cursor={cursor}")) == ["/cursor"]
