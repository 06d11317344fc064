"""A claim as its callers see it: who asks for a turn, and what may come of that.

What stays true: both ways to claim, plain statements and the function in the database, share what is here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from conversation.errors import Fault
from conversation.replay import replay_transcript
from conversation.step import Step
from conversation.turn import Cancelled, ClaimedTurn, Failed, RefusedTurn, TurnError
from conversation.when_busy import MERGE_MAX
from conversation.window import window_start

#: Crashes of a shared process that a turn may stand in before it must run alone.
SHARED_CRASHES = 2
#: The kind of error of a turn for whose runs processes lacked something: threads, memory, descriptors.
EXHAUSTED = "exhausted"
#: The kind of error of a turn that waited for a decision that did not come in time.
WAITING_EXPIRED = "waiting_expired"
#: Runs of a turn that may break off while their process lives: an agent that stops its workers, or whose end
#: cannot be stored, would go on for ever. Deployments interrupt a turn, too, but not so often.
INTERRUPTIONS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """The process that claims, and the rules for what it may run."""

    #: Its id in `workers`.
    worker: str
    #: The id of a library process, which runs its own turns only; None for a worker.
    local_process_id: str | None = None
    #: The only turn that may be claimed; None for whichever is next.
    only_turn: str | None = None
    #: Runs a quarantined turn, since it runs nothing beside it.
    runs_quarantine: bool = False
    #: The agents that the claimant serves, name → version; turns of others are left to other workers, but
    #: for those that must end: that needs nothing of the agent.
    agents: Mapping[str, str]
    #: Messages that an agent's window has at most, by the agent's name; that of any other has no limit.
    max_messages: Mapping[str, int] = field(default_factory=dict)
    #: Turns of one tenant that may run at once; 0 means any number.
    tenant_max_running: int = 0
    #: Messages that one turn answers, at most, where they were sent to be answered together.
    merge_max: int = MERGE_MAX

    def window_start(self, agent: str, to_seq: int) -> int:
        """The seq after which an agent's window begins, given the newest one."""
        max_messages = self.max_messages.get(agent)
        return 0 if max_messages is None else window_start(to_seq, max_messages)


@dataclass(frozen=True, slots=True)
class NothingDue:
    """No turn is due, or another worker holds the thread: its holder will claim the next turn."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """The head stood in too many crashes: only a worker that runs quarantined turns alone may claim it."""

    turn_id: str


#: The outcome of a claim: a turn to run, one to end at once, nothing, or one for another kind of worker.
ClaimOutcome = ClaimedTurn | RefusedTurn | NothingDue | Quarantined


class StartedTurn(Protocol):
    """A turn that was just claimed, as far as a refusal depends on it."""

    @property
    def local_process_id(self) -> str | None: ...
    @property
    def crashes(self) -> int: ...
    @property
    def interruptions(self) -> int: ...
    @property
    def error_kind(self) -> str | None: ...


def refusal_of(
    turn: StartedTurn, claimant: ClaimRequest, *, remaining_seconds: float | None, wait_is_over: bool
) -> TurnError | None:
    """The error with which a claimed turn must end without being run; None for most."""
    if turn.local_process_id not in (None, claimant.local_process_id):
        return TurnError("abandoned", "the process that ran this turn for itself is gone", fault=Fault.CALLER)
    # What killed its processes is told, also where it took too long with that.
    if (poison := _poison_of(turn)) is not None:
        return poison
    if remaining_seconds is not None and remaining_seconds <= 0:
        return TurnError("deadline", "the turn's deadline is over", fault=Fault.OPERATOR)
    if wait_is_over:
        return TurnError(WAITING_EXPIRED, "nobody decided in time what the turn waited for", fault=Fault.CALLER)
    return None


def _poison_of(turn: StartedTurn) -> TurnError | None:
    """The error of a turn that broke off too often; None of most."""
    if turn.crashes > SHARED_CRASHES and turn.error_kind == EXHAUSTED:
        problem = f"{turn.crashes} processes ran out of something under this turn, the last one alone with it"
        return TurnError(EXHAUSTED, problem, fault=Fault.TOOL)
    if turn.crashes > SHARED_CRASHES:
        return TurnError(
            "poison", f"{turn.crashes} processes died under this turn, the last one alone with it", fault=Fault.TOOL
        )
    if turn.interruptions >= INTERRUPTIONS_MAX:
        return TurnError("poison", f"{turn.interruptions} runs of this turn broke off without an end", fault=Fault.TOOL)
    return None


def ending_of(turn_id: str, agent: str, steps: Mapping[int, Step], error: TurnError | None) -> Cancelled | Failed:
    """The ending of a turn that is refused: a failure with the error, without one a cancellation."""
    transcript = replay_transcript(turn_id, steps, {"agent": agent})
    totals: dict[str, Any] = {
        "messages": transcript.close(),
        "usage": transcript.usage,
        "cost": transcript.cost,
        "hands_over_to": transcript.hands_over_to,
    }
    return Cancelled(**totals) if error is None else Failed(error=error, **totals)
