"""A new member of a task takes a few lines: one is added to a copy of the sources, and every layer has it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from databases import ScratchCluster

ROOT = Path(__file__).parents[1]
# By file: the line that the new one follows, and the new one.
LINES = {
    "todo_core/task.py": [
        ("    priority: Priority | None\n", "    color: str | None\n"),
        ("    priority: Priority | None = None\n", "    color: str | None = None\n"),
        (
            '    "priority": Rule(lambda value: value is None or value in PRIORITIES, PRIORITY_RULE),\n',
            '    "color": Rule(lambda it: it in (None, "#ff0000", "#00ff00"), "must be like #ff8800, or null"),\n',
        ),
    ],
    "todo_adapters/postgres/table.py": [('    Column("priority", TEXT),\n', '    Column("color", TEXT),\n')],
    "todo_app/api/wire.py": [
        ("    priority: Level | UnsetType | None = UNSET\n", "    color: str | UnsetType | None = UNSET\n"),
        ("    priority: Level | None\n", "    color: str | None\n"),
        ("            task.priority,\n", "            task.color,\n"),
    ],
    "todo_core/testing/examples.py": [
        ('    "priority": priorities,\n', '    "color": st.sampled_from([None, "#ff0000", "#00ff00"]),\n'),
    ],
}
MIGRATION = '''"""Tasks gain a color."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("color", sa.Text(collation="C")))


def downgrade() -> None:
    op.drop_column("tasks", "color")
'''


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The sources and the example of a storage, with the member."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "swagger_ui"))
    (tmp_path / "src/todo_app/http/swagger_ui").symlink_to(ROOT / "src/todo_app/http/swagger_ui")
    for name, lines in LINES.items():
        path = tmp_path / "src" / name
        text = path.read_text()
        for there, new in lines:
            assert text.count(there) == 1, (name, there)
            text = text.replace(there, there + new)
        path.write_text(text)
    versions = tmp_path / "src/todo_adapters/postgres/migrations/versions"
    before = max(path.name for path in versions.glob("*.py"))[:4]
    revision = f"{int(before) + 1:04}"
    (versions / f"{revision}_color.py").write_text(MIGRATION.format(revision=revision, before=before))
    shutil.copy(ROOT / "tests/with_color.py", tmp_path / "test_color.py")
    return tmp_path


@pytest.mark.ci
def test_a_member_takes_eight_lines_and_a_migration(sources: Path, cluster: ScratchCluster) -> None:
    assert sum(map(len, LINES.values())) == 8
    url = cluster.create_database()
    paths = [sources / "src", ROOT / "tests", ROOT / "examples"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "COLOR_SOURCES": str(sources),
        "COLOR_DATABASE_URL": url,
    }
    run = "import sys; from todo_adapters.postgres.migrations import migrate; migrate(sys.argv[1])"
    subprocess.run([sys.executable, "-c", run, url], env=environment, check=True)
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(sources)]
    command += ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    for plugin in ("cacheprovider", "schemathesis", "faker", "valkey", "xdist", "cov"):
        command += ["-p", f"no:{plugin}"]
    ran = subprocess.run(
        [*command, str(sources / "test_color.py")], env=environment, cwd=sources, capture_output=True, text=True
    )
    cluster.drop(url)
    assert ran.returncode == 0, ran.stdout + ran.stderr
