"""The values that the store and its reference model are compared by: who asks, who works, what came of it.

What stays true: ids are made up before anything is run, so that the same step can be tried on both,
and twice. Times are whole seconds of the clock that the machine moves.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from conversation.turn import FINAL_STATES


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a producer sends."""

    turn: str
    thread: str
    #: The user's message; None asks for an answer to the history as it stands.
    content: str | None
    agent: str = "assistant"
    allow_unknown: bool = False
    key: str | None = None
    priority: int = 0
    not_before: int | None = None
    deadline: int | None = None
    runner: str | None = None
    notifies: bool = True
    limit: int = 0
    #: The policy that the message names; None takes its agent's.
    when_busy: str | None = None
    merge_window: int = 0
    #: Who asks: the owner of a thread that it makes.
    user: str | None = "ann"

    def said(self) -> tuple[object, ...]:
        """What an idempotency key stands for."""
        request = (self.thread, self.content, self.agent, self.priority, self.not_before, self.deadline)
        return (*request, self.when_busy, self.user)


@dataclass(frozen=True)
class Line:
    """A message, and the turn that it was sent with, or that said it."""

    turn: str
    text: str
    #: It is out of view.
    rolled_back: bool = False
    #: It is deleted, and its place stays empty.
    is_gone: bool = False

    @property
    def is_reply(self) -> bool:
        return "." in self.text

    @property
    def message_id(self) -> str:
        return self.text if self.is_reply else f"{self.turn}.asked"


@dataclass(frozen=True, kw_only=True)
class Process:
    """A worker, or a library caller that runs its own turns only."""

    id: str
    agents: tuple[str, ...] = ("assistant", "clerk")
    runs_quarantine: bool = False
    is_library: bool = False
    max_running: int = 0

    @property
    def runner(self) -> str | None:
        return self.id if self.is_library else None


@dataclass(frozen=True)
class Decided:
    """A decision, and who made it."""

    kind: str
    value: Any = None
    reason: str | None = None
    by: str | None = None


@dataclass(frozen=True)
class Child:
    """A turn that another one waits for."""

    turn: str
    thread: str
    agent: str
    user: str | None = "ann"


@dataclass(frozen=True)
class Request:
    """What a run waits for, for so many seconds."""

    call: str
    kind: str
    seconds: int
    #: Of its step.
    index: int
    #: Of the kind `child`.
    child: Child | None = None


@dataclass(frozen=True)
class Call:
    """One row of `pending_calls`."""

    kind: str
    over_at: int
    asked_at: int
    index: int
    decided: Decided | None = None


@dataclass(frozen=True)
class Entry:
    """A step of a turn's journal."""

    state: str
    #: That of its writer.
    fence: int
    #: The message that was told to the turn, where it is one.
    told: Line | None = None
    #: Not so of a reply of its model.
    is_call: bool = True

    @property
    def is_open(self) -> bool:
        return self.state in ("waiting", "started")


#: The states that webhooks are told of.
TOLD_STATES = ("completed", "failed", "cancelled", "waiting")


@dataclass
class Turn:
    """One row of `turns`, with its inbox and its journal."""

    id: str
    thread: str
    position: float
    agent: str
    priority: int
    runner: str | None = None
    not_before: int | None = None
    deadline: int | None = None
    notified_at: int | None = None
    requeued_from: str | None = None
    state: str = "queued"
    attempt: int = 0
    retries: int = 0
    crashes: int = 0
    crashed_worker: str | None = None
    interruptions: int = 0
    retry_at: int | None = None
    cancel_asked: bool = False
    error: str | None = None
    #: The newest place that its model sees, frozen when it is first claimed.
    window: int | None = None
    #: What was said, as long as it has no place in the history.
    inbox: list[str] = field(default_factory=list)
    #: By index.
    steps: dict[int, Entry] = field(default_factory=dict)
    #: What it waits for, or waited for, by name.
    calls: dict[str, Call] = field(default_factory=dict)
    wait_over_at: int | None = None
    #: When it was sent.
    sent_at: int = 0
    #: What it asks of others, where it asks anything.
    when_busy: str | None = None
    #: The turn that is to read it.
    steers: str | None = None
    #: The turn that answers it.
    merged_into: str | None = None
    interrupted_by: str | None = None
    rolled_back: bool = False
    #: The turn that waits for it, and the call of that.
    parent: tuple[str, str] | None = None
    #: Who asked, where that is not the thread's own user; the hash of it once it is erased.
    sender: str | None = None
    #: The changes that webhooks are told of, in their order.
    events: list[str] = field(default_factory=list)

    def __setattr__(self, name: str, value: Any) -> None:
        """As a trigger: whoever changes the state need not think of it."""
        if name == "state" and value in TOLD_STATES and value != self.state:
            self.events.append(f"turn.{value}")
        super().__setattr__(name, value)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def has_begun(self) -> bool:
        return self.attempt > 0

    @property
    def read(self) -> tuple[Line, ...]:
        """The messages that it read while it ran, in order."""
        entries = [entry for _, entry in sorted(self.steps.items(), key=lambda step: step[0])]
        return tuple(entry.told for entry in entries if entry.told is not None)

    def close_started(self) -> None:
        """Nobody knows what came of the calls that are under way."""
        opened = {index: entry for index, entry in self.steps.items() if entry.state == "started"}
        self.steps |= {index: replace(entry, state="unknown") for index, entry in opened.items()}

    def interrupt(self) -> None:
        """Queue it again: its run broke off, and its process lives, or left in good order."""
        self.state, self.notified_at, self.interruptions = "queued", None, self.interruptions + 1


@dataclass
class Thread:
    """One row of `threads`: a thread's first one, a branch, or a fork."""

    #: In the order in which they were made.
    number: int = 0
    owner: str | None = None
    fence: int = 0
    #: What is stored with it, in order, behind what it shares.
    history: list[Line] = field(default_factory=list)
    #: The agent of its newest claimed turn, or of the one that it was made for.
    agent: str | None = None
    #: What it shares of others: the name of each row, and up to which seq; the oldest first.
    shared: tuple[tuple[str, int], ...] = ()
    #: The first row of its thread; None for that itself.
    root: str | None = None
    origin: str | None = None
    title: str | None = None
    #: Of a thread's first row: the branch that its id stands for, where that is another one.
    chosen: str | None = None
    #: It is deleted, and others share its history.
    is_deleted: bool = False
    #: What became free of it is to be deleted.
    is_pending: bool = False
    #: The outermost thread in which an agent asked for what is answered here.
    begun_in: str | None = None
    #: It, and each below it in which an agent asked on, down to who asked here.
    ancestors: tuple[str, ...] = ()
    #: Whose it is.
    user: str | None = None

    @property
    def shared_to(self) -> int:
        return self.shared[-1][1] if self.shared else 0

    @property
    def last_seq(self) -> int:
        return self.shared_to + len(self.history)


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """All that a claimant is told; of a turn that must not run, how it must end, and no more."""

    thread: str
    turn: str
    worker: str
    fence: int
    attempt: int
    cancel: bool
    refused: str | None
    retries: int = 0
    seconds_left: int | None = None
    window: tuple[str, ...] = ()
    steps: tuple[tuple[int, str], ...] = ()
    #: Messages wait that it is to read while it runs.
    is_steered: bool = False
    #: What earlier runs waited for, and how that was decided.
    decided: tuple[tuple[str, str | None], ...] = ()
    #: Tool calls of turns that were rolled back, which its model is told.
    calls_told: int = 0
    #: By which the store and the model find the row again, whatever becomes of its name: no part of what is compared.
    key: int = field(default=0, compare=False)
    number: int | None = field(default=None, compare=False)
    #: The turn that waits for it.
    parent: str | None = None

    @property
    def may_have_children(self) -> bool:
        """One that runs waits for nobody; one that must not run may have waited."""
        return (self.cancel or self.refused is not None) and self.attempt > 1


@dataclass(frozen=True, kw_only=True)
class End:
    """How a run ends: `completed`, `failed`, `cancelled`, `retry` after some seconds, `wait`, or `handback`."""

    kind: str
    replies: tuple[str, ...] = ()
    #: The messages that it read while it ran: they come before its replies.
    read: tuple[Line, ...] = ()
    step: int | None = None
    requests: tuple[Request, ...] = ()
    after: int = 0
    error: str | None = None

    @property
    def is_final(self) -> bool:
        return self.kind in FINAL_STATES
