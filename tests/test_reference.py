"""The reference says what the code says: every code, option, operation, name and default."""

import importlib.util
import re
from pathlib import Path

import pytest

from todo_app.http.errors import STATUSES
from todo_app.settings import Settings

ROOT = Path(__file__).parents[1]
MAKER = ROOT / "docs/reference/generate.py"


def maker() -> object:
    spec = importlib.util.spec_from_file_location("generate", MAKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = maker()


@pytest.mark.parametrize("name", GENERATE.PAGES)  # type: ignore[attr-defined]
def test_a_page_is_what_the_code_says(name: str) -> None:
    due = "run `python docs/reference/generate.py`"
    assert (MAKER.parent / name).read_text() == GENERATE.page(name), due  # type: ignore[attr-defined]


def test_every_code_is_among_the_errors() -> None:
    told = re.findall(r"^\| `(\w+)` \| (\d+) ", (MAKER.parent / "errors.md").read_text(), re.MULTILINE)
    assert told == [(kind.code, str(int(status))) for kind, (status, _) in STATUSES.items()]


def test_settings_and_example_tell_the_defaults_of_the_code() -> None:
    example = dict(re.findall("^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    table = re.findall(r"^\| `([A-Z_]+)` \|.*\| `([^`]+)` \|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    told = {name: default for name, default in table if default not in example}
    assert len(told) >= 8
    assert {name: example[name] for name in told} == told
    assert Settings.read(told) == Settings.read({})
