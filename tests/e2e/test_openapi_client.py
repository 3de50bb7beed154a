"""A TypeScript client generated from the served document compiles in strict mode and works (seven operations).

Needs node and npm, and installs what `openapi_client/package-lock.json` pins into pytest's cache; in CI what
`openapi_linters/package-lock.json` pins, too: two linters of that document.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from e2e.npm import NEEDS_NODE, NODE, installed
from serving import Server

CLIENT = Path(__file__).with_name("openapi_client")
LINTERS = Path(__file__).with_name("openapi_linters")

pytestmark = [NEEDS_NODE, pytest.mark.timeout(400)]


@pytest.fixture
def copied(request: pytest.FixtureRequest, shared: Server, tmp_path: Path) -> Callable[[Path], Path]:
    """Copies such a folder, with its packages and the document as it is served."""

    def copy(source: Path) -> Path:
        packages = installed(request.config, source)
        folder = shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("node_modules"))
        (folder / "node_modules").symlink_to(packages / "node_modules")
        (folder / "openapi.json").write_bytes(httpx.get(f"{shared.url}/openapi.json", trust_env=False).content)
        return folder

    return copy


def tool(folder: Path, program: str, *arguments: str, **more: str) -> str:
    """Run that file of a package; what it says. Fails if it does."""
    environment = {**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    command = [str(NODE), program, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False, **more
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_generated_client_compiles_and_works(copied: Callable[[Path], Path], shared: Server, token: str) -> None:
    folder = copied(CLIENT)
    tool(folder, "node_modules/openapi-typescript/bin/cli.js", "openapi.json", "-o", "schema.ts")
    tool(folder, "node_modules/typescript/bin/tsc", "--project", ".")
    assert "seven operations done" in tool(folder, "client.js", shared.url, input=token)


def test_spectral_finds_nothing(copied: Callable[[Path], Path]) -> None:
    said = tool(
        copied(LINTERS), "node_modules/@stoplight/spectral-cli/dist/index.js", "lint", "openapi.json", "--ruleset",
        "spectral.yaml", "--fail-severity", "hint",
    )  # fmt: skip
    assert "No results" in said


def test_redocly_finds_nothing(copied: Callable[[Path], Path]) -> None:
    command = ["node_modules/@redocly/cli/bin/cli.js", "lint", "openapi.json", "--config", "redocly.yaml"]
    said = tool(copied(LINTERS), *command)
    assert "is valid" in said  # under its strict rules, where a warning is an error
