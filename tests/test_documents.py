"""The documents: what they name as proof is there."""

import ast
import re
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
