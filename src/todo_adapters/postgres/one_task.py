"""Which plans go into a shared statement: those that read and write one task. All others go behind the owner's lock."""

from dataclasses import replace

from todo_adapters.postgres.writing import Write
from todo_core import Decision, NotSeen, Plan, Seen, Sees, Task, decided
from todo_core.seen import subtasks_of


def is_of_one_task(sees: Sees) -> bool:
    """Whether it is one task, or nothing, that must be read."""
    return len(sees.tasks) <= 1 and not (sees.entries or sees.last_entries or sees.pages or sees.lists or sees.log)


def decided_on_one_task(plan: Plan, seen: Seen) -> Decision:
    """What the plan decides on one task. A deletion assumes that it has no subtasks, which the statement checks.

    Raises `NotSeen`, and what the plan raises.
    """
    try:
        return decided(plan, seen)
    except NotSeen as more:
        below = frozenset(subtasks_of(frozenset({task_id})) for task_id in seen.tasks)
        if more.wanted != Sees(pages=below):
            raise
        try:
            decision = decided(plan, replace(seen, pages=dict.fromkeys(below, ())))
        except Exception:
            raise more from None  # what is only assumed is no reason to refuse
        if [pair.after for pair in decision.pairs] != [None]:
            raise
        return decision


def write_of(plan: Plan, decision: Decision, sees: Sees) -> Write | None:
    """The decision as one write; None if a shared statement cannot check, store or log it."""
    if decision.erased or len(decision.pairs) != 1:
        return None
    [pair] = decision.pairs
    if not isinstance(pair.thing, Task) or sees.tasks - {pair.thing.id}:
        return None
    if pair.root or pair.took != 1 or (pair.before is None and pair.action != "created"):
        return None
    write = Write(pair, plan.client, plan.once)
    return write if plan.once is None or decision.answer == write.answer else None
