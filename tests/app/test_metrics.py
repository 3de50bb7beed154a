"""The metrics: by route template, without anything of a user's, added up over processes."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from asking import Service, make_service
from clocks import until
from factories import ANN, make_id

from todo_adapters.postgres.addresses import Addresses
from todo_adapters.postgres.engine import Engine
from todo_app import metrics

# A process that counts, and is killed while it holds connections; then one that is asked.
COUNTS_AND_DIES = """
import os, signal
from todo_app.metrics import Metrics
metrics = Metrics()
metrics.limiter_failures.inc(3)
metrics._pool.labels("open").inc(5)
os.kill(os.getpid(), signal.SIGKILL)
"""
IS_ASKED = """
from todo_app.metrics import Metrics
metrics = Metrics()
metrics.limiter_failures.inc(4)
metrics._pool.labels("open").inc(2)
print(metrics.exposition().decode())
"""


def numbers(text: str) -> dict[str, float]:
    """Every sample by its name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


async def scrape(service: Service) -> str:
    answer = await service.ask("GET", "/metrics", user=None)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return answer.text


async def test_requests_are_counted_by_template_method_and_status() -> None:
    service = make_service()
    for path, user in (("tasks", ANN), ("tasks", ANN), (f"tasks/{make_id(1)}", ANN), ("tasks", None)):
        await service.ask("GET", f"/api/{ANN}/{path}", user=user)
    await service.ask("POST", f"/api/{ANN}/tasks", json_={"title": "x"})
    for method in ("FOO", "BAR"):
        await service.ask(method, "/nowhere")
    found = numbers(await scrape(service))
    name = "todo_http_request_duration_seconds_count"
    counts = {labels: value for labels, value in found.items() if labels.startswith(name)}
    assert counts == {
        name + '{method="GET",route="/api/{user_id}/tasks",status="200"}': 2,
        name + '{method="GET",route="/api/{user_id}/tasks/{task_id}",status="404"}': 1,
        name + '{method="GET",route="none",status="401"}': 1,
        name + '{method="POST",route="/api/{user_id}/tasks",status="201"}': 1,
        name + '{method="other",route="none",status="404"}': 2,
    }
    for other in ("todo_rate_limit_store_failures_total", "todo_key_fetch_failures_total", "process_open_fds"):
        assert other in found or sys.platform != "linux"


async def test_the_metrics_contain_nothing_that_clients_sent() -> None:
    service = make_service()
    sent = ["u-secret", "t-secret", "q-secret", "m-SECRET", "id-secret"]
    user, title, query, method, request_id = sent
    before = len(numbers(await scrape(service)))
    await service.ask("POST", f"/api/{user}/tasks", user=user, json_={"title": title})
    await service.ask("GET", f"/api/{user}/tasks?q={query}", user=user, headers={"X-Request-Id": request_id})
    for number in range(20):
        await service.ask(method, f"/api/{user}/{number}/{title}", user=user)
        await service.ask("GET", f"/{user}/{number}", user=user)
    text = await scrape(service)
    for word in [*sent, "secret", "SECRET", service.token(user)]:
        assert word not in text
    assert set(re.findall(r'(\w+)="', text)) <= {
        "route", "method", "status", "le", "state", "implementation", "major", "minor", "patchlevel", "version",
    }  # fmt: skip
    assert len(numbers(text)) - before < 100  # strangers do not make it grow


def test_what_a_killed_process_counted_stays_and_its_connections_do_not(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", COUNTS_AND_DIES], env=environment, check=False, timeout=60)
    asked = [sys.executable, "-c", IS_ASKED]
    done = subprocess.run(asked, env=environment, check=True, timeout=60, capture_output=True, text=True)
    found = numbers(done.stdout)
    assert found["todo_rate_limit_store_failures_total"] == 7
    assert found['todo_database_connections{state="open"}'] == 2


async def test_connections_that_cannot_be_made_again_do_not_count_as_given_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = metrics.Metrics()
    counted.watch(engine)
    async with engine.connect() as connection:
        await connection.execute("begin")  # it will be closed, and its place in the pool kept

    def in_use() -> float:
        return numbers(counted.exposition().decode())['todo_database_connections{state="in_use"}']

    async def refuse(_: Addresses) -> NoReturn:
        raise psycopg.OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(Addresses, "connect", refuse)
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError):
                await engine.take()
    assert in_use() == 0
    taken = await engine.take()
    assert in_use() == 1
    await engine.give_back(taken)
    assert in_use() == 0


def test_a_process_whose_shared_folder_was_deleted_reports_its_own_metrics(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "swept")}
    (tmp_path / "swept").mkdir()
    swept = IS_ASKED.replace("print", "import os, shutil; shutil.rmtree(os.environ['PROMETHEUS_MULTIPROC_DIR'])\nprint")
    done = subprocess.run(
        [sys.executable, "-c", swept], env=environment, check=True, timeout=60, capture_output=True, text=True
    )
    assert numbers(done.stdout)["todo_rate_limit_store_failures_total"] == 4


def test_a_pid_reused_by_another_user_does_not_count_as_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    (tmp_path / "gauge_livesum_4711.db").touch()
    metrics._forget_the_dead()
    assert not list(tmp_path.iterdir())


class HeldExpositions:
    """Expositions that end when they are let go; each is counted when it begins."""

    def __init__(self) -> None:
        self.begun = 0
        self.let_go = threading.Event()

    def __call__(self, _: object) -> bytes:
        self.begun += 1
        if not self.let_go.wait(5):
            self.let_go.set()  # else each of many that block the event loop would wait as long
            raise TimeoutError
        return b"exposition %d" % self.begun


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldExpositions:
    held = HeldExpositions()
    monkeypatch.setattr(metrics, "generate_latest", held)
    return held


async def test_simultaneous_scrapes_make_one_exposition_while_other_requests_are_answered(
    held: HeldExpositions,
) -> None:
    service = make_service()
    scrapes = [asyncio.create_task(scrape(service)) for _ in range(100)]
    await until(lambda: held.begun == 1)
    assert (await service.ask("GET", "/health/live", user=None)).status_code == 200
    assert not any(each.done() for each in scrapes)
    held.let_go.set()
    assert {await each for each in scrapes} == {"exposition 1"}
    assert await scrape(service) == "exposition 2"  # a later one does not get what may be out of date


async def test_scrapes_whose_clients_have_gone_do_not_make_several_expositions(held: HeldExpositions) -> None:
    counted = metrics.Metrics()
    for _ in range(5):
        gone = asyncio.create_task(counted.scrape())
        await until(lambda: held.begun > 0)
        gone.cancel()
        await asyncio.wait({gone})
    last = asyncio.create_task(counted.scrape())
    await asyncio.sleep(0)
    held.let_go.set()
    assert (await last, held.begun) == (b"exposition 1", 1)


async def test_a_scrape_that_fails_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> NoReturn:
        raise OSError("unreadable")

    counted = metrics.Metrics()
    with monkeypatch.context() as patch:
        patch.setattr(metrics, "generate_latest", fail)
        with pytest.raises(OSError, match="unreadable"):
            await counted.scrape()
    assert b"todo_log_lines_dropped_total" in await counted.scrape()


def test_a_scrape_that_an_earlier_loop_left_is_not_waited_for() -> None:
    counted = metrics.Metrics()
    earlier = asyncio.new_event_loop()
    left = counted._scrape = earlier.create_task(asyncio.sleep(0, b"never"))
    assert b"todo_log_lines_dropped_total" in asyncio.run(counted.scrape())
    earlier.run_until_complete(left)
    earlier.close()
