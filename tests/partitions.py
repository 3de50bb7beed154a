"""Databases whose tables are partitioned by owner, and which partitions a statement would touch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from todo_adapters.postgres.migrations import migrate

PARTITION = Path(__file__).parents[1] / "deploy/partition.sql"


def partition(url: str) -> None:
    """Keep that migrated database's tables in partitions, as docs/scaling.md has it."""
    with psycopg.connect(url) as connection:
        connection.execute(PARTITION.read_bytes())


def migrate_and_partition(url: str) -> None:
    migrate(url)
    partition(url)


def partitions_in_plan(connection: psycopg.Connection[Any], statement: str, parameters: Mapping[str, Any]) -> set[str]:
    """The partitions that are left when the statement is planned with its values; nothing is carried out."""
    [(found,)] = connection.execute(
        f"explain (format json) {statement}",  # type: ignore[arg-type]
        parameters,
        prepare=False,
    ).fetchall()
    return {name for name in _relations(found) if name.rpartition("_")[2].isdecimal()}


def _relations(plan: Any) -> Iterator[str]:
    if isinstance(plan, list):
        for each in plan:
            yield from _relations(each)
    elif isinstance(plan, dict):
        if "Relation Name" in plan:
            yield plan["Relation Name"]
        for each in plan.values():
            yield from _relations(each)
