"""Every code block of the documents is run, or says why it isn't."""

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import has_been_used
from pages import ADDS_SPACE, ROOT, Block, Reader, agree, blocks_of, pages
from serving import database_pid

from todo_adapters.embedded.account import Account
from todo_adapters.embedded.binaries import find_binaries
from todo_adapters.postgres.migrations import migrate

pytestmark = [
    pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="bash or curl is not installed"),
]
DATABASE = "postgresql://localhost/tasks"  # where a page says this, the reader has an empty database
NOT_RUN = {  # each says why in its document
    "docs/deploy-systemd.md": 2,
    "docs/deploy.md": 5,
    "docs/faults.md": 1,
    "docs/scaling.md": 6,
}

# Read by somebody who has never started the server; the other pages find the data of an earlier start.
BEGINNINGS = {"README.md", "docs/how-to/embed.md"}
KEPT = {  # what a page is there to make
    "docs/deploy.md": {".env"},
    "docs/embedded-database.md": {"tasks.dump"},
    "docs/operations.md": {"tasks.dump"},
}
# Followed to the end, with a real issuer, by the session `clients`.
FOLLOWED = {"docs/how-to/better-auth.md", "docs/how-to/identity-provider.md"}
# What the page runs are tests, which are run anyway.
TESTED = {"examples/README.md"}
# Each starts servers again and again.
LONG = {
    "docs/embedded-database.md",
    "docs/how-to/connect-an-agent.md",
    "docs/how-to/live-updates.md",
    "docs/how-to/rate-limits.md",
    "docs/how-to/recurring-tasks.md",
    "docs/how-to/repeat-writes.md",
    "docs/how-to/storage-adapter.md",
    "docs/how-to/undo-and-trash.md",
}
PAGES = [pytest.param(page, marks=[pytest.mark.ci] * (page in FOLLOWED | TESTED | LONG)) for page in pages()]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """The reader's data folder, in a path that is short enough for `psql`."""
    with tempfile.TemporaryDirectory(prefix="todo-") as folder:
        yield Path(folder) / "data"


@pytest.fixture
def reader(tmp_path: Path, data_dir: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Somebody with PostgreSQL's programs and a database, as far as the page speaks of them."""
    variables, programs, places = {"TODO_DATA_DIR": str(data_dir)}, list[Path](), dict[str, str]()
    page = request.node.callspec.params["page"]
    text = (ROOT / page).read_text()
    if page not in BEGINNINGS:
        has_been_used(data_dir, migrate)
    if "(Linux)" in text and sys.platform != "linux":
        pytest.skip("the page is about Linux only")
    if DATABASE in text:
        places[DATABASE] = request.getfixturevalue("empty_database_url")
    if "$DATABASE_URL" in text:
        variables["DATABASE_URL"] = request.getfixturevalue("database_url")
        programs.append(find_binaries(Account(os.geteuid(), os.getegid(), dropped=False)))
    if page == "examples/README.md":
        # The page's command, with some of its tests: all of them are run in `examples` itself.
        variables["PYTEST_ADDOPTS"] = "-k owner"
    with Reader(tmp_path / "clone", *programs, places=places, **variables) as reader:
        yield reader
    assert database_pid(data_dir) is None


@pytest.mark.parametrize("page", PAGES)
def test_a_reader_can_do_what_the_page_says(page: str, reader: Reader) -> None:
    reader.read(blocks_of(ROOT / page))
    assert reader.left_behind() == KEPT.get(page, set())


def test_a_reader_has_the_environment_once_the_page_activates_it(tmp_path: Path) -> None:
    uses, activates = (
        Block("sh", command, 1) for command in ("python3 -c 'import todo_core'", "source .venv/bin/activate")
    )
    with Reader(tmp_path / "without") as reader, pytest.raises(AssertionError, match="No module named 'todo_core'"):
        reader.read([uses])
    with Reader(tmp_path / "with") as reader:
        reader.read([activates, uses])


def test_a_page_runs_with_its_own_temporary_folder_for_pytest(tmp_path: Path) -> None:
    with Reader(tmp_path / "clone") as reader:
        reader.read([Block("sh", "echo $PYTEST_DEBUG_TEMPROOT", 1), Block("text", f"{tmp_path}…", 2)])


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("printf done", "the prompt stands behind 'done'"),
        ("printf '10 %%\\r20 %%\\n'", "shows progress"),
    ],
)
def test_output_that_a_terminal_does_not_show_well_is_refused(command: str, fault: str, tmp_path: Path) -> None:
    with Reader(tmp_path / "clone") as reader, pytest.raises(AssertionError, match=fault):
        reader.read([Block("sh", command, 1)])


def test_commands_of_a_page_have_a_terminal(tmp_path: Path) -> None:
    with Reader(tmp_path / "clone") as reader:
        reader.read([Block("sh", "test -t 1 && test -t 2 && echo yes", 1), Block("text", "yes", 2)])


@pytest.mark.parametrize(
    ("shown", "printed", "agrees"),
    [
        ('{"a":…}\n', '{"a":1}\n', True),
        ("a |\n", "a | \n\n", True),
        ('{"a": …}\n', '{"a":1}\n', False),
        ("200 OK\n", "200  OK\n", False),
        ("a b\n", "a\nb\n", False),
        ("a\n", "\na\n", False),
    ],
)
def test_a_page_shows_all_visible_white_space(shown: str, printed: str, agrees: bool) -> None:
    assert agree(shown, printed) == agrees


def test_answers_are_spaced_only_on_a_page_that_says_so(tmp_path: Path) -> None:
    (page := tmp_path / "page.md").write_text("```text\n1\n```\n\n" + ADDS_SPACE + "\n\n```text\n2\n```\n")
    assert [block.spaced for block in blocks_of(page)] == [False, True]
    assert agree('[1,\n {"a": …}]\n', '[1,{"a":1}]\n', spaced=True)


def test_a_file_that_a_command_leaves_is_noticed(tmp_path: Path) -> None:
    with Reader(tmp_path / "clone") as reader:
        reader.read([Block("sh", "echo x > answer.json", 1), Block("python", "# shown.py\n", 2)])
        assert reader.left_behind() == {"answer.json"}


def test_blocks_that_are_not_run_are_counted() -> None:
    excused = Counter(page for page in pages() for block in blocks_of(ROOT / page) if block.excuse)
    assert excused == NOT_RUN


def test_blocks_that_another_test_runs_are_on_a_page_named_in_that_test() -> None:
    named = {(page, block.runner) for page in pages() for block in blocks_of(ROOT / page) if block.runner}
    assert named
    assert not [(page, test) for page, test in named if Path(page).name not in (ROOT / test).read_text()]


def test_a_file_that_a_page_shows_is_used_on_that_page() -> None:
    for page in pages():
        blocks = blocks_of(ROOT / page)
        for number, block in enumerate(blocks):
            if block.file and not block.runner:  # that test uses it
                name = block.file.partition(".")[0]
                assert any(name in later.text for later in blocks[number + 1 :]), f"{page}: {block.file}"
