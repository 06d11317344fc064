"""Whether two transactions that ran at the same time could have run one after the other.

What stays true: this is all that is promised of them. Which of them comes first is nobody's
business, as long as what both were told and what is stored fit together.
"""

import copy
from collections.abc import Iterator
from functools import partial
from itertools import permutations
from typing import Any

from tests.integration.store.turns.model_based import picture
from tests.integration.store.turns.model_based.events import Race
from tests.integration.store.turns.model_based.operations import Operation, outcome
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
    for order in permutations([one, other]) if race.commits else [(other,)]:
        for after in _replayed(before, order, places):
            if picture.of_model(after) == stored:
                return after, order
    return None


def _replayed(before: Mailbox, order: Order, places: tuple[tuple[int, int], ...]) -> Iterator[Mailbox]:
    for place in places:
        mailbox = copy.deepcopy(before)
        told = [
            outcome(partial(operation.on_model, mailbox, at)) for (operation, _), at in zip(order, place, strict=False)
        ]
        if told == [heard for _, heard in order]:
            yield mailbox
