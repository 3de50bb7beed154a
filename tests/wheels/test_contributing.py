"""The first ten minutes of CONTRIBUTING.md, command by command, in a copy that was just unpacked."""

import os
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from wheels.building import ROOT

pytestmark = pytest.mark.timeout(900)
SAID = re.compile(r"^\| (.+?) \| .+ \| .+ \|$", re.MULTILINE)
EDITED = "open `src/todo_core/task.py`, let `toggled` return `self`, and run them again"
TOGGLES = "return self.edited(at=at, completed=not self.completed)"


def rows() -> list[str]:
    """What the table says to do, in order."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split("\n## ", 2)[1]
    return SAID.findall(section)[1:]  # the first one is its head


def test_a_contributor_can_do_what_the_table_says(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    ours = ("CI", "COV", "NOX", "TODO_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def ask(command: str) -> tuple[int, str]:
        program, *arguments = shlex.split(command)
        run = [sys.executable if program == "python3" else program, *arguments]
        done = subprocess.run(run, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    serve, core, edited, hooks, everything = rows()
    assert (serve, everything) == ("`python3 run.py serve`", "`python3 run.py test`")  # README's, which CI runs
    code, said = ask(core.strip("`"))
    assert (code, " passed" in said) == (0, True), said
    assert edited == EDITED
    source = folder / "src/todo_core/task.py"
    text = source.read_text()
    assert TOGGLES in text
    source.write_text(text.replace(TOGGLES, "return self"))
    code, said = ask(core.strip("`"))
    assert (code, "toggled" in said or "toggl" in said) == (1, True), said
    source.write_text(text)
    subprocess.run(["git", "init", "--quiet", "."], cwd=folder, check=True)
    code, said = ask(hooks.strip("`"))
    assert (code, (folder / ".git/hooks/pre-commit").exists()) == (0, True), said
