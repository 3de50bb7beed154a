"""The documents: the tests, files and sessions that they name exist."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")]


def names_of(path: Path) -> set[str]:
    """What pytest calls the tests in that file, and its classes of them."""
    return {name for node in ast.parse(path.read_text()).body for name in names_in(node)}


def names_in(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    if isinstance(node, ast.ClassDef):
        yield from (f"{node.name}::{name}" for child in node.body for name in names_in(child))


def is_there(name: str) -> bool:
    file, _, test = name.partition("::")
    return (ROOT / file).exists() and (not test or test in names_of(ROOT / file))


def test_every_test_and_file_of_tests_that_is_named_exists() -> None:
    named = {(path.name, name) for path in DOCUMENTS for name in re.findall(r"`(tests/[\w./:]+)`", path.read_text())}
    assert named
    assert not [(document, name) for document, name in named if not is_there(name)]


def test_the_evidence_names_tests_for_every_kind_of_defence_in_the_security_page() -> None:
    defences, evidence = ((ROOT / "docs" / name).read_text() for name in ("security.md", "security-evidence.md"))
    defended = re.findall(
        r"^### (.+)$", defences.partition("## What is defended")[2].partition("\n## ")[0], re.MULTILINE
    )
    shown = {part.partition("\n")[0]: "`tests/" in part for part in evidence.split("\n## ")}
    assert defended
    assert not [heading for heading in [*defended, "Identity"] if not shown.get(heading)]
    rows = re.findall(r"^\| .*", evidence, re.MULTILINE)
    shows = re.compile(r"`(?:tests/|nox -s )|attacks `|^\| (?:defence|item) \|")
    assert not [row for row in rows if not shows.search(row)]


def test_every_link_between_documents_leads_somewhere() -> None:
    links = [
        (document, link)
        for document in DOCUMENTS
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    ]
    assert links
    assert not [(document.name, link) for document, link in links if not (document.parent / link).exists()]


@pytest.fixture(scope="module")
def sessions() -> dict[str, str]:
    """What nox can run, and `*` for what it runs by default, `-` for the rest."""
    listed = subprocess.run([sys.executable, "-m", "nox", "-l"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name: mark for mark, name in re.findall(r"^([*-]) (\S+) ->", listed.stdout, re.MULTILINE)}


def test_contributing_md_names_every_session_outside_the_default_run(sessions: dict[str, str]) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    by_name = {re.sub(r"-3\.\d+$", "-3.", name) for name, mark in sessions.items() if mark == "-"}
    assert by_name
    assert not [name for name in by_name if f"`{name}" not in text]


def test_every_session_that_is_named_exists(sessions: dict[str, str]) -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    named = {(path.name, name) for path in documents for name in re.findall(r"-s ([a-z][\w.-]*)", path.read_text())}
    assert named
    assert not [(path, name) for path, name in named if name not in sessions]
