"""Messages as rows: reading the window and the history, and the rows that a reply becomes.

What stays true: a row in `messages` is never updated; `seq` is the only order; messages at or below
the thread's `history_starts_after` are read only to delete or archive them; a history is read along its lineage.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from sys import intern
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    Subquery,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.selectable import CompoundSelect

from conversation.attachment import Attachment
from conversation.message import Message, ToolCall, Usage
from conversation.parts import Part, part_from_json
from store.files.attachments import load_attachments
from store.history.counters import tokens_of
from store.history.visibility import cutoff_of
from store.lineage import Lineage, select_range, system_parts
from store.tables import inbox_messages, messages, turns
from store.tables.turns import is_unfinished_in_thread

#: The columns that the inbox and the history share.
SHARED_COLUMNS = ("id", "role", "content", "parts", "name", "metadata", "source", "has_attachments", "created_at")
#: The columns that only the history has.
HISTORY_COLUMNS = ("tool_calls", "tool_call_id", "reasoning", "provider_fields", "usage", "tokens", "state")
#: The columns of a message's row as it is read, in their order; a statement may read more behind them.
ROW_COLUMNS = ("seq", "turn_id", *SHARED_COLUMNS, *HISTORY_COLUMNS)

_SEQ, _ID = ROW_COLUMNS.index("seq"), ROW_COLUMNS.index("id")
_HAS_ATTACHMENTS = ROW_COLUMNS.index("has_attachments")


def stored_columns() -> list[Column[Any]]:
    """The columns that `load` reads, of the history."""
    return [messages.c[name] for name in ROW_COLUMNS]


def history_rows(
    lineage: Lineage, *added: ColumnElement[Any], after_seq: int, to_seq: int, limit: int | None = None
) -> Select[Any]:
    """The messages of a history in view with `after_seq < seq <= to_seq`, in their order, above the cutoff.

    `added` are columns behind those of a message.
    """
    columns = [*stored_columns(), *added]
    return select_range(lineage, columns, after_seq=after_seq, to_seq=to_seq, where=_in_view(lineage), limit=limit)


def kept_rows(
    lineage: Lineage, *added: ColumnElement[Any], after_seq: int, to_seq: int, limit: int | None = None
) -> Select[Any]:
    """As `history_rows`, with those out of view, each with whether it is."""
    columns = [*stored_columns(), messages.c.rolled_back, *added]
    above_cutoff = [messages.c.seq > _cutoff_once(lineage)]
    return select_range(lineage, columns, after_seq=after_seq, to_seq=to_seq, where=above_cutoff, limit=limit)


def _in_view(lineage: Lineage) -> list[ColumnElement[bool]]:
    return [messages.c.seq > _cutoff_once(lineage), messages.c.rolled_back.is_(False)]


def _cutoff_once(lineage: Lineage) -> ScalarSelect[int]:
    """The cutoff, which a statement reads once, however many parts it compares with it."""
    return select(select(cutoff_of(lineage.key).label("seq")).cte().c.seq).scalar_subquery()


def stored_rows(thread_key: int, *, after_seq: int, to_seq: int) -> Select[Any]:
    """The messages that are stored with a row of `threads`: also those out of view, or about to be deleted."""
    return select(*stored_columns()).where(
        messages.c.thread_key == thread_key, messages.c.seq > after_seq, messages.c.seq <= to_seq
    )


def window_rows(
    lineage: Lineage, turn_id: str, *, after_seq: int, to_seq: int, inbox_after: int
) -> CompoundSelect[Any]:
    """The window: system messages of any age, the history, then the turn's inputs that wait in the inbox."""
    history_defaults = {"state": literal("complete").label("state")}
    inputs = input_rows(turn_id)
    inbox_rows = select(
        (literal(inbox_after) + inputs.c.position).label("seq"),
        inputs.c.turn_id,
        *(inputs.c[name] for name in SHARED_COLUMNS),
        *(history_defaults.get(name, null().label(name)) for name in HISTORY_COLUMNS),
    )
    of_history, in_view = select(*stored_columns()), _in_view(lineage)
    history = [of_history.where(part.holds(), *in_view) for part in lineage.slices(after_seq, to_seq)]
    if after_seq > 0:
        older = system_parts(lineage, min(after_seq, to_seq))
        history += [of_history.where(part.holds(), *in_view, messages.c.role == "system") for part in older]
    return union_all(*history, inbox_rows).order_by("seq")


def input_rows(turn_id: str) -> Subquery:
    """The messages in the inbox that a turn answers, its own first, each with its position among them, from 1."""
    own_order = turns.c.arrival_seq, inbox_messages.c["index"]
    position = func.row_number().over(order_by=own_order).label("position")
    rows = select(inbox_messages, position).join(turns, turns.c.id == inbox_messages.c.turn_id)
    return rows.where(answers_for(turn_id)).subquery("inputs")


def answers_for(turn_id: Any) -> ColumnElement[bool]:
    """The condition that a turn, of `turns`, is this one, or is answered by it."""
    return or_(turns.c.id == turn_id, turns.c.merged_into == turn_id)


def load(connection: Connection, lineage: Lineage, rows: Iterable[Sequence[Any]]) -> tuple[Message, ...]:
    """Messages of a history's rows, with their attachments: one statement more where there are any."""
    loaded_rows = list(rows)
    message_ids = ids_with_attachments(lineage, loaded_rows)
    files = load_attachments(connection, message_ids) if message_ids else {}
    return build_messages(loaded_rows, files)


def ids_with_attachments(lineage: Lineage, rows: Iterable[Sequence[Any]]) -> dict[int, list[str]]:
    """The ids of messages that have attachments, of rows in the order of `ROW_COLUMNS`, by the key they stand under."""
    ids: dict[int, list[str]] = {}
    for row in rows:
        if row[_HAS_ATTACHMENTS]:
            ids.setdefault(lineage.key_at(row[_SEQ]), []).append(row[_ID])
    return ids


def build_messages(rows: Sequence[Sequence[Any]], files: Mapping[str, Sequence[Attachment]]) -> tuple[Message, ...]:
    """Build stored messages from rows of `ROW_COLUMNS`, of a statement or out of JSON, with their files by id."""
    return tuple(build_from_columns(len(rows), fold_columns(rows), files))


def fold_columns(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """The columns of rows: a tuple each, or the one value that all rows have, where no message could change it."""
    return [_fold(column) for column in zip(*rows, strict=True)] or [()] * len(ROW_COLUMNS)


def _fold(column: tuple[Any, ...]) -> Any:
    first = column[0]
    is_same = (first is None or isinstance(first, str | bool)) and column.count(first) == len(column)
    return first if is_same else column


def build_from_columns(count: int, columns: Sequence[Any], files: Mapping[str, Sequence[Attachment]]) -> list[Message]:
    """Build so many stored messages from their folded columns. Nothing is checked again."""
    fields = read_columns(count, columns)
    attachments = [list(files.get(id_, ())) for id_ in fields["id"]]
    return Message.list_from_checked(count, attachments=attachments, **fields)


def read_columns(count: int, columns: Sequence[Any]) -> dict[str, list[Any]]:
    """The fields of so many messages, out of their folded columns. Raises where no message could be built."""
    values = dict(zip(ROW_COLUMNS, columns, strict=False))
    return {name: _read_column(count, values[name], read) for name, read in _FIELD_READERS.items()}


def _read_column(count: int, column: Any, read: Callable[[Any], Any] | None) -> list[Any]:
    if not isinstance(column, tuple):
        return [read(column) if read else column] * count
    return list(map(read, column) if read else column)


def _read_moment(moment: datetime | str) -> datetime:
    # A database writes JSON in the time zone of its session.
    return (datetime.fromisoformat(moment) if isinstance(moment, str) else moment).astimezone(UTC)


def _read_turn_id(turn_id: str | None) -> str | None:
    return intern(turn_id) if turn_id else None


def _read_parts(parts: Iterable[Mapping[str, Any]] | None) -> tuple[Part, ...]:
    return tuple(part_from_json(part) for part in parts) if parts else ()


def _read_calls(tool_calls: Iterable[Mapping[str, Any]] | None) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(**call) for call in tool_calls) if tool_calls else ()


def _read_usage(usage: Mapping[str, Any] | None) -> Usage | None:
    return Usage(**usage) if usage else None


#: What reads the fields of a message that are not taken as they are stored.
#: Of role, state and turn, one text for all messages: a thousand turns that wait hold fifty thousand of them.
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "role": intern,
    "state": intern,
    "turn_id": _read_turn_id,
    "created_at": _read_moment,
    "parts": _read_parts,
    "tool_calls": _read_calls,
    "usage": _read_usage,
}
#: The fields of a message that its row holds, each with what reads it, if it isn't taken as it is stored.
_FIELD_READERS = {name: _READERS.get(name) for name in ROW_COLUMNS if name not in ("has_attachments", "tokens")}


def reply_rows(
    thread_key: int, turn_id: str | None, *, after_seq: int, replies: Sequence[Message]
) -> list[dict[str, Any]]:
    """The rows of a turn's messages, or of no turn's, with the seqs that follow `after_seq`."""
    return [
        # A message that the turn was told while it ran stays that of its own turn.
        {
            "thread_key": thread_key,
            "seq": after_seq + index,
            "turn_id": turn_id and (reply.turn_id or turn_id),
            **_reply_columns(reply),
        }
        for index, reply in enumerate(replies, start=1)
    ]


def reply_json(position: int, reply: Message) -> dict[str, Any]:
    """A message as functions of the database take it: its columns in JSON, with its position as `seq`."""
    fields, created_at = reply.provider_fields, reply.created_at.astimezone(UTC).isoformat()
    columns = _reply_columns(reply) | {
        "seq": position,
        "created_at": created_at,
        "turn_id": reply.turn_id,
        # As text: a parser of JSON would not keep its bytes.
        "provider_fields": None if fields is None else json.dumps(fields),
    }
    return {name: value for name, value in columns.items() if value is not None}


def _reply_columns(reply: Message) -> dict[str, Any]:
    return shared_columns(reply) | {
        "tool_calls": [call.to_json() for call in reply.tool_calls] or None,
        "tool_call_id": reply.tool_call_id,
        "reasoning": reply.reasoning,
        "provider_fields": reply.provider_fields,
        "usage": reply.usage.to_row() if reply.usage else None,
        "tokens": tokens_of(reply),
        "state": reply.state,
    }


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
        .where(turns.c.thread_key == thread_key, is_unfinished_in_thread())
    )
    return set(connection.execute(statement).scalars())
