"""What was asked of the installation in a run, and what it told those who asked.

What stays true: each value is what somebody outside was told, as they were told it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.chaos.picture import Accepted
from tests.chaos.receiver import Receipt


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision that somebody made, and what they were told."""

    turn_id: str
    call_id: str
    #: As `DecisionKind` has it.
    kind: str
    value: Any
    by: str
    #: Of what was shown to them; None where they named none.
    digest: str | None = None
    #: `accepted`, or the name of the error.
    answer: str = "accepted"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A turn that somebody asked to stop, and the state that they were told."""

    turn_id: str
    state: str


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A thread that somebody handed over, with all its branches."""

    thread: str
    #: None gives it back to the default agent.
    agent: str | None
    #: Between these two it came to be so.
    asked_at: datetime
    answered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Everything that was asked."""

    #: By the messages' references, in the order of sending.
    accepted: Mapping[str, Accepted]
    #: Other answers and changed messages that were refused for as long as anybody asked.
    given_up: frozenset[str] = frozenset()
    decided: Sequence[Decided] = ()
    cancelled: Sequence[Cancelled] = ()
    handed_over: Sequence[HandedOver] = ()
    #: What came by webhooks, in the order in which it came.
    receipts: Sequence[Receipt] = ()
    #: Requests to the receiver that were not signed.
    forged: int = 0
    #: The ids of schedules, and the turns of runs that were asked for by hand.
    schedules: Sequence[str] = ()
    by_hand: Sequence[str] = field(default=())
