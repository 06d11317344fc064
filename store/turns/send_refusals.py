"""The refusals of a request for a turn, in the words that its sender reads."""

from collections.abc import Sequence

from conversation.errors import DatabaseUnavailable, IdempotencyConflict, LimitReached, ThreadBusy, UnknownAgent
from store.turns.send_request import SendLimits, SendRequest

#: Names of agents that a refusal lists, at most.
KNOWN_AGENTS_MAX = 20


def idempotency_conflict(request: SendRequest) -> IdempotencyConflict:
    """The refusal of a key that was used for something else."""
    return IdempotencyConflict(
        f"idempotency_key: {request.idempotency_key!r} was used with another request; send this one under a new key"
    )


def limit_reached(request: SendRequest, limits: SendLimits) -> LimitReached:
    """The refusal of a tenant that has too much ahead of it."""
    return LimitReached(
        f"tenant: {request.tenant!r} has {limits.tenant_max_unfinished_turns} unfinished turns, "
        "as many as THREADMILL_TENANT_MAX_UNFINISHED_TURNS allows; send again when some have ended"
    )


def unknown_agent(agent: str, known_agents: Sequence[str]) -> UnknownAgent:
    """The refusal of an agent that nobody serves."""
    return UnknownAgent(
        f"agent: no worker has ever registered {agent!r} (known: {', '.join(known_agents) or 'none'}); "
        "start a worker that serves it, or pass allow_unknown_agent=True"
    )


def thread_busy(request: SendRequest, turn_id: str) -> ThreadBusy:
    """The refusal of a message that is to be refused while its thread is busy."""
    return ThreadBusy(request.thread_id, turn_id)


def changes_too_fast(request: SendRequest) -> DatabaseUnavailable:
    """The refusal after the last attempt."""
    return DatabaseUnavailable(f"thread {request.thread_id!r} changes too fast; send the message again")
