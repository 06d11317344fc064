"""Whether two transactions that ran at the same time could have run one after the other.

What stays true: this is all that is promised of them. Which of them comes first is nobody's
business, as long as what both were told and what is stored fit together.
"""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations
from typing import Any

from tests.integration.store.turns.model_based import picture, policies
from tests.integration.store.turns.model_based.events import Race
from tests.integration.store.turns.model_based.operations import Operation, Record, Send, outcome
from tests.integration.store.turns.model_based.reference import Mailbox
from tests.integration.store.turns.model_based.stage import Raced

#: What ran, and what it was told.
Order = tuple[tuple[Operation, Any], ...]


def explain(
    before: Mailbox, race: Race, raced: Raced, stored: picture.Picture, position: int
) -> tuple[Mailbox, Order] | None:
    """The model after the order that explains it; None where none does. Takes two positions."""
    one, other = (race.first, raced.first), (race.second, raced.second)
    # Of two that make a turn, either may have been the first in line, whichever was the first to commit.
    places = ((position, position + 1), (position + 1, position))
    orders = list(permutations([one, other])) if race.commits else [(other,)]
    for looks in (_in_order, _too_early, _in_between):
        for order in orders:
            for after in _replayed(before, order, places, looks):
                if picture.of_model(after) == stored:
                    return after, order
    return None


def _in_order(_before: Mailbox, mailbox: Mailbox, operation: Operation, at: int, _is_first: bool) -> Any:
    return operation.on_model(mailbox, at)


def _too_early(before: Mailbox, mailbox: Mailbox, operation: Operation, at: int, _is_first: bool) -> Any:
    """Whoever sends takes no lock: it may have looked at the thread before the other one committed.

    Whoever writes the journal looked for messages before it had the lock: one that is gone costs another look.
    """
    if isinstance(operation, Send):
        return operation.on_model(mailbox, at, before)
    if isinstance(operation, Record):
        return operation.on_model(mailbox, at) or bool(policies.waiting_for(before, operation.job.turn))
    return operation.on_model(mailbox, at)


def _in_between(_before: Mailbox, mailbox: Mailbox, operation: Operation, at: int, is_first: bool) -> Any:
    """A message came between two statements of the other one, which had looked for such by then."""
    if is_first and isinstance(operation, Send):
        mailbox.unseen = {operation.ask.turn}
        return operation.on_model(mailbox, at)
    try:
        return operation.on_model(mailbox, at)
    finally:
        mailbox.unseen = set()


Looks = Callable[[Mailbox, Mailbox, Operation, int, bool], Any]


def _replayed(before: Mailbox, order: Order, places: tuple[tuple[int, int], ...], looks: Looks) -> Iterator[Mailbox]:
    for place in places:
        mailbox = copy.deepcopy(before)
        told = [
            outcome(partial(looks, before, mailbox, operation, at, number == 0))
            for number, ((operation, _), at) in enumerate(zip(order, place, strict=False))
        ]
        if told == [heard for _, heard in order]:
            yield mailbox
