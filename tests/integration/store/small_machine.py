"""The frame of the small machines, of schedules and of the outbox: a store and its model, to which the same happens.

What stays true: whatever happens, happens to the store and to the model, and both hold the same after it.

The short form is the same in each run; a longer one, of other runs each time, is asked for by a number of examples:

    THREADMILL_MODEL_EXAMPLES=500 pytest tests/integration/store/schedules/model_based
"""

import copy
import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test

from tests.integration.store.turns.model_based.conversions import ZERO
from tests.integration.store.turns.model_based.operations import outcome
from tests.integration.store.turns.model_based.stage import Stage

EXAMPLES = int(os.environ.get("THREADMILL_MODEL_EXAMPLES", "") or 0)
SHORT = settings(
    max_examples=6,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
LONG = settings(SHORT, max_examples=EXAMPLES or 1, derandomize=False, print_blob=True)
#: Seconds before a run counts as hanging: so many more for each example asked for.
TIMEOUT_SECONDS = 900 + 30 * EXAMPLES


class SmallMachine(RuleBasedStateMachine):
    """A machine whose operations are `on_store(connection)` and `on_model(model, position)`, of no position."""

    stage: ClassVar[Stage]
    model: Any

    def do(self, operation: Any, *, commits: bool = True) -> Any:
        """What its caller is told; without a commit, that of a process that died just before."""
        model = self.model if commits else copy.deepcopy(self.model)
        told, imagined = self.stage.run(operation, commits=commits), outcome(partial(operation.on_model, model, 0))
        assert told == imagined, f"{operation}: the store says {told}, the model {imagined}"
        return told

    def explain(self, orders: Iterable[Sequence[tuple[Any, Any]]], why: str) -> None:
        """Take the order in which operations have what their callers were told, and leave what is stored."""
        stored = self.picture()
        for order in orders:
            model = copy.deepcopy(self.model)
            told = [outcome(partial(one.on_model, model, 0)) for one, _ in order]
            if told == [heard for _, heard in order] and self.picture_of(model) == stored:
                self.model = model
                return
        raise AssertionError(f"no order explains {why}")

    def move_clock(self, seconds: int) -> None:
        """Let time pass, for both."""
        self.model.now += seconds
        self.stage.set_clock(self.model.now)

    @abstractmethod
    def picture(self) -> Any:
        """What the tables hold, as `picture_of` has it."""

    @staticmethod
    @abstractmethod
    def picture_of(model: Any) -> Any:
        """The rows that there should be, by the name of their table."""

    @invariant()
    def both_hold_the_same(self) -> None:
        stored, imagined = self.picture(), self.picture_of(self.model)
        for name, rows in imagined.items():
            assert stored[name] == rows, f"{name}: the store holds {stored[name]}, the model {rows}"


def second_of(moment: datetime | None) -> int | None:
    """A moment as the model has it."""
    return None if moment is None else round((moment - ZERO).total_seconds())


def run_machine(machine: type[SmallMachine], stage: Stage) -> None:
    """Run a machine on a store, as often as was asked for."""
    machine.stage = stage
    run_state_machine_as_test(machine, settings=LONG if EXAMPLES else SHORT)
