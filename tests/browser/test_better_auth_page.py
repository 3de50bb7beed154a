"""docs/how-to/better-auth.md, followed step by step: with a real Better Auth, and its page in a browser.

Needs node and npm, and installs Better Auth, as `e2e/better_auth/package-lock.json` pins it, into pytest's cache.
"""

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e.npm import NEEDS_NODE, NODE, installed, running
from pages import ROOT, Reader, blocks_of
from serving import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCE = ROOT / "tests/e2e/better_auth"
AUTH, SERVE, CALL, _ = blocks_of(ROOT / "docs/how-to/better-auth.md")
APP, TASKS = "https://app.example.com", "https://tasks.example.com"
SECRET = "only for tests: " + "x" * 32
WHAT_YOU_HAVE = "/* what you have, */"
HAVING = "emailAndPassword: { enabled: true },"  # and, where no database is named, one in memory
# tests/e2e/test_better_auth.py does the same, with a program in the browser's place.
pytestmark = [NEEDS_NODE, pytest.mark.timeout(300)]


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The page's two blocks of TypeScript, compiled strictly beside Better Auth's packages."""
    app = tmp_path / "app"
    shutil.copytree(SOURCE, app)
    (app / "node_modules").symlink_to(installed(request.config, SOURCE) / "node_modules")
    assert WHAT_YOU_HAVE in AUTH.text
    (app / "auth.ts").write_text(AUTH.text.replace(WHAT_YOU_HAVE, HAVING))
    (app / "page.ts").write_text(CALL.text)
    tsc = [str(NODE), "node_modules/typescript/bin/tsc", "--project", "."]
    done = subprocess.run(tsc, cwd=app, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return app


SIGN_UP = """async () => {
    const body = JSON.stringify({ name: "Ann", email: "ann@example.com", password: "correct horse battery staple" });
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("/api/auth/sign-up/email", { method: "POST", headers, body });
    return (await answer.json()).user.id;
}"""


def test_a_page_that_is_signed_in_reaches_its_tasks_as_the_how_to_says(
    folder: Path, page: "Page", tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "clone").mkdir()
    places, data = {APP: url}, str(tmp_path / "data")
    with (
        running(folder, "app.mjs", BETTER_AUTH_URL=url, BETTER_AUTH_SECRET=SECRET) as said,
        Reader(tmp_path / "clone", places=places, TODO_DATA_DIR=data) as reader,
    ):
        assert said == "listening\n"
        reader.read([SERVE])
        page.goto(url)
        user = page.evaluate(SIGN_UP)
        call = (folder / "page.js").read_text().replace(TASKS, reader.url).replace("export {};", "")
        status, answered, path = page.evaluate(f"async () => {{ {call}; {WHAT_CAME} }}")
    assert (status, answered["title"], path) == (201, "Buy oat milk", f"/api/{user}/tasks")


WHAT_CAME = "return [answer.status, await answer.json(), new URL(answer.url).pathname];"
