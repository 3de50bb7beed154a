"""A headless Chromium, driven by Playwright. Where either is missing the tests are skipped, and say so."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page  # in a group of its own: it brings a whole node

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# No sandbox: root, as which containers run tests, cannot have it. The rest keeps it from looking for its maker.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """The browser itself."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: nox -s browser has it")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, "--disable-component-update"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """An empty page of a profile of its own."""
    with browser.new_context() as context:
        context.set_default_timeout(30_000)  # a busy machine takes its time
        yield context.new_page()
