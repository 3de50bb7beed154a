"""Sync over HTTP, for clients that keep a copy: pages, tokens and refusals."""

from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asking import Service, make_service
from factories import ANN, BOB
from refusals import problem

from todo_core import SyncToken
from todo_core.sync import Mark

CHANGES = f"/api/{ANN}/changes"


async def add(service: Service, title: str, user: str = ANN) -> dict[str, Any]:
    answer = await service.ask("POST", f"/api/{user}/tasks", user=user, json_={"title": title})
    return dict(answer.json())


async def page(service: Service, since: str | None = None, **query: object) -> dict[str, Any]:
    query |= {} if since is None else {"since": since}
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    answer = await service.ask("GET", f"{CHANGES}?{asked}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "private, no-cache, no-transform"
    return dict(answer.json())


async def test_the_first_sync_gives_everything_and_later_ones_changes_and_deletions(service: Service) -> None:
    made = [await add(service, title) for title in ("one", "two", "three")]
    first = await page(service, limit=2)
    second = await page(service, first["next"], limit=2)
    assert [item["value"] for item in first["items"] + second["items"]] == sorted(made, key=lambda task: task["id"])
    assert [each["full"] and each["more"] for each in (first, second)] == [True, True]
    last = await page(service, second["next"])
    assert last["items"] == []
    assert (last["more"], last["full"]) == (False, False)
    await service.ask("DELETE", f"/api/{ANN}/tasks/{made[0]['id']}")
    done = await service.ask("PATCH", f"/api/{ANN}/tasks/{made[1]['id']}/complete")
    changed = await page(service, last["next"])
    assert changed["items"] == [
        {"kind": "task", "id": made[0]["id"], "deleted": True, "value": None},
        {"kind": "task", "id": made[1]["id"], "deleted": False, "value": done.json()},
    ]
    assert (await page(service, changed["next"]))["next"] == changed["next"]


async def test_an_invalid_sync_token_is_refused_by_name(service: Service) -> None:
    await add(service, "one")
    good = (await page(service))["next"]
    await add(service, "theirs", BOB)
    theirs = (await service.ask("GET", f"/api/{BOB}/changes", user=BOB)).json()["next"]
    wrong = [
        "",
        "x",
        good[:-1],
        good + "A",
        good[:-4],
        good[:-2] + "__",
        theirs,
        "A" * 76,
        "_" * 76,
        "%00",
        "%ED%A0%80",
    ]
    wrong += [urlsafe_b64encode(b"\x09" + b"x" * 56).decode(), good.replace(good[0], "-", 1), "A" * 60_000]
    for since in wrong:
        refusal = problem(await service.ask("GET", f"{CHANGES}?since={since}"), 422, "invalid_input")
        assert [error["pointer"] for error in refusal["errors"]] in (["/since"], [""])
    refusal = problem(await service.ask("GET", f"{CHANGES}?since=x&limit=0&token=x"), 422)
    assert [error["pointer"] for error in refusal["errors"]] == ["/since", "/limit", "/token"]


@pytest.mark.parametrize("path", ["changes", "events"])
async def test_a_token_of_another_database_or_of_the_future_or_too_old_is_gone(service: Service, path: str) -> None:
    for title in ("one", "two"):
        await add(service, title)
    since = (await page(service))["next"]
    here = SyncToken.decode((await page(service, since))["next"], ANN)
    tick = timedelta(microseconds=1)
    marks = [here.mark._replace(number=9), here.mark._replace(at=here.mark.at + tick)]
    marks += [here.mark._replace(at=here.mark.at - tick), Mark(0, None, datetime.now(UTC) - timedelta(days=30))]
    for mark in marks:
        token = replace(here, mark=mark).encode(ANN)
        problem(await service.ask("GET", f"/api/{ANN}/{path}?since={token}"), 410, "resync_required")
    other = make_service()
    for title in ("one", "two"):
        await add(other, title)
    problem(await other.ask("GET", f"/api/{ANN}/{path}?since={here.encode(ANN)}"), 410, "resync_required")


async def test_how_long_tokens_are_good_is_a_setting() -> None:
    service = make_service(history_days=2)
    await add(service, "one")
    for days, status in ((1.9, 200), (2, 410)):
        token = SyncToken(Mark(0, None, datetime.now(UTC) - timedelta(days=days))).encode(ANN)
        assert (await service.ask("GET", f"{CHANGES}?since={token}")).status_code == status
