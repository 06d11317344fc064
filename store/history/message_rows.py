"""Messages as rows: reading the window and the history, and the rows that a reply becomes.

What stays true: a row in `messages` is never updated; `seq` is the only order; messages at or below
the thread's `history_starts_after` are read only to delete or archive them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, func, literal, null, select, union_all
from sqlalchemy.sql.selectable import CompoundSelect

from conversation.attachment import Attachment
from conversation.message import Message, ToolCall, Usage
from conversation.parts import part_from_json
from store.database.statements import AnyRow, convert_row
from store.files.attachments import load_attachments
from store.history.counters import tokens_of
from store.history.visibility import cutoff_of
from store.tables import inbox_messages, messages, turns
from store.tables.turns import unfinished

#: The columns that the inbox and the history share.
SHARED_COLUMNS = ("id", "role", "content", "parts", "name", "metadata", "source", "has_attachments", "created_at")
#: The columns that only the history has.
HISTORY_COLUMNS = ("tool_calls", "tool_call_id", "reasoning", "provider_fields", "usage", "tokens", "state")


def history_rows(thread_key: int, *, after_seq: int, to_seq: int) -> Select[Any]:
    """The messages with `after_seq < seq <= to_seq`, above the thread's cutoff."""
    return stored_rows(thread_key, after_seq=after_seq, to_seq=to_seq).where(messages.c.seq > cutoff_of(thread_key))


def stored_rows(thread_key: int, *, after_seq: int, to_seq: int) -> Select[Any]:
    """As `history_rows`, with the messages below the cutoff, which are about to be deleted."""
    columns = (messages.c.seq, messages.c.turn_id, *(messages.c[name] for name in SHARED_COLUMNS + HISTORY_COLUMNS))
    return select(*columns).where(
        messages.c.thread_key == thread_key, messages.c.seq > after_seq, messages.c.seq <= to_seq
    )


def window_rows(thread_key: int, turn_id: str, *, after_seq: int, to_seq: int, inbox_after: int) -> CompoundSelect[Any]:
    """The window: system messages of any age, the history, then the turn's inputs that wait in the inbox."""
    history_defaults = {"state": literal("complete").label("state")}
    inbox_rows = select(
        (literal(inbox_after) + inbox_messages.c.index + 1).label("seq"),
        inbox_messages.c.turn_id,
        *(inbox_messages.c[name] for name in SHARED_COLUMNS),
        *(history_defaults.get(name, null().label(name)) for name in HISTORY_COLUMNS),
    ).where(inbox_messages.c.turn_id == turn_id)
    history = [history_rows(thread_key, after_seq=after_seq, to_seq=to_seq)]
    if after_seq > 0:
        older = history_rows(thread_key, after_seq=0, to_seq=min(after_seq, to_seq))
        history.append(older.where(messages.c.role == "system"))
    return union_all(*history, inbox_rows).order_by("seq")


def load(connection: Connection, thread_key: int, rows: Iterable[AnyRow]) -> tuple[Message, ...]:
    """Messages of rows, with their attachments: one statement more where there are any."""
    loaded_rows = list(rows)
    message_ids = [row.id for row in loaded_rows if row.has_attachments]
    files = load_attachments(connection, thread_key, message_ids) if message_ids else {}
    return tuple(_message(row, files.get(row.id, [])) for row in loaded_rows)


def _message(row: AnyRow, files: list[Attachment]) -> Message:
    return convert_row(
        row,
        Message,
        parts=tuple(part_from_json(part) for part in row.parts or ()),
        attachments=files,
        tool_calls=tuple(ToolCall(**call) for call in row.tool_calls or ()),
        usage=Usage(**row.usage) if row.usage else None,
    )


def reply_rows(
    thread_key: int, turn_id: str | None, *, after_seq: int, replies: Sequence[Message]
) -> list[dict[str, Any]]:
    """The rows of messages, with the seqs that follow `after_seq`."""
    return [
        shared_columns(reply)
        | {
            "thread_key": thread_key,
            "seq": after_seq + index,
            "turn_id": turn_id,
            "tool_calls": [call.to_json() for call in reply.tool_calls] or None,
            "tool_call_id": reply.tool_call_id,
            "reasoning": reply.reasoning,
            "provider_fields": reply.provider_fields,
            "usage": reply.usage.to_json() if reply.usage else None,
            "tokens": tokens_of(reply),
            "state": reply.state,
        }
        for index, reply in enumerate(replies, start=1)
    ]


def shared_columns(message: Message) -> dict[str, Any]:
    """A message's content, as the columns that the inbox and the history share."""
    return {
        "id": message.id,
        "role": message.role,
        "content": message.content,
        "parts": [part.to_json() for part in message.parts] or None,
        "name": message.name,
        "metadata": message.metadata,
        "source": message.source,
        "has_attachments": bool(message.attachments),
        "created_at": message.created_at,
    }


def oldest_created_at(thread_key: int) -> ScalarSelect[Any]:
    """The time of a thread's oldest message, for a thread that gets a whole history at once."""
    return select(func.min(messages.c.created_at)).where(messages.c.thread_key == thread_key).scalar_subquery()


def list_waiting_ids(connection: Connection, thread_key: int) -> set[str]:
    """List the ids of a thread's messages that wait in the inbox."""
    statement = (
        select(inbox_messages.c.id)
        .join(turns, turns.c.id == inbox_messages.c.turn_id)
        .where(turns.c.thread_key == thread_key, unfinished)
    )
    return set(connection.execute(statement).scalars())
