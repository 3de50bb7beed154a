"""How Sphinx makes the site of these documents: `nox -s docs`. Its menu is what README.md here links to."""

import re
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx

project, author, copyright = "todo-api", "the authors of todo-api", "the authors of todo-api"  # noqa: A001
release = version = metadata.version("todo-api")
root_doc = "README"
extensions = ["myst_parser"]
nitpicky = True
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"todo-api {release}"
html_copy_source = False


def for_the_site(_: Sphinx, document: str, source: list[str]) -> None:
    """What reads as it is on a code host, for the site: links out of docs/ become words, the first page a menu."""
    out = rf"\[([^]]+)\]\((?:\.\./){{{document.count('/') + 1}}}[^)]+\)"
    source[0] = re.sub(out, r"\1", source[0])
    if document == root_doc:
        for part in source[0].split("\n## ")[1:]:
            pages = "\n".join(re.findall(r"\]\(([\w/-]+)\.md\)", part))
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {part.splitlines()[0]}\n\n{pages}\n```\n"


def open_at_the_first_page(app: Sphinx, failure: Exception | None) -> None:
    """Sphinx names pages for their documents, and servers show a folder's index.html: that one leads to ours."""
    if failure is None:
        first = f"{root_doc}.html"
        leads = f'<meta http-equiv="refresh" content="0; url={first}"><a href="{first}">{project}</a>'
        page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{project}</title>{leads}</html>\n'
        Path(app.outdir, "index.html").write_text(page)


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("source-read", for_the_site)
    app.connect("build-finished", open_at_the_first_page)
