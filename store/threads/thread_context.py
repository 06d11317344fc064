"""The keyed context of a thread, for who reads and writes it without the thread.

What stays true: what is written here is what a save of the thread would write, under the thread's lock; a change
raises the thread's version of its context, by which a turn that runs tells what it began with. What is written here
is bounded, since models read all of it in every turn.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select, update

from conversation.errors import InvalidInput, ThreadUnderLegalHold
from conversation.validation import check_id, check_text
from conversation.working_copy import LEADING
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.tables import thread_context, threads
from store.threads.context_rows import drop_context, write_context
from store.threads.visible_threads import Viewer, find_thread, lock_visible_thread

#: Keys of a thread, and characters of all of their texts: far more than any model makes use of.
KEYS_MAX, CHARS_MAX = 200, 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextText:
    """A system text that holds for a whole thread."""

    key: str
    content: str
    updated_at: datetime


@read_only
def list_context(connection: Connection, viewer: Viewer, thread_id: str) -> list[ContextText]:
    """List the context of a thread, by key; without the system messages in front. Raises `ThreadNotFound`."""
    return _load(connection, find_thread(connection, viewer, thread_id).key)


def put_context(connection: Connection, viewer: Viewer, thread_id: str, key: str, content: str) -> ContextText:
    """Write a text under its key, in place of the one before. Raises `ThreadNotFound`, and `InvalidInput`."""
    _check_key(key)
    check_text("content", content)
    row = lock_visible_thread(connection, viewer, thread_id)
    _check_room(connection, row.key, key, len(content))
    if write_context(connection, row.key, {key: content}):
        _note_change(connection, row)
    return _load(connection, row.key, thread_context.c.key == key)[0]


def delete_context(connection: Connection, viewer: Viewer, thread_id: str, key: str) -> bool:
    """Remove the text of a key; False if there was none. Raises `ThreadNotFound`, `ThreadUnderLegalHold`."""
    _check_key(key)
    row = lock_visible_thread(connection, viewer, thread_id)
    if not drop_context(connection, row.key, {key}):
        return False
    if row.legal_hold:
        raise ThreadUnderLegalHold([thread_id])
    _note_change(connection, row)
    return True


def _check_key(key: str) -> None:
    check_id("key", key)
    if key.startswith(LEADING):
        raise InvalidInput("key", f"begins with {LEADING}", "choose another one: these are of messages in front")


def _check_room(connection: Connection, thread_key: int, key: str, chars: int) -> None:
    """Refuse a text that makes the context larger than it may be; one may always be made shorter."""
    size = func.length(thread_context.c.content).label("size")
    rows = connection.execute(select(thread_context.c.key, size).where(_belongs_to(thread_key)))
    sizes = {row.key: int(row.size) for row in rows}
    if key not in sizes and len(sizes) >= KEYS_MAX:
        raise InvalidInput("key", f"is one more than the {KEYS_MAX} of a thread", "write under one that it has")
    before = sizes.get(key, 0)
    if chars > before and sum(sizes.values()) - before + chars > CHARS_MAX:
        raise InvalidInput("content", f"makes the context longer than {CHARS_MAX:,} characters", "shorten it")


def _belongs_to(thread_key: int) -> ColumnElement[bool]:
    leads = thread_context.c.key.startswith(LEADING, autoescape=True)
    return (thread_context.c.thread_key == thread_key) & ~leads


def _load(connection: Connection, thread_key: int, *conditions: ColumnElement[bool]) -> list[ContextText]:
    columns = (thread_context.c.key, thread_context.c.content, thread_context.c.updated_at)
    statement = select(*columns).where(_belongs_to(thread_key), *conditions)
    rows = connection.execute(statement.order_by(thread_context.c.key))
    return [ContextText(key=row.key, content=row.content, updated_at=row.updated_at) for row in rows]


def _note_change(connection: Connection, row: AnyRow) -> None:
    changes = {"context_version": threads.c.context_version + 1, "updated_at": clock()}
    connection.execute(update(threads).where(threads.c.key == row.key).values(changes))
