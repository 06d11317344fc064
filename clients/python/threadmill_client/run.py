"""A plan under way: the step that comes next, for whoever can do it."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from threadmill_client.retries import Retries, carry_out
from threadmill_client.wire import Pause, Plan, Request, Work

T = TypeVar("T")


class Run(Generic[T]):
    """Hold what `carry_out` asks for, and tell it what came of it."""

    def __init__(self, plan: Plan[T], retries: Retries) -> None:
        self._steps = carry_out(plan, retries)
        #: What is to be done now; None at the end.
        self.step: Request | Work | Pause | None = None
        self.result: T
        self._go_on(self._steps.send, None)

    def resume(self, outcome: Any) -> None:
        """Tell what the step gave."""
        self._go_on(self._steps.send, outcome)

    def fail(self, error: Exception) -> None:
        """Tell why the step failed. Raises it where that is the end."""
        self._go_on(self._steps.throw, error)

    def _go_on(self, proceed: Callable[[Any], Request | Work | Pause], value: Any) -> None:
        try:
            self.step = proceed(value)
        except StopIteration as stop:
            self.step, self.result = None, stop.value
