"""Threads: saving what is new of a working copy, loading, deleting.

What stays true: saving appends, in a number of statements that does not depend on the history's
length; metadata is merged by key, the last writer of a key wins; no writer's messages are lost,
and all stand in one order.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, exists, func, literal, select, update

from conversation.errors import InvalidInput, ThreadNotFound, TitleConflict
from conversation.message import Message
from conversation.thread import LAST_UPDATED, LEADING, Loaded, Thread
from conversation.validation import check_metadata
from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.files.attachments import attach
from store.history import message_rows
from store.history.counters import tokens_of
from store.history.visibility import cut_of
from store.tables import context, messages, threads


@dataclass(frozen=True, slots=True)
class Saved:
    """What a save did, for the working copy to be brought up to date after the commit."""

    row: AnyRow
    seqs: Mapping[str, int]


def ensure_thread(connection: Connection, tenant: str, thread_id: str) -> None:
    """Insert the thread, with nothing in it, if it is not there."""
    connection.execute(_new_thread(connection, tenant, thread_id))


def get_or_create(connection: Connection, thread: Thread) -> Thread:
    """The stored thread of this id; else this one, stored now. Of many callers at once, one makes it."""
    if _insert(connection, thread.tenant, thread.id):
        save(connection, thread, new=thread.new_messages)
    return load(connection, thread.tenant, thread.id)


def save(
    connection: Connection, thread: Thread, *, new: Sequence[Message], check_title: bool = False
) -> Saved:
    """Append `new` messages and write what else changed. Running it twice changes nothing more.

    Raises `TitleConflict` if `check_title` is asked for and another writer changed the title, and
    `InvalidInput` for context that is dropped from a thread under legal hold.
    """
    thread.check()
    for message in new:
        message.check()
        message.check_files()
    ensure_thread(connection, thread.tenant, thread.id)
    row = locked(connection, thread.tenant, thread.id)
    base = thread.loaded
    if check_title and row.title not in (thread.title, base.title if base else None):
        raise TitleConflict(f"title: another writer made it {row.title!r}; load the thread again")
    seqs = _append(connection, row, thread.tenant, new)
    added = [message for message in new if seqs.get(message.id, 0) > row.last_seq]
    retained_from = row.retained_from or row.created_at
    oldest = min([retained_from, *(message.created_at for message in added)])
    changed = _save_context(connection, row, thread)
    written = connection.execute(
        update(threads)
        .where(threads.c.key == row.key)
        .values(
            title=thread.title if thread.title != (base.title if base else None) else row.title,
            metadata=_merged(row.metadata, thread.metadata, base.metadata if base else {}),
            updated_at=clock(),
            last_seq=max([row.last_seq, *seqs.values()]),
            context_version=row.context_version + changed,
            # What was said elsewhere, long ago, is as old here.
            retained_from=oldest if oldest < retained_from else row.retained_from,
            uncovered_messages=threads.c.uncovered_messages + len(added),
            uncovered_tokens=threads.c.uncovered_tokens + sum(map(tokens_of, added)),
        )
        .returning(threads)
    ).one()
    return Saved(written, seqs)


def apply(thread: Thread, saved: Saved) -> None:
    """Bring a working copy up to date with what was committed of it."""
    was_cut = thread.is_cut
    thread.dropped_context.clear()
    if thread.has_messages:
        thread.keep_newest_context()
        for message in thread.new_messages:
            if message.id in saved.seqs:
                for file in message.attachments:
                    file.content = None
                message.seq = saved.seqs[message.id]
    _describe(thread, saved.row, is_cut=was_cut)


def load(connection: Connection, tenant: str, thread_id: str, *, last: int | None = None) -> Thread:
    """A working copy of a stored thread, or of its `last` messages. Raises `ThreadNotFound`."""
    row = connection.execute(_select(tenant, thread_id)).one_or_none()
    if row is None:
        raise ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {tenant!r}")
    after = 0 if last is None else _seq_before_last(connection, row.key, last)
    rows = connection.execute(
        message_rows.history_rows(row.key, after_seq=after, to_seq=row.last_seq).order_by(messages.c.seq)
    )
    thread = described(row)
    thread.messages = list(message_rows.load(connection, row.key, rows))
    if row.context_version:
        _show_context(connection, thread, row.key)
    _describe(thread, row)
    return thread


def _show_context(connection: Connection, thread: Thread, key: int) -> None:
    """Context that was put in front of the messages stands there again."""
    keyed = select(context.c.key, context.c.content).where(context.c.thread_key == key)
    found = {row.key: row.content for row in connection.execute(keyed.order_by(context.c.key))}
    thread.context = {name: text for name, text in found.items() if not name.startswith(LEADING)}
    front = [
        Message(role="system", content=text, name=name.removeprefix(LEADING))
        for name, text in found.items()
        if name.startswith(LEADING)
    ]
    thread.messages = [*front, *thread.messages]


def described(row: AnyRow) -> Thread:
    """A thread without its messages."""
    thread = Thread(row.id, tenant=row.tenant)
    thread.messages = None  # a listing loads none
    _describe(thread, row)
    return thread


def _insert(connection: Connection, tenant: str, thread_id: str) -> bool:
    """Insert the thread, with nothing in it; False if it was there."""
    new = _new_thread(connection, tenant, thread_id).returning(threads.c.key)
    return connection.execute(new).one_or_none() is not None


def _new_thread(connection: Connection, tenant: str, thread_id: str) -> Any:
    """It is looked for first: on a conflict alone, PostgreSQL waits for whoever is changing the row."""
    absent = ~exists().where(threads.c.tenant == tenant, threads.c.id == thread_id)
    values = {"tenant": tenant, "id": thread_id, "metadata": {}}
    row = [literal(value, threads.c[name].type) for name, value in values.items()]
    source = select(*row, clock(), clock()).where(absent)
    statement = insert_for(connection, threads).from_select([*values, "created_at", "updated_at"], source)
    return statement.on_conflict_do_nothing(index_elements=["tenant", "id"])


def _select(tenant: str, thread_id: str) -> Any:
    return select(threads).where(threads.c.tenant == tenant, threads.c.id == thread_id)


def locked(connection: Connection, tenant: str, thread_id: str) -> AnyRow:
    """The row of a thread, locked until the transaction ends. Raises `ThreadNotFound`."""
    row: AnyRow | None = connection.execute(
        _select(tenant, thread_id).with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {tenant!r}")
    return row


def _append(connection: Connection, row: AnyRow, tenant: str, new: Sequence[Message]) -> dict[str, int]:
    """Insert messages at the end; one that another copy saved already keeps its place."""
    # The claim of its turn gives a place to what waits in the inbox.
    waiting = message_rows.waiting(connection, row.key)
    new = [message for message in new if message.id not in waiting]
    if not new:
        return {}
    rows = message_rows.reply_rows(row.key, None, after_seq=row.last_seq, replies=new)
    statement = insert_for(connection, messages).on_conflict_do_nothing(index_elements=["thread_key", "id"])
    # As a list of rows, not as one long statement: that has room for a few thousand only.
    placed = connection.execute(statement.returning(messages.c.id, messages.c.seq), rows).all()
    seqs = {found.id: found.seq for found in placed}
    missing = [message.id for message in new if message.id not in seqs]
    if missing:
        stored = select(messages.c.id, messages.c.seq).where(
            messages.c.thread_key == row.key, messages.c.id.in_(missing)
        )
        seqs |= {found.id: found.seq for found in connection.execute(stored)}
    placed_new = [message for message in new if message.id not in missing]
    attach(connection, row.key, tenant, placed_new)
    return seqs


def _save_context(connection: Connection, row: AnyRow, thread: Thread) -> bool:
    """Write what changed of the context, drop what was dropped; True if anything did."""
    front = {key: message.content for key, message in thread.leading_context.items()}
    known = thread.loaded.context if thread.loaded else {}
    mine = {key: text for key, text in (thread.context | front).items() if known.get(key) != text}
    changed = _write_context(connection, row.key, mine)
    if not _drop_context(connection, row.key, thread.dropped_context):
        return changed
    if row.legal_hold:
        raise InvalidInput("context", f"of {thread.id!r} is under legal hold", "lift the hold first")
    return True


def _write_context(connection: Connection, key: int, keyed: Mapping[str, str]) -> bool:
    """Write the context whose text changed; True if any did."""
    if not keyed:
        return False
    rows = [
        {"thread_key": key, "key": name, "content": text, "updated_at": clock()}
        for name, text in sorted(keyed.items())
    ]
    statement = insert_for(connection, context).values(rows)
    new = statement.excluded
    changed = statement.on_conflict_do_update(
        index_elements=["thread_key", "key"],
        set_={"content": new.content, "updated_at": new.updated_at},
        where=context.c.content != new.content,
    )
    return bool(connection.execute(changed.returning(context.c.key)).all())


def _drop_context(connection: Connection, key: int, names: Collection[str]) -> bool:
    """Remove context; True if any was there."""
    if not names:
        return False
    gone = delete(context).where(context.c.thread_key == key, context.c.key.in_(sorted(names)))
    return connection.execute(gone).rowcount > 0


def _merged(stored: Mapping[str, Any], mine: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The stored metadata with the keys that this copy set, changed or removed."""
    mine, base = check_metadata("metadata", mine), check_metadata("metadata", base)  # plain values
    changed = {key: value for key, value in mine.items() if key not in base or not _same(base[key], value)}
    kept = {key: value for key, value in stored.items() if key in mine or key not in base}
    merged = kept | changed
    merged.pop(LAST_UPDATED, None)
    return merged


def _same(one: Any, other: Any) -> bool:
    """Whether JSON writes both alike. To Python, true equals 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _seq_before_last(connection: Connection, key: int, last: int) -> int:
    if isinstance(last, bool) or not isinstance(last, int) or last <= 0:
        raise InvalidInput("last", f"is {last}", "pass how many messages to load, 1 or more")
    newest = (
        select(messages.c.seq)
        .where(messages.c.thread_key == key, messages.c.seq > cut_of(key))
        .order_by(messages.c.seq.desc())
        .limit(last)
        .subquery()
    )
    return int(connection.execute(select(func.coalesce(func.min(newest.c.seq), 1))).scalar_one()) - 1


def _describe(thread: Thread, row: AnyRow, *, is_cut: bool = False) -> None:
    thread.title = row.title
    thread.created_at, thread.updated_at = row.created_at, row.updated_at
    thread.metadata = dict(row.metadata) | {LAST_UPDATED: row.updated_at.isoformat()}
    # A list inside may be edited in place: that is told from a copy of its own.
    shown = {key: message.content for key, message in thread.leading_context.items()}
    thread.loaded = Loaded(
        title=row.title,
        metadata=deepcopy(thread.metadata),
        context=thread.context | shown,
        message_ids=thread.seen_ids(),
        last_seq=row.last_seq if thread.loaded is None else thread.loaded.last_seq,
        is_cut=is_cut,
    )
