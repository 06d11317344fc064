"""The shapes of answers, as the OpenAPI document shows them.

What stays true: a moment is RFC 3339 in UTC, written as in events; a message is what its event showed.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from conversation.attachment import Attachment
from conversation.events import error_json, message_json
from conversation.message import Message
from conversation.summary import Summary as StoredSummary
from conversation.turn import TurnRecord
from producers.uploads import Upload as PromisedUpload
from store.threads.search import Hit
from store.threads.thread_context import ContextText
from store.threads.thread_views import ThreadView
from store.turns.message_pages import MessagePage
from store.turns.visible_turns import TurnView

#: Of examples.
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
TURN_ID = "01990f4e-7d3c-7a51-8f6e-2b1c9d0e4a77"

#: A moment.
Written = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2030-01-31T12:00:00+00:00"])]
NextCursor = Annotated[
    str | None, Field(description="Pass it as `cursor` for the next page; null on the last one.", examples=[None])
]
Metadata = dict[str, Any]


def write_moment(moment: datetime) -> str:
    """A moment in an answer."""
    return moment.astimezone(UTC).isoformat()


def _write_optional(moment: datetime | None) -> str | None:
    return None if moment is None else write_moment(moment)


class Snippet(BaseModel):
    """A message that a search found."""

    message_id: str
    seq: int
    role: str
    highlight: str = Field(description="The passage, with what was found between `**`.")

    @classmethod
    def of(cls, hit: Hit) -> "Snippet":
        """The snippet of a hit."""
        return cls(message_id=hit.message_id, seq=hit.seq, role=hit.role, highlight=hit.highlight)


class Thread(BaseModel):
    """A thread, without its messages."""

    id: str = Field(examples=["order-4711"])
    title: str | None = Field(examples=["Where is my parcel?"])
    user: str | None = Field(description="Whose it is.", examples=["ada"])
    metadata: Metadata
    agent: str | None = Field(description="To whom it was handed over; null: the default one.", examples=[None])
    created_at: Written
    updated_at: Written
    messages: int = Field(description="How many its history has.", examples=[2])
    last_event_id: int = Field(
        description="Follow its events from here: what is not in its history yet comes then.", examples=[134217727]
    )
    running_turn: str | None = Field(description="The id of the turn that runs.", examples=[None])
    when_busy: str | None = Field(description="The policy of its messages that name none.", examples=[None])

    @classmethod
    def of(cls, view: ThreadView) -> "Thread":
        """The thread of a view."""
        return cls(
            id=view.id,
            title=view.title,
            user=view.user,
            metadata=dict(view.metadata),
            agent=view.agent,
            created_at=write_moment(view.created_at),
            updated_at=write_moment(view.updated_at),
            messages=view.messages,
            last_event_id=view.last_event_id,
            running_turn=view.running_turn,
            when_busy=view.when_busy,
        )


class ListedThread(Thread):
    """A thread of a listing or search."""

    snippets: list[Snippet] | None = Field(None, description="Of a search: what was found, best first.")


class ThreadList(BaseModel):
    """A page of threads."""

    threads: list[ListedThread]
    next_cursor: NextCursor


class StoredFile(BaseModel):
    """A file."""

    sha256: str = Field(examples=[SHA256])
    filename: str = Field(examples=["report.pdf"])
    media_type: str | None = Field(examples=["application/pdf"])
    size: int | None = Field(description="In bytes.", examples=[48213])

    @classmethod
    def of(cls, file: Attachment) -> "StoredFile":
        """The shape of a file that is stored."""
        return cls(sha256=str(file.sha256), filename=file.filename, media_type=file.media_type, size=file.size)


class StoredMessage(BaseModel):
    """A message, as `message.done` shows it."""

    id: str
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    parts: list[dict[str, Any]]
    tool_calls: list[dict[str, Any]]
    tool_call_id: str | None
    name: str | None
    reasoning: str | None
    source: dict[str, Any] | None
    metadata: Metadata
    attachments: list[StoredFile]
    usage: dict[str, Any] | None
    created_at: Written
    state: Literal["complete", "partial", "truncated"]
    turn_id: str | None
    seq: int | None = Field(description="Its position in the history; null where it has none yet.")


class ListedMessage(StoredMessage):
    """A message of a history."""

    event_id: int = Field(description="The `id` of the event that it was.")


class MessageList(BaseModel):
    """A page of a thread's messages."""

    messages: list[ListedMessage]
    pending: list[StoredMessage] = Field(
        description="Messages that no worker has taken yet: on the page with the end of the history."
    )
    next_cursor: NextCursor


def page_json(page: MessagePage) -> dict[str, Any]:
    """The JSON of a page, in the shape of `MessageList`."""
    return {
        "messages": [_listed_json(message, page.numbers) for message in page.messages],
        "pending": [message_json(pending.message) for pending in page.pending],
        "next_cursor": page.next_cursor,
    }


def _listed_json(message: Message, numbers: Mapping[str, int]) -> dict[str, Any]:
    return message_json(message) | {"event_id": numbers[message.id]}


class TurnError(BaseModel):
    """Why a turn failed, or its newest attempt did."""

    kind: str
    message: str
    retryable: bool
    fault: str


class Turn(BaseModel):
    """A turn: a message of a user's, and what answers it."""

    id: str = Field(examples=[TURN_ID])
    thread_id: str = Field(examples=["order-4711"])
    branch: str = Field("main", description="The branch of its thread on which it is; `main` is the first one.")
    state: Literal["queued", "running", "waiting", "completed", "failed", "cancelled", "merged"]
    agent: str = Field(examples=["assistant"])
    attempt: int = Field(description="How often a worker has begun it.")
    created_at: Written
    started_at: Written | None = None
    finished_at: Written | None = None
    error: TurnError | None = None
    usage: dict[str, Any] | None = None
    cost: float | None = Field(None, description="In US dollars; null where no price is known.")
    position: int | None = Field(None, description="Turns of its thread before it, while it waits.")
    schedule_id: str | None = Field(None, description="The schedule that sent its message.")
    messages: list[StoredMessage] | None = Field(None, description="What it answered, once it is over.")
    merged_into: str | None = Field(None, description="The turn that answers its message with its own.")
    interrupted_by: str | None = Field(None, description="The turn whose message cancelled it.")
    rolled_back: bool = Field(default=False, description="What it asked and said is out of view.")


def turn_json(view: TurnView) -> dict[str, Any]:
    """The JSON of a turn, in the shape of `Turn`."""
    messages = None if view.messages is None else [message_json(message) for message in view.messages]
    return record_json(view.record) | {"position": view.position, "messages": messages}


def record_json(record: TurnRecord) -> dict[str, Any]:
    """As `turn_json`, of a turn's record alone."""
    return {
        "id": record.id,
        "thread_id": record.thread_id,
        "branch": record.branch,
        "state": record.state.value,
        "agent": record.agent,
        "attempt": record.attempt,
        "created_at": write_moment(record.created_at),
        "started_at": _write_optional(record.started_at),
        "finished_at": _write_optional(record.finished_at),
        "error": error_json(record.error) if record.error else None,
        "usage": record.usage.to_json() if record.usage else None,
        "cost": record.cost,
        "position": None,
        "schedule_id": record.schedule_id,
        "messages": None,
        **{name: getattr(record, name) for name in ("merged_into", "interrupted_by", "rolled_back")},
    }


class OneTurn(BaseModel):
    """A turn by itself."""

    turn: Turn


class TurnList(BaseModel):
    """A page of a thread's turns, the newest first."""

    turns: list[Turn]
    next_cursor: NextCursor


class Upload(BaseModel):
    """Where a client puts a file: pass all headers on as they are."""

    id: str
    url: str
    method: str = Field(examples=["PUT"])
    headers: dict[str, str]
    expires_at: Written

    @classmethod
    def of(cls, upload: PromisedUpload) -> "Upload":
        """The shape of a promised upload."""
        return cls(
            id=upload.id,
            url=upload.url,
            method=upload.method,
            headers=dict(upload.headers),
            expires_at=write_moment(upload.expires_at),
        )


class ContextEntry(BaseModel):
    """A text that holds for a whole thread."""

    key: str = Field(examples=["place"])
    content: str = Field(examples=["The user writes from Lisbon."])
    updated_at: Written

    @classmethod
    def of(cls, text: ContextText) -> "ContextEntry":
        """The shape of a stored text."""
        return cls(key=text.key, content=text.content, updated_at=write_moment(text.updated_at))


class ContextList(BaseModel):
    """All keyed context of a thread."""

    context: list[ContextEntry]


class Summary(BaseModel):
    """A summary of a thread."""

    id: str
    from_seq: int
    to_seq: int
    content: str
    model: str
    usage: dict[str, Any] | None
    cost: float | None
    created_at: Written
    restored_at: Written | None = Field(description="When it was withdrawn.")
    is_current: bool = Field(description="Models read this one.")

    @classmethod
    def of(cls, summary: StoredSummary) -> "Summary":
        """The shape of a stored summary."""
        return cls(
            id=summary.id,
            from_seq=summary.from_seq,
            to_seq=summary.to_seq,
            content=summary.content,
            model=summary.model,
            usage=summary.usage.to_json() if summary.usage else None,
            cost=summary.cost,
            created_at=write_moment(summary.created_at),
            restored_at=_write_optional(summary.restored_at),
            is_current=summary.is_current,
        )


class SummaryList(BaseModel):
    """The newest summaries of a thread, the newest first."""

    summaries: list[Summary]
