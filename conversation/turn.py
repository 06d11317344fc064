"""A turn: one request of a user and everything that answers it; and how a run of it can end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from conversation.branch_address import MAIN, address_of, row_id_of
from conversation.errors import Fault
from conversation.message import Message, Usage
from conversation.pending_call import PendingCall, PendingRequest
from conversation.step import Step
from conversation.when_busy import WhenBusy


class TurnState(StrEnum):
    """The state of a turn. Those in `FINAL_STATES` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    #: It holds no worker and no lease until what it waits for is decided: see `PendingCall`.
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: Its message is answered by another turn, with that one's own.
    MERGED = "merged"

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES


FINAL_STATES = frozenset({TurnState.COMPLETED, TurnState.FAILED, TurnState.CANCELLED, TurnState.MERGED})


@dataclass(frozen=True, slots=True)
class TurnError:
    """The error of a failed turn: a state of the turn, never a message of the conversation."""

    #: A stable word: `model_error`, `step_limit`, `token_limit`, `time_limit`, `poison`, `exhausted`, `deadline`,
    #: `agent_error`, …
    kind: str
    message: str
    retryable: bool = False
    fault: Fault = Fault.INTERNAL


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """A turn as it is stored."""

    id: str
    tenant: str
    thread_id: str
    state: TurnState
    agent: str
    #: Of the agent, at the newest claim; None before the first.
    agent_version: str | None
    #: How often it was claimed: hand-overs and crashes are in it.
    attempt: int
    #: How often it was postponed, because what it needs was away.
    retries: int
    #: Deaths of a whole process in which it was running, and runs for which a process lacked something.
    crashes: int
    #: How often a run of it broke off while its process lived: handed over, or without an end.
    interruptions: int
    #: The turn that it repeats, if it was requeued as a new one.
    requeued_from: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    #: Who asked for that first, as they named themselves; None where they gave no name.
    cancel_requested_by: str | None
    #: Of a turn that failed: why. Of one that waits or runs: what its newest attempt failed of, if any did.
    error: TurnError | None
    usage: Usage | None
    #: In US dollars; None where no price is known.
    cost: float | None
    #: What was left out of the window because the model takes no more: `messages`, the ids of those that were
    #: left out, and `cut`, by id, the characters that were left out of others; None of most turns.
    omitted: Mapping[str, Any] | None = None
    #: When a turn that waits after a failed attempt is tried again.
    next_try_at: datetime | None = None
    #: The user who asked: the turn's sender, or else the thread's owner; None where nobody was named.
    user: str | None = None
    #: What a turn in the state `waiting` waits for; nothing of any other.
    awaiting: tuple[PendingCall, ...] = ()
    #: What becomes of it while its thread is busy.
    when_busy: WhenBusy = WhenBusy.ENQUEUE
    #: The turn that answers its message with its own; None of most.
    merged_into: str | None = None
    #: The turn for which it was cancelled, by that one's policy; None of most.
    interrupted_by: str | None = None
    #: Whether what it asked and said was taken out of view.
    rolled_back: bool = False
    #: The schedule that sent its message; None of most.
    schedule_id: str | None = None
    #: The branch of its thread on which it is.
    branch: str = MAIN

    @property
    def address(self) -> str:
        """The id of the row of its thread or branch."""
        return row_id_of(address_of(self.thread_id, self.branch))


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """A finished turn with the messages that it added after the user's."""

    state: TurnState
    messages: tuple[Message, ...]
    error: TurnError | None
    usage: Usage | None
    cost: float | None
    #: What was left out of the window because the model takes no more; see `TurnRecord`.
    omitted: Mapping[str, Any] | None = None

    @property
    def content(self) -> str:
        """The text of the last assistant message; "" where there is none."""
        return next((m.content for m in reversed(self.messages) if m.role == "assistant"), "")

    @property
    def is_truncated(self) -> bool:
        """Whether the last assistant message was cut at the model's token limit."""
        return next((m.state == "truncated" for m in reversed(self.messages) if m.role == "assistant"), False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write to one thread: valid while `fencing_token` is the thread's newest."""

    thread_key: int
    worker: str
    fencing_token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedTurn:
    """A turn that was claimed, with the lease of its thread."""

    lease: Lease
    id: str
    tenant: str
    thread_id: str
    agent: str
    attempt: int
    #: The turn whose call began this one, and waits for its end; None of most.
    parent_turn_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedTurn(LeasedTurn):
    """A turn with all that is needed to run it, read in the claim's transaction."""

    #: How often it was postponed before.
    retries: int = 0
    #: Seconds since what it needs was found away first, when it was claimed; 0 where nothing was.
    failing_seconds: float = 0
    #: Seconds until its deadline, when it was claimed; None without one.
    remaining_seconds: float | None = None
    #: The frozen window: the stored messages that the model sees, the turn's own inputs last.
    window: Sequence[Message] = ()
    #: Whether any of these messages may have files: those of most have none.
    may_have_files: bool = True
    #: The journal of earlier attempts, by index.
    steps: dict[int, Step] = field(default_factory=dict)
    #: What earlier attempts waited for, with what was decided, in the order of asking.
    pending: tuple[PendingCall, ...] = ()
    #: System texts that hold for the whole thread: keyed context, then the summary.
    context: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    #: Messages wait that the turn is to read between two of its steps.
    is_steered: bool = False
    #: The user who asks in this turn: its sender, or else the thread's owner; None where nobody was named.
    user: str | None = None
    #: The user whose thread it is.
    thread_owner: str | None = None
    #: How deep it is nested in turns that wait for it.
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalEnding:
    """An ending after which the turn is over, and what of it is stored."""

    #: Appended to the history after the user's message: whole blocks only.
    messages: tuple[Message, ...] = ()
    #: The last model call, or what was spent on one that got no reply: journalled in the same transaction.
    steps: tuple[Step, ...] = ()
    #: Of all attempts together.
    usage: Usage = field(default_factory=Usage)
    #: In US dollars; None where a price is missing.
    cost: float | None = None
    #: What was left out of the window because the model takes no more; None of most turns.
    omitted: Mapping[str, Any] | None = None
    #: Tokens that the model takes, about, where messages of earlier turns had to be left out or cut for it: a
    #: summary is to stand for them. None of most turns.
    window_tokens: int | None = None
    #: The agent that answers in the thread from now on, where a sender names none; None leaves it as it is.
    hands_over_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed(FinalEnding):
    """The agent answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(FinalEnding):
    """The turn ends without an answer."""

    error: TurnError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(FinalEnding):
    """The turn was asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLater:
    """The model is away: the turn is queued again, due after a while, and blocks its thread."""

    after: timedelta
    error: TurnError
    #: The model was not asked: others found it away. Nothing was tried, so `retries` does not count it.
    is_put_off: bool = False
    #: The open breaker of its model, if there is one: the turn comes sooner when that is closed.
    waits_for: str | None = None
    #: What was spent on a model call that got no reply.
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class HandOver:
    """The process of the run stops; another one goes on from the journal."""

    #: What was spent on a model call that got no reply.
    steps: tuple[Step, ...] = ()
    #: What the process lacked for this run, which then counts as a crash would; None where it just stops.
    error: TurnError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The turn waits for decisions, and holds nothing meanwhile: the last one queues it again."""

    #: What it waits for: one at least.
    pending: tuple[PendingRequest, ...]
    #: The steps of calls that stopped to ask: they begin anew once they are answered.
    steps: tuple[Step, ...] = ()


Ending = Completed | Failed | Cancelled | RetryLater | HandOver | Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedTurn(LeasedTurn):
    """A turn that was claimed only to be ended: it must not run, or not go on."""

    #: The position in the history of its newest input.
    window_to_seq: int
    #: The ending to commit, with the messages that earlier attempts journalled.
    ending: Failed | Cancelled
