"""What every scenario does: servers on a database, a fault under load, and the check of all that was written."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

import httpx
from faults.database import Database
from faults.followers import Followers
from faults.load import USERS, Load
from faults.table import Row
from serving import SECRET, Server, token_for

TIMEOUT = 1.0
SLACK = 10.0  # beyond the bound that the settings set: the machine may be busy
HANGING = 15.0  # seconds, more than both together: who waits for the end of a fault is noticed
FLAT = 48  # MiB that a server of two workers may grow by in an outage
ROWS: list[Row] = []


ON_A_DATABASE: dict[str, str] = {}


def settings(url: str, **more: str) -> dict[str, str]:
    """How every server of the scenarios is set up; without a URL it brings its own database."""
    usual = {"BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT": "100000000/hour", "TODO_DATABASE_TIMEOUT": f"{TIMEOUT}"}
    return {"DATABASE_URL": url, **usual, **(ON_A_DATABASE if url else {}), **more}


@dataclass
class Stage:
    """A database with servers on it, and the fault that comes over them."""

    database: Database
    servers: list[Server] = field(default_factory=list)
    recovery: float | None = None
    begun_anew: int = 0
    """How often a follower got the answer that its copy is of another past."""

    @contextmanager
    def load(self, fault: str, *urls: str) -> Iterator[Load]:
        """Users who write until the end of the block; after it everything is checked and added to the table."""
        urls = urls or tuple(server.url for server in self.servers)
        with Followers(USERS, urls) as followers:
            with Load(urls) as load:
                followers.hear()
                before = self._memory()
                yield load
                load.flows()
                followers.hear()
                grown = self._memory() - before
            self.database.quiet()
            verdict = load.ledger.verdict(self.database.url)
            followers.are_in_step()
        self.begun_anew = followers.count("begun anew")
        ROWS.append(Row.of(fault, load, followers, verdict, self.recovery, grown))
        assert not any(verdict), [each[:5] for each in verdict]
        assert load.slowest.seconds < 2 * TIMEOUT + SLACK, f"somebody waited for too long: {load.slowest}"
        assert grown < FLAT, "memory grows"

    def comes_back(self, load: Load) -> None:
        """The fault has been lifted: the first request works immediately, and everything else by itself."""
        lifted = monotonic()
        with self.servers[0].client(token_for("first")) as client:
            self.first_works(client)
        load.flows(1)
        self.recovery = monotonic() - lifted
        load.flows()

    def first_works(self, client: httpx.Client) -> None:
        """Ask for what cannot be half done: a list."""
        answer = client.get("/api/first/tasks")
        assert answer.status_code == 200, answer.text

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While the servers are frozen."""
        pids = [pid for server in self.servers for pid in server.family()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _memory(self) -> float:
        """MiB that the servers have of their own or share, from ps."""
        pids = ",".join(str(pid) for server in self.servers for pid in server.family())
        listed = subprocess.run(["ps", "-o", "rss=", "-p", pids], capture_output=True, text=True, check=False).stdout
        return sum(map(int, listed.split())) / 1024
