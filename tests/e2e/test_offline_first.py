"""docs/how-to/offline-first.md, with two devices of one user, on networks that fail, against a real server.

Needs node and npm, and takes the compiler that `openapi_client/package-lock.json` pins.
"""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e.npm import NEEDS_NODE, NODE, installed
from pages import ROOT, blocks_of
from serving import Server, token_for

from todo_core import OwnerId
from todo_core.sync import Mark, SyncToken

DEVICES = Path(__file__).with_name("offline_client")
PACKAGES = Path(__file__).with_name("openapi_client")
*FILES, COMPILING = blocks_of(ROOT / "docs/how-to/offline-first.md")
# Beside what the page says: as strict as it gets, and as for a browser, where nothing of Node.js is known.
STRICTER = (
    "--noUncheckedIndexedAccess --exactOptionalPropertyTypes --noUnusedLocals --noUnusedParameters"
    " --lib es2022,dom,dom.iterable"
)
COLUMNS = 120

pytestmark = [NEEDS_NODE, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, compiled in a folder without a package.json, and the devices that use them."""
    folder = tmp_path_factory.mktemp("offline") / "client"
    shutil.copytree(DEVICES, folder)
    for block in FILES:
        (folder / block.file).write_text(block.text)
    compiler = installed(request.config, PACKAGES) / "node_modules/typescript/bin/tsc"
    said = COMPILING.text.split()
    assert said[:2] == ["npx", "tsc"]
    command = [str(NODE), str(compiler), *said[2:], *STRICTER.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout
    (folder / "package.json").write_text('{"type": "module"}')  # for Node.js
    return folder


def play(folder: Path, server: Server, scenario: str, argument: str = "", owner: str = "") -> str:
    """Carry a scenario out, for a user of its own; what it prints. Fails if it does."""
    owner = owner or scenario
    token = token_for(owner)
    command = [str(NODE), "devices.mjs", scenario, f"{server.url}/api/{owner}", argument]
    done = subprocess.run(command, cwd=folder, input=token, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_replica_has_100_readable_lines() -> None:
    replica = next(block.text for block in FILES if block.file == "replica.ts").splitlines()
    assert len(replica) == 100
    assert max(map(len, replica)) <= COLUMNS
    assert not [line for line in replica if line.startswith("import")]


def test_the_files_are_compiled_to_es_modules_in_an_empty_folder(folder: Path) -> None:
    app, replica = ((folder / name).read_text() for name in ("app.js", "replica.js"))
    assert app.splitlines()[1] == 'import { Replica, State } from "./replica.js";'
    assert "export class Replica {" in replica
    assert "exports." not in app + replica


def test_offline_changes_are_merged_and_happen_once_even_if_answers_get_lost(folder: Path, shared: Server) -> None:
    play(folder, shared, "offline")


def test_conflicts_and_other_refusals_are_kept_for_the_user(folder: Path, shared: Server) -> None:
    play(folder, shared, "conflict")


def test_a_refused_creation_is_written_again_with_its_id_and_then_its_subtasks(folder: Path, shared: Server) -> None:
    play(folder, shared, "recreated")


def test_edits_made_while_a_write_is_sent_overwrite_nothing_unseen(folder: Path, shared: Server) -> None:
    play(folder, shared, "underway")


def test_edits_that_follow_each_other_conflict_only_with_changes_of_the_same_members(
    folder: Path, shared: Server
) -> None:
    play(folder, shared, "typing")


def test_a_replica_whose_token_is_too_old_begins_again(folder: Path, shared: Server) -> None:
    month_ago = Mark(0, None, datetime.now(UTC) - timedelta(days=31))
    play(folder, shared, "again", SyncToken(month_ago).encode(OwnerId("again")))


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_devices_converge_after_random_writes_failures_and_restarts(folder: Path, shared: Server, seed: str) -> None:
    report = json.loads(play(folder, shared, "random", seed, owner=f"random-{seed}"))
    assert report["things"] > 0
    assert report["lost"] > 0
    assert report["replayed"] > 0
