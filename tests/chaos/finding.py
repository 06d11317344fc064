"""The promises, and a finding: one of them that was broken, and where."""

from dataclasses import dataclass
from enum import StrEnum


class Promise(StrEnum):
    """What may be broken."""

    DURABLE = "accepted is durable"
    ANSWERED = "every message is answered"
    ONCE = "a turn is committed once"
    ORDER = "in order"
    NO_HOLES = "history has no holes"
    WELL_FORMED = "history is well-formed"
    EFFECTS_ONCE = "effects once"
    ACCOUNTED = "effects are accounted for"
    BLOBS = "a blob is stored before its row"
    NO_LEASE = "no lease is left"
    NOTHING_INVENTED = "nothing is invented"
    HANDLE = "every handle leads to its answer"
    POLICY = "a policy does what it says"
    OUT_OF_VIEW = "what is rolled back is stored, and shown to nobody"
    DECIDED_ONCE = "a decision counts once"
    APPROVED = "what was approved is what runs"
    NOT_WAITING = "nothing waits for ever"
    CHILD = "an agent answers the turn that called it"
    NESTED = "an agent that is called in a turn does each thing once, in its journal"
    STOPPED_FOR_GOOD = "a cancel that counted ends its turn"
    HANDED_OVER = "who has the thread answers it"
    TOLD = "each event is delivered, in order"
    ON_TIME = "a schedule runs once at each of its times"
    DOCTOR = "the doctor finds nothing"
    STOPPED = "nothing is left running"
    ALIVE = "nothing ends by itself"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise."""

    promise: Promise
    where: str
    what: str
