"""The values that the store and its reference model are compared by: who asks, who works, what came of it.

What stays true: ids are made up before anything is run, so that the same step can be tried on both,
and twice. Times are whole seconds of the clock that the machine moves.
"""

from dataclasses import dataclass, field

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

    def said(self) -> tuple[object, ...]:
        """What an idempotency key stands for."""
        return (self.thread, self.content, self.agent, self.priority, self.not_before, self.deadline)


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


@dataclass
class Turn:
    """One row of `turns`, with its inbox and its journal."""

    id: str
    thread: str
    position: int
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
    #: By index: state, fence of the writer.
    steps: dict[int, tuple[str, int]] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def has_begun(self) -> bool:
        return self.attempt > 0

    def interrupt(self) -> None:
        """Queue it again: its run broke off, and its process lives, or left in good order."""
        self.state, self.notified_at, self.interruptions = "queued", None, self.interruptions + 1


@dataclass
class Thread:
    owner: str | None = None
    fence: int = 0
    #: (turn, what it said), in order: the place is `seq - 1`.
    history: list[tuple[str, str]] = field(default_factory=list)


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


@dataclass(frozen=True, kw_only=True)
class End:
    """How a run ends: `completed`, `failed`, `cancelled`, `retry` after some seconds, or `handback`."""

    kind: str
    replies: tuple[str, ...] = ()
    step: int | None = None
    after: int = 0
    error: str | None = None

    @property
    def is_final(self) -> bool:
        return self.kind in FINAL_STATES
