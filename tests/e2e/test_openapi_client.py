"""A TypeScript client that is generated from the served document compiles, strictly, and does all seven operations.

Needs node and npm, and installs what `openapi_client/package-lock.json` pins into pytest's cache.
"""

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from e2e.npm import NEEDS_NODE, NODE, installed
from serving import Server

SOURCE = Path(__file__).with_name("openapi_client")

pytestmark = [NEEDS_NODE, pytest.mark.timeout(400)]


@pytest.fixture
def folder(request: pytest.FixtureRequest, shared: Server, tmp_path: Path) -> Path:
    """The client's source and its packages, with the document as it is served."""
    packages = installed(request.config, SOURCE)
    shutil.copytree(SOURCE, tmp_path / "client", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "client/node_modules").symlink_to(packages / "node_modules")
    (tmp_path / "client/openapi.json").write_bytes(httpx.get(f"{shared.url}/openapi.json", trust_env=False).content)
    return tmp_path / "client"


def tool(folder: Path, program: str, *arguments: str, **more: str) -> str:
    """Run that file of a package; what it says. Fails if it does."""
    environment = {**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    command = [str(NODE), program, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False, **more
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_generated_client_compiles_and_does_all_seven_operations(folder: Path, shared: Server, token: str) -> None:
    tool(folder, "node_modules/openapi-typescript/bin/cli.js", "openapi.json", "-o", "schema.ts")
    tool(folder, "node_modules/typescript/bin/tsc", "--project", ".")
    assert "seven operations done" in tool(folder, "client.js", shared.url, input=token)


def test_spectral_finds_nothing(folder: Path) -> None:
    said = tool(
        folder, "node_modules/@stoplight/spectral-cli/dist/index.js", "lint", "openapi.json", "--ruleset",
        "spectral.yaml", "--fail-severity", "hint",
    )  # fmt: skip
    assert "No results" in said


@pytest.mark.ci
def test_redocly_finds_nothing(folder: Path) -> None:
    said = tool(folder, "node_modules/@redocly/cli/bin/cli.js", "lint", "openapi.json", "--config", "redocly.yaml")
    assert "is valid" in said  # under its strict rules, where a warning is an error
