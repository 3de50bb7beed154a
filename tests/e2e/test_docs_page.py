"""The page at /docs in a real browser: somebody pastes a token and tries every operation.

Needs Chromium, node and npm, and installs what `docs_page/package-lock.json` pins into pytest's cache.
"""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from e2e.npm import NEEDS_NODE, NODE, installed
from serving import Server

from todo_app.http.openapi import openapi

SOURCE = Path(__file__).with_name("docs_page")
SHIPPED = Path(__file__).parents[2] / "src/todo_app/http/swagger_ui"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SUCCESS = {
    "createTask": 201, "listTasks": 200, "getTask": 200, "replaceTask": 200, "editTask": 200, "completeTask": 200,
    "deleteTask": 204, "isLive": 200, "isReady": 200, "getMetrics": 200, "getOpenapi": 200,
}  # fmt: skip

pytestmark = [NEEDS_NODE, pytest.mark.timeout(300)]


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (CHROMIUM may say where it is)")
def test_a_person_pastes_a_token_and_tries_every_operation(
    request: pytest.FixtureRequest, shared: Server, token: str, tmp_path: Path
) -> None:
    told = drive(installed(request.config, SOURCE), tmp_path, shared.url, token)
    assert told["answers"] == SUCCESS
    assert told["violations"] == []
    assert told["complaints"] == []
    assert {"{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in told["requests"]} == {shared.url}
    assert told["stored"] == [[], [], ""]  # a closed tab forgets the token
    assert token not in shared.log().decode()


def test_every_operation_of_the_document_is_tried() -> None:
    assert {
        operation["operationId"]
        for item in openapi()["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    } == SUCCESS.keys()


def test_what_is_shipped_of_swagger_ui_is_what_npm_has(request: pytest.FixtureRequest) -> None:
    """The package-lock's integrity hash, which npm has checked, holds for these bytes."""
    package = installed(request.config, SOURCE) / "node_modules/swagger-ui-dist"
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert gzip.decompress((SHIPPED / f"{name}.gz").read_bytes()) == (package / name).read_bytes()
    for name in ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"):
        assert (SHIPPED / name).read_bytes() == (package / name).read_bytes()


def drive(folder: Path, pictures: Path, url: str, token: str) -> dict[str, Any]:
    """What became of every operation that was tried on the page."""
    command = [str(NODE), "drive.mjs", str(CHROMIUM), str(pictures), url, *SUCCESS]
    done = subprocess.run(command, cwd=folder, input=token, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))
