"""The metrics of a server with several workers, one of which is killed."""

import os
import re
import signal

import httpx
from serving import NO_TLS, Server, eventually

COUNT = re.compile(r"^todo_http_request_duration_seconds_count\{(.*)\} (\S+)$", re.MULTILINE)
TASKS = 'method="GET",route="/api/{user_id}/tasks",status="200"'


def scraped(server: Server) -> str:
    return httpx.get(f"{server.url}/metrics", timeout=10, verify=NO_TLS).text


def counts(server: Server) -> dict[str, float]:
    return {labels: float(value) for labels, value in COUNT.findall(scraped(server))}


def ask(server: Server, token: str, times: int) -> None:
    """Ask on a connection each, so that both workers get some."""
    for _ in range(times):
        with server.client(token) as client:
            assert client.get("/api/ann/tasks").status_code == 200


def test_every_worker_reports_metrics_of_all_even_after_one_was_killed(shared: Server, token: str) -> None:
    ask(shared, token, 12)
    eventually(lambda: counts(shared).get(TASKS) == 12)  # an answer is counted after it has gone out
    assert {counts(shared)[TASKS] for _ in range(6)} == {12}  # whichever worker answers
    workers = shared.workers()
    assert len(workers) == 2
    os.kill(min(workers), signal.SIGKILL)
    eventually(lambda: len(shared.workers() - {min(workers)}) == 2, 30)
    eventually(shared.answers)
    assert counts(shared)[TASKS] == 12
    ask(shared, token, 3)
    eventually(lambda: counts(shared)[TASKS] == 15)
    in_use = 'todo_database_connections{state="in_use"} 0.0'  # kept for a second, and not by the one that was killed
    eventually(lambda: in_use in scraped(shared))
    assert "ann" not in re.findall(r'="([^"]*)"', scraped(shared))
