"""The indexes of a turn's steps, which all of its runs share: the turn's own, and those of agents that it calls.

What stays true: the steps of one run keep their order, so that a resumed run finds its n-th call where the first
one wrote it; runs side by side take their indexes as they come.
"""

from collections.abc import Mapping, Sequence

from conversation.step import Step


class StepIndexes:
    """The indexes of one turn's journal."""

    def __init__(self, steps: Mapping[int, Step]) -> None:
        #: The first index that no step has.
        self.next_index = max(steps, default=-1) + 1
        #: Agents that were called in this attempt, those of which the journal has the answer included.
        self.agent_calls = 0
        self._steps: dict[int | None, list[Step]] = {}
        for index in sorted(steps):
            self._steps.setdefault(steps[index].parent, []).append(steps[index])

    def take_new(self) -> int:
        """Take an index that no step has."""
        self.next_index += 1
        return self.next_index - 1

    def steps_of(self, parent: int | None) -> Sequence[Step]:
        """The steps that earlier attempts journalled under a tool call; None has those of the turn's own run."""
        return self._steps.get(parent, ())

    def indexes_of(self, parent: int | None) -> Sequence[int]:
        """The indexes of those steps, in their order."""
        return [step.index for step in self.steps_of(parent)]
