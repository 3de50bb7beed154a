"""Starts the service as an operator does, `todo serve`, on a free port of loopback."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 60  # seconds, for a busy machine


@dataclass(frozen=True)
class Service:
    """A running service: where it is, and what it has said."""

    url: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def serving(database_url: str, folder: Path, **environment: str) -> Iterator[Service]:
    """`todo serve` on that database with these variables, from when it is ready until the end of the block."""
    service = Service(f"http://127.0.0.1:{_free_port()}", folder / "log")
    command = [sys.executable, "-c", "import sys; from todo_app.cli import main; sys.exit(main())", "serve"]
    variables = {**os.environ, "DATABASE_URL": database_url, "TODO_DATA_DIR": str(folder), **environment}
    with (
        service.log.open("wb") as log,
        subprocess.Popen([*command, "--port", str(service.port)], env=variables, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_until_ready(service, process)
            yield service
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_until_ready(service: Service, process: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    give_up = time.monotonic() + TIMEOUT
    while time.monotonic() < give_up and process.poll() is None:
        with suppress(OSError), opener.open(f"{service.url}/health/ready", timeout=5):
            return
        time.sleep(0.05)
    raise AssertionError(f"the service did not become ready: {service.log.read_text()}")
