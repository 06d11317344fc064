"""Threads, messages, turns, files, and what belongs to them, as the gateway tells of them.

What stays true: values, which nothing changes; fields that a newer gateway adds stand in `raw`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from threadmill_client.decoding import Model

T = TypeVar("T")

#: States of a turn after which nothing more comes of it.
FINAL_STATES = frozenset({"completed", "failed", "cancelled", "merged"})


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    #: Where the next page begins; None on the last.
    next_cursor: str | None = None
    #: Of messages: those that no worker has taken yet, on the page with the end of the history.
    pending: tuple[T, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Usage(Model):
    """Tokens, as the model's provider counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: The part of the prompt that the provider read from its cache.
    cached_tokens: int = 0
    #: Some of it was not counted but estimated, because a call was broken off.
    is_estimate: bool = False

    @property
    def total_tokens(self) -> int:
        """Of prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, kw_only=True)
class File(Model):
    """A file: what a message hangs it on by, and where its bytes are found."""

    sha256: str
    filename: str = ""
    media_type: str | None = None
    #: In bytes.
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class ToolCall(Model):
    """A tool that the model asks for."""

    id: str
    name: str = ""
    #: JSON text as the model wrote it, perhaps not valid.
    arguments: str = ""


@dataclass(frozen=True, kw_only=True)
class Message(Model):
    """One entry of a conversation."""

    id: str
    #: `user`, `assistant`, `tool` or `system`.
    role: str = ""
    #: Text, and nothing else: pictures and files stand in `parts`.
    content: str = ""
    #: Text, images and files in their order, as JSON; () where text is all there is.
    parts: tuple[Mapping[str, Any], ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    #: Of a tool message: the call that it answers.
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None
    source: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    attachments: tuple[File, ...] = ()
    usage: Usage | None = None
    created_at: datetime | None = None
    #: `complete`; `partial` where the turn was cancelled in the middle; `truncated` at the model's token limit.
    state: str = "complete"
    turn_id: str | None = None
    #: Its position in the thread; None where it is not in the history yet.
    seq: int | None = None
    #: Where the thread's stream goes on behind it: `thread_events(…, after=message.event_id)`.
    event_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class TurnError(Model):
    """Why a turn failed, or what its newest attempt failed of."""

    #: A stable word, as `model_error` or `time_limit`.
    kind: str = ""
    message: str = ""
    retryable: bool = False
    #: Whose it is to mend.
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class Turn(Model):
    """One request of a user and everything that answers it."""

    id: str
    thread_id: str
    #: `queued`, `running`, `waiting` for decisions, or one of `FINAL_STATES`.
    state: str
    agent: str = ""
    attempt: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: TurnError | None = None
    usage: Usage | None = None
    #: In US dollars; None where no price is known.
    cost: float | None = None
    #: The branch of its thread on which it is; `main` is the first one.
    branch: str = "main"
    #: Turns of the thread that come before it, while it waits.
    position: int | None = None
    #: The schedule that sent its message.
    schedule_id: str | None = None
    #: What it added after the user's message; () while it is not over.
    messages: tuple[Message, ...] = ()
    #: The turn that answers its message with its own.
    merged_into: str | None = None
    #: The turn whose message cancelled it.
    interrupted_by: str | None = None
    #: What it asked and said is out of view.
    rolled_back: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in FINAL_STATES

    @property
    def content(self) -> str:
        """The text of the last reply; "" where there is none."""
        return next((each.content for each in reversed(self.messages) if each.role == "assistant"), "")


@dataclass(frozen=True, kw_only=True)
class PendingCall(Model):
    """A tool call that waits for a decision, or got one."""

    turn_id: str
    #: Its name within the turn.
    call_id: str
    #: `approval`, `question`, `client_tool` or `child`.
    kind: str = ""
    #: The tool's.
    name: str = ""
    #: As the model gave them: these are what runs.
    arguments: Any = None
    #: SHA-256 of name and arguments: passed with a decision, it holds for these alone.
    digest: str = ""
    #: What the agent asks.
    question: str | None = None
    #: The only answers that are taken; None takes any.
    choices: tuple[Any, ...] | None = None
    #: JSON schema of an answer or a result.
    schema: Mapping[str, Any] | None = None
    requested_at: datetime | None = None
    expires_at: datetime | None = None
    #: `approve`, `deny`, `edit`, `answer`, `result`, or `closed` without one; None while it is open.
    decision: str | None = None
    #: Of a denial.
    reason: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Snippet(Model):
    """A message that a search found."""

    message_id: str = ""
    seq: int | None = None
    role: str = ""
    #: The passage, with what was found between `**`.
    highlight: str = ""


@dataclass(frozen=True, kw_only=True)
class Thread(Model):
    """One conversation."""

    id: str
    title: str | None = None
    #: Whose it is; None where it is nobody's.
    user: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: The agent that it was handed over to; None where the default one answers.
    agent: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    #: How many it has.
    messages: int = 0
    #: Where its stream goes on: `thread_events(…, after=thread.last_event_id)`.
    last_event_id: int = 0
    #: The id of the turn that runs, if one does.
    running_turn: str | None = None
    #: What becomes of a message that does not say it, while a turn is unfinished; None where the agent says it.
    when_busy: str | None = None
    #: Of a search: what was found in it, best first.
    snippets: tuple[Snippet, ...] = ()
    #: Of what `update_thread` changes, as it was read; None in lists.
    etag: str | None = None


@dataclass(frozen=True, kw_only=True)
class Branch(Model):
    """One way that a thread went on, without its messages."""

    #: `main` for the thread's first one.
    id: str
    name: str | None = None
    #: `branch`, `regenerate` or `edit`; None for the thread's first one.
    origin: str | None = None
    #: Whether the thread's id stands for it.
    is_chosen: bool = False
    #: The branch that has the last message which it shares; None where it shares none.
    parent: str | None = None
    #: Its own messages come after this `seq`.
    shared_to_seq: int = 0
    #: The `seq` of its newest message.
    last_seq: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    #: How many of its turns wait or run.
    unfinished_turns: int = 0


@dataclass(frozen=True, kw_only=True)
class BranchComparison(Model):
    """Two branches behind what they share."""

    #: The newest `seq` up to which both are the same history.
    shared_to_seq: int = 0
    ours: tuple[Message, ...] = ()
    theirs: tuple[Message, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ContextEntry(Model):
    """A text that the agent is told in each turn of a thread, under a key."""

    key: str
    content: str = ""
    updated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Summary(Model):
    """A text that stands for the older messages of a thread."""

    id: str = ""
    #: The positions of the first and the last message that it stands for.
    from_seq: int = 0
    to_seq: int = 0
    content: str = ""
    model: str = ""
    usage: Usage | None = None
    cost: float | None = None
    created_at: datetime | None = None
    #: When it was withdrawn.
    restored_at: datetime | None = None
    #: Whether models read this one.
    is_current: bool = False


@dataclass(frozen=True, kw_only=True)
class UsageRow(Model):
    """The usage under one key: a day, an agent or a user."""

    key: str | None = None
    #: Turns that ended, and summaries.
    turns: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    #: In US dollars, of what has a price.
    cost: float | None = None
    #: Those that used tokens and have no price.
    unpriced: int = 0


@dataclass(frozen=True, kw_only=True)
class StreamToken(Model):
    """A token that `EventSource` in a browser shows instead of a key: good for one thread's events, not for long."""

    token: str = field(repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Upload(Model):
    """Where the bytes of a large file go. Its address and headers are a secret."""

    id: str
    url: str = field(repr=False)
    method: str = "PUT"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    expires_at: datetime | None = None
