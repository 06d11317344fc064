"""The policies of messages that are sent while their thread has an unfinished turn.

What stays true: a policy is a property of the turn that was sent with it. Whoever holds the thread's lock acts on it;
`docs/explanation/two-messages-at-once.md` says what happens in every case.
"""

from enum import StrEnum

from conversation.arguments import check_one_of


class WhenBusy(StrEnum):
    """The policy of a message for a thread that is busy; in one that is not, all are alike."""

    #: It waits until those before it have ended.
    ENQUEUE = "enqueue"
    #: It is refused with `ThreadBusy`.
    REJECT = "reject"
    #: Those before it are cancelled; what they said so far is kept.
    INTERRUPT = "interrupt"
    #: Those before it are cancelled, and what they asked and said is taken out of view.
    ROLLBACK = "rollback"
    #: It is answered together with those beside it in the queue that were sent so, too.
    MERGE = "merge"
    #: The turn before it reads it between two of its steps; one that ends first leaves it to a turn of its own.
    STEER = "steer"


#: Those by which a message ends the turns before it.
INTERRUPTING = frozenset({WhenBusy.INTERRUPT, WhenBusy.ROLLBACK})
#: Messages that one turn answers, at most, unless the installation says otherwise.
MERGE_MAX = 20
#: Seconds that a turn may wait for further messages to answer with its own, at most.
MERGE_WINDOW_MAX_SECONDS = 60


def check_when_busy(field: str, value: object) -> WhenBusy:
    """The policy of this name. Raises `InvalidInput`, naming the field."""
    return WhenBusy(check_one_of(field, value, tuple(WhenBusy)))
