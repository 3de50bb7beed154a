"""The documents: what they name as proof is there."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = {
    node.name
    for path in ROOT.glob("tests/**/test_*.py")
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
}


@pytest.mark.parametrize("document", ["docs/security.md", "SECURITY.md"])
def test_every_test_and_file_that_is_named_exists(document: str) -> None:
    named = re.findall(r"`((?:test_|Test|tests/)[\w./]+)`", (ROOT / document).read_text())
    missing = [name for name in named if not (ROOT / name).exists() and not {*name.split(".")} <= TESTS]
    assert not missing


def test_every_link_between_documents_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")]
    links = [
        (document, link)
        for document in documents
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    ]
    assert links
    assert not [(document.name, link) for document, link in links if not (document.parent / link).exists()]


@pytest.fixture(scope="module")
def sessions() -> dict[str, str]:
    """What nox can run, and `*` for what it runs unless told otherwise, `-` for the rest."""
    listed = subprocess.run([sys.executable, "-m", "nox", "-l"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name: mark for mark, name in re.findall(r"^([*-]) (\S+) ->", listed.stdout, re.MULTILINE)}


def test_contributors_are_told_of_every_session_that_is_not_in_the_default_run(sessions: dict[str, str]) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    by_name = {re.sub(r"-3\.\d+$", "-3.", name) for name, mark in sessions.items() if mark == "-"}
    assert by_name
    assert not [name for name in by_name if f"`{name}" not in text]


def test_every_session_that_is_named_exists(sessions: dict[str, str]) -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    named = {(path.name, name) for path in documents for name in re.findall(r"-s ([a-z][\w.-]*)", path.read_text())}
    assert named
    assert not [(path, name) for path, name in named if name not in sessions]
