"""Runs random histories: a state machine of Hypothesis, whose steps are coroutines on one event loop."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine to its end, always on the same event loop, such as `asyncio.Runner().run`."""


def run_histories(machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
    """Run that many histories of up to `steps` steps.

    A failing one is not shrunk, which would take minutes with a real storage.
    """
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=[Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(machine, settings=chosen)
