"""Runs Schemathesis against `todo serve` on a throw-away PostgreSQL; its exit code is that of the checks."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the tests' own modules lie

from databases import make_scratch_folder, remove_scratch_folder, shared_scratch_cluster
from serving import Server, environment, run

from todo_adapters.postgres.migrations import migrate

SECRET = "of this run only, and of no use elsewhere"
UNLIMITED = "1000000000/hour"
CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("hooks.py")


def main(arguments: list[str]) -> int:
    """Fuzz a server of our own; `arguments` go to Schemathesis as they are."""
    lock = make_scratch_folder()
    try:
        with shared_scratch_cluster() as cluster, tempfile.TemporaryDirectory() as folder:
            return fuzz(cluster.create_database(cluster.template("migrated", migrate)), Path(folder), arguments)
    finally:
        remove_scratch_folder(lock)


def fuzz(database_url: str, folder: Path, arguments: list[str]) -> int:
    """Start a server on that database, fuzz it, end it."""
    limits = {"TODO_RATE_LIMIT": UNLIMITED, "TODO_BAD_TOKEN_LIMIT": UNLIMITED}
    server = Server(folder, DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET, **limits)
    try:
        server.started()
        (tokens := folder / "tokens.json").write_text(json.dumps({"auth": [credentials("dev"), credentials("eve")]}))
        command = ["schemathesis.cli", "--config-file", str(CONFIG), "run", f"{server.url}/openapi.json", *arguments]
        variables = environment(TOKENS=str(tokens), SCHEMATHESIS_HOOKS=str(HOOKS))
        return subprocess.call([sys.executable, "-m", *command], env=variables, cwd=folder)
    finally:
        server.discard()


def credentials(user: str) -> dict[str, object]:
    """Who that user is, as Web Fuzzing Commons writes it."""
    token = run("token", user, "--expires", "1d", BETTER_AUTH_SECRET=SECRET).stdout.strip()
    return {"name": user, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
