"""A sweep as its callers see it: the turns that are looked for, and the wake-ups of those that were found.

What stays true: both ways to sweep, plain statements and the function in the database, share what is here.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE, WakeUp
from store.turns.claim_request import SHARED_CRASHES


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """The turns that are looked for."""

    #: Seconds after which a wake-up counts as lost, unless it may still be in the broker; None: none does.
    grace_seconds: float | None
    #: Wake-ups, at most.
    limit: int
    #: Turns of each kind that are looked at.
    window: int
    #: Seconds after which a wake-up counts as lost whatever the broker holds, while a worker lives.
    stuck_seconds: float
    #: Turns of a tenant that may run at once; 0 is any number.
    tenant_max_running: int = 0
    #: The number of wake-ups that wait in the broker, by queue.
    in_broker: Mapping[str, int] = field(default_factory=dict)
    #: The only tenant, and the only threads; None is any.
    tenant: str | None = None
    thread_keys: Collection[int] | None = None

    @property
    def is_limited(self) -> bool:
        """Whether some turns alone are looked for."""
        return self.tenant is not None or self.thread_keys is not None


def build_wake_up(tenant: str, thread_id: str, turn_id: str, priority: int, crashes: int) -> WakeUp:
    """The wake-up of a turn that was picked, with the crashes that its next claim would count."""
    queue = QUARANTINE_QUEUE if crashes == SHARED_CRASHES else TURNS_QUEUE
    return WakeUp(tenant=tenant, thread_id=thread_id, turn_id=turn_id, priority=priority, queue=queue)
