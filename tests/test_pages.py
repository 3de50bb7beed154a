"""Every code block of the documents is run, or says why it isn't."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, Block, Reader, blocks_of, pages
from serving import database_pid

from todo_adapters.embedded.account import Account
from todo_adapters.embedded.binaries import find_binaries

pytestmark = [
    pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="there is no bash or no curl"),
]
DATABASE = "postgresql://localhost/tasks"  # where a page says this, the reader has a database
NOT_RUN = {  # each says why in its document
    "docs/deploy.md": 5,
    "docs/faults.md": 1,
}


@pytest.fixture
def reader(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Somebody with PostgreSQL's programs and a database, as far as the page speaks of them."""
    variables, programs, places = {"TODO_DATA_DIR": str(tmp_path / "data")}, list[Path](), dict[str, str]()
    text = (ROOT / request.node.callspec.params["page"]).read_text()
    if "(Linux)" in text and sys.platform != "linux":
        pytest.skip("it is about what only Linux has")
    if DATABASE in text:
        places[DATABASE] = request.getfixturevalue("database_url")
    if "$DATABASE_URL" in text:
        variables["DATABASE_URL"] = request.getfixturevalue("database_url")
        programs.append(find_binaries(Account(os.geteuid(), os.getegid(), dropped=False)))
    if request.node.callspec.params["page"] == "examples/README.md":
        # The page's command, with some of its tests: all of them are run in `examples` itself.
        variables["PYTEST_ADDOPTS"] = "-k owner"
    with Reader(tmp_path, *programs, places=places, **variables) as reader:
        yield reader
    assert database_pid(tmp_path / "data") is None


@pytest.mark.parametrize("page", pages())
def test_a_reader_can_do_what_the_page_says(page: str, reader: Reader) -> None:
    reader.read(blocks_of(ROOT / page))


def test_a_reader_has_the_environment_once_the_page_activates_it(tmp_path: Path) -> None:
    uses, activates = (
        Block("sh", command, 1) for command in ("python3 -c 'import todo_core'", "source .venv/bin/activate")
    )
    for name in ("without", "with"):
        (tmp_path / name).mkdir()
    with Reader(tmp_path / "without") as reader, pytest.raises(AssertionError, match="No module named 'todo_core'"):
        reader.read([uses])
    with Reader(tmp_path / "with") as reader:
        reader.read([activates, uses])


def test_a_pytest_on_a_page_leaves_alone_what_the_one_around_it_made(tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        reader.read([Block("sh", "echo $PYTEST_DEBUG_TEMPROOT", 1), Block("text", str(tmp_path), 2)])


def test_what_is_not_run_is_counted() -> None:
    excused = Counter(page for page in pages() for block in blocks_of(ROOT / page) if block.excuse)
    assert excused == NOT_RUN


def test_what_another_test_runs_is_run_there() -> None:
    named = {(page, block.runner) for page in pages() for block in blocks_of(ROOT / page) if block.runner}
    assert named
    assert not [(page, test) for page, test in named if Path(page).name not in (ROOT / test).read_text()]


def test_a_file_that_a_page_shows_is_used_on_it() -> None:
    for page in pages():
        blocks = blocks_of(ROOT / page)
        for number, block in enumerate(blocks):
            if block.file:
                name = block.file.partition(".")[0]
                assert any(name in later.text for later in blocks[number + 1 :]), f"{page}: {block.file}"
