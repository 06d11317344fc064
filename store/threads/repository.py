"""Threads: saving the changes of a working copy, loading, deleting.

What stays true: saving appends, in a number of statements that does not depend on the history's
length; metadata is merged by key, the last writer of a key wins; no writer's messages are lost,
and all stand in one order.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, func, literal, select, update

from conversation.arguments import INTEGER_MAX, check_whole_number
from conversation.branch_address import MAIN, split_address
from conversation.errors import ThreadUnderLegalHold, TitleConflict
from conversation.message import Message
from conversation.thread import LAST_UPDATED, Thread
from conversation.validation import check_metadata
from conversation.working_copy import LEADING, LoadedState
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import AnyRow, insert_for
from store.files.attachments import attach
from store.history import message_rows
from store.history.counters import tokens_of
from store.history.row_ids import is_row_of
from store.history.visibility import cutoff_of
from store.lineage import Lineage, select_range
from store.tables import messages, thread_context, threads
from store.threads.branch_rows import not_found, write_all
from store.threads.context_rows import drop_context, write_context
from store.threads.ownership import choose_owner
from store.threads.pending_messages import load_pending


@dataclass(frozen=True, slots=True)
class SaveOutcome:
    """The outcome of a save, by which the working copy is brought up to date after the commit."""

    row: AnyRow
    seqs: Mapping[str, int]


def ensure_thread(
    connection: Connection, tenant: str, thread_id: str, *, agent: str | None = None, owner: str | None = None
) -> None:
    """Insert an empty thread of this user, for a first turn of this agent, unless one of this id is stored."""
    connection.execute(_insert_statement(connection, tenant, thread_id, agent, owner))


def get_or_create(connection: Connection, thread: Thread) -> Thread:
    """Load the stored thread of this id, or store this one. Of many callers at once, one stores it."""
    insertion = _insert_statement(connection, thread.tenant, thread.id, None, None).returning(threads.c.key)
    if connection.execute(insertion).one_or_none() is not None:
        save(connection, thread, new=thread.new_messages)
    return load(connection, thread.tenant, thread.id)


def save(
    connection: Connection,
    thread: Thread,
    *,
    new: Sequence[Message],
    check_title: bool = False,
    user: str | None = None,
) -> SaveOutcome:
    """Append `new` messages and write what else changed. Running it twice changes nothing more.

    A thread that is nobody's, and of which the copy says nothing, becomes that of the `user` who says them.

    Raises `TitleConflict` if `check_title` is asked for and another writer changed the title,
    `ThreadUnderLegalHold` for context that is dropped from one, and as `choose_owner`.
    """
    thread.check()
    for message in new:
        message.check()
        message.check_files()
    if thread.branch in (None, MAIN):
        ensure_thread(connection, thread.tenant, thread.id)
    row = lock_thread(connection, thread.tenant, thread.address)
    owner, loaded_title = choose_owner(row, thread) or user, thread.loaded.title if thread.loaded else None
    if check_title and row.title not in (thread.title, loaded_title):
        raise TitleConflict(f"title: another writer made it {row.title!r}; load the thread again")
    seqs = _append(connection, row, thread.tenant, new)
    added_messages = [message for message in new if seqs.get(message.id, 0) > row.last_seq]
    context_changed = _save_context(connection, row, thread)
    saved_row = connection.execute(
        update(threads)
        .where(threads.c.key == row.key)
        .values(
            owner=owner,
            title=row.title if thread.title == loaded_title else thread.title,
            metadata=_merge_metadata(row.metadata, thread.metadata, thread.loaded.metadata if thread.loaded else {}),
            updated_at=clock(),
            last_seq=max([row.last_seq, *seqs.values()]),
            context_version=row.context_version + context_changed,
            retained_from=_retention_start(row, added_messages),
            uncovered_messages=threads.c.uncovered_messages + len(added_messages),
            uncovered_tokens=threads.c.uncovered_tokens + sum(map(tokens_of, added_messages)),
        )
        .returning(threads)
    ).one()
    _save_common(connection, row, saved_row)
    return SaveOutcome(saved_row, seqs)


def _save_common(connection: Connection, row: AnyRow, saved_row: AnyRow) -> None:
    """Write into the thread's other branches what they have in common, where it changed."""
    names = ("owner", "title", "metadata")
    if any(getattr(row, name) != getattr(saved_row, name) for name in names):
        write_all(connection, saved_row, **{name: getattr(saved_row, name) for name in names})


def _retention_start(row: AnyRow, added_messages: Sequence[Message]) -> datetime | None:
    """The time of the oldest message, where that is before the thread was made; None where none is."""
    retained_from: datetime = row.retained_from or row.created_at
    # Messages that were written elsewhere, long ago, are as old here.
    oldest_created_at = min([retained_from, *(message.created_at for message in added_messages)])
    return oldest_created_at if oldest_created_at < retained_from else row.retained_from


def apply(thread: Thread, outcome: SaveOutcome) -> None:
    """Bring a working copy up to date with what was committed of it."""
    was_sliced = thread.is_sliced
    thread.dropped_context = set()
    if thread.has_messages:
        thread.keep_newest_context()
        for message in thread.new_messages:
            if message.id in outcome.seqs:
                for file in message.attachments:
                    file.content = None
                message.seq = outcome.seqs[message.id]
    _refresh(thread, outcome.row, is_sliced=was_sliced)


@read_only
def load(connection: Connection, tenant: str, thread_id: str, *, last: int | None = None) -> Thread:
    """A working copy of a stored thread, or of its `last` messages. Raises `ThreadNotFound`."""
    last = None if last is None else _check_last(last)
    # First of all, so that a message which is claimed meanwhile is seen twice, and not never.
    pending = load_pending(connection, tenant, thread_id, last=last)
    row = connection.execute(_select(tenant, thread_id)).one_or_none()
    if row is None:
        raise not_found(tenant, thread_id)
    lineage = Lineage.of(row)
    after_seq = 0 if last is None else _seq_before_last(connection, lineage, last)
    rows = connection.execute(message_rows.history_rows(lineage, after_seq=after_seq, to_seq=row.last_seq))
    thread = thread_from_row(row)
    thread.messages = list(message_rows.load(connection, lineage, rows))
    claimed_ids = {message.id for message in thread.messages} if pending else ()
    thread.pending = tuple(each for each in pending if each.message.id not in claimed_ids)
    if row.context_version:
        _load_context(connection, thread, row.key)
    _refresh(thread, row)
    return thread


def _load_context(connection: Connection, thread: Thread, key: int) -> None:
    """Load the context of a thread, and put its leading system messages in front again."""
    statement = select(thread_context.c.key, thread_context.c.content).where(thread_context.c.thread_key == key)
    texts = {row.key: row.content for row in connection.execute(statement.order_by(thread_context.c.key))}
    thread.context = {name: text for name, text in texts.items() if not name.startswith(LEADING)}
    leading_messages = [
        Message(role="system", content=text, name=name.removeprefix(LEADING))
        for name, text in texts.items()
        if name.startswith(LEADING)
    ]
    thread.messages = [*leading_messages, *thread.messages]


def thread_from_row(row: AnyRow) -> Thread:
    """Build a thread from its row, without its messages."""
    thread = Thread(split_address(row.id)[0], tenant=row.tenant)
    thread.messages = None  # a listing loads none
    _refresh(thread, row)
    return thread


def _insert_statement(connection: Connection, tenant: str, thread_id: str, agent: str | None, owner: str | None) -> Any:
    return insert_if_absent(
        connection, {"tenant": tenant, "id": thread_id, "owner": owner, "metadata": {}, "agent": agent}
    )


def insert_if_absent(connection: Connection, values: Mapping[str, Any]) -> Any:
    """Insert an empty thread, after a check that none is there: on a conflict, PostgreSQL waits for its lock."""
    is_absent = ~exists().where(threads.c.tenant == values["tenant"], threads.c.id == values["id"])
    row = [literal(value, threads.c[name].type) for name, value in values.items()]
    source = select(*row, clock(), clock()).where(is_absent)
    statement = insert_for(connection, threads).from_select([*values, "created_at", "updated_at"], source)
    return statement.on_conflict_do_nothing(index_elements=["tenant", "id"])


def _select(tenant: str, thread_id: str) -> Any:
    return select(threads).where(is_row_of(tenant, thread_id))


def lock_thread(connection: Connection, tenant: str, thread_id: str) -> AnyRow:
    """The row of a thread, locked until the transaction ends. Raises `ThreadNotFound`."""
    row: AnyRow | None = connection.execute(_select(tenant, thread_id).with_for_update(key_share=True)).one_or_none()
    if row is None:
        raise not_found(tenant, thread_id)
    return row


def _append(connection: Connection, row: AnyRow, tenant: str, new: Sequence[Message]) -> dict[str, int]:
    """Insert messages at the end; one that another copy saved already keeps its seq."""
    # Messages in the inbox get their seq when their turn is claimed.
    inbox_ids = message_rows.list_waiting_ids(connection, row.key)
    new = [message for message in new if message.id not in inbox_ids]
    shared_seqs = _find_shared(connection, Lineage.of(row), [message.id for message in new])
    new = [message for message in new if message.id not in shared_seqs]
    if not new:
        return shared_seqs
    rows = message_rows.reply_rows(row.key, None, after_seq=row.last_seq, replies=new)
    statement = insert_for(connection, messages).on_conflict_do_nothing(index_elements=["thread_key", "id"])
    # As a list of rows, not as one long statement: that takes a few thousand only.
    inserted_rows = connection.execute(statement.returning(messages.c.id, messages.c.seq), rows).all()
    seqs = shared_seqs | {found.id: found.seq for found in inserted_rows}
    missing_ids = [message.id for message in new if message.id not in seqs]
    if missing_ids:
        stored_seqs = select(messages.c.id, messages.c.seq).where(
            messages.c.thread_key == row.key, messages.c.id.in_(missing_ids)
        )
        seqs |= {found.id: found.seq for found in connection.execute(stored_seqs)}
    inserted_messages = [message for message in new if message.id not in missing_ids]
    attach(connection, row.key, tenant, inserted_messages)
    return seqs


def _find_shared(connection: Connection, lineage: Lineage, ids: Sequence[str]) -> dict[str, int]:
    """The seqs of messages that a branch shares, by id; no statement where it shares nothing."""
    if not lineage.shared_to_seq or not ids:
        return {}
    of_shared = lineage.holds(to_seq=lineage.shared_to_seq) & messages.c.id.in_(ids)
    return {row.id: row.seq for row in connection.execute(select(messages.c.id, messages.c.seq).where(of_shared))}


def _save_context(connection: Connection, row: AnyRow, thread: Thread) -> bool:
    """Write the changed context, and remove the dropped one; True if anything changed."""
    leading_texts = {key: message.content for key, message in thread.leading_context.items()}
    stored_texts = thread.loaded.context if thread.loaded else {}
    changed_texts = {
        key: text for key, text in (thread.context | leading_texts).items() if stored_texts.get(key) != text
    }
    has_changed = write_context(connection, row.key, changed_texts)
    if not drop_context(connection, row.key, thread.dropped_context):
        return has_changed
    if row.legal_hold:
        raise ThreadUnderLegalHold([thread.id])
    return True


def _merge_metadata(
    stored_values: Mapping[str, Any], own_values: Mapping[str, Any], base_values: Mapping[str, Any]
) -> dict[str, Any]:
    """The stored metadata with the keys that this copy set, changed or removed."""
    # Plain values.
    own_values, base_values = (check_metadata("metadata", values) for values in (own_values, base_values))
    changed_values = {
        key: value
        for key, value in own_values.items()
        if key not in base_values or not _is_same_json(base_values[key], value)
    }
    remaining = {key: value for key, value in stored_values.items() if key in own_values or key not in base_values}
    metadata = remaining | changed_values
    metadata.pop(LAST_UPDATED, None)
    return metadata


def _is_same_json(one: Any, other: Any) -> bool:
    """Whether two values are written alike as JSON. To Python, true equals 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _check_last(last: int) -> int:
    fix = "pass how many messages to load, 1 or more"
    return check_whole_number("last", last, minimum=1, maximum=INTEGER_MAX, fix=fix)


def _seq_before_last(connection: Connection, lineage: Lineage, last: int) -> int:
    in_view = [messages.c.seq > cutoff_of(lineage.key), messages.c.rolled_back.is_(False)]
    newest = select_range(lineage, [messages.c.seq], where=in_view, newest_first=True, limit=last)
    newest_seqs = newest.subquery()
    return int(connection.execute(select(func.coalesce(func.min(newest_seqs.c.seq), 1))).scalar_one()) - 1


def _refresh(thread: Thread, row: AnyRow, *, is_sliced: bool = False) -> None:
    thread.title, thread.user = row.title, row.owner
    thread.branch = split_address(row.id)[1] or MAIN
    thread.created_at, thread.updated_at = row.created_at, row.updated_at
    thread.metadata = dict(row.metadata) | {LAST_UPDATED: row.updated_at.isoformat()}
    # A list inside may be edited in place: the deep copy shows the change.
    leading_texts = {key: message.content for key, message in thread.leading_context.items()}
    thread.loaded = LoadedState(
        title=row.title,
        user=row.owner,
        metadata=deepcopy(thread.metadata),
        context=thread.context | leading_texts,
        message_ids=thread.seen_ids(),
        last_seq=row.last_seq if thread.loaded is None else thread.loaded.last_seq,
        is_sliced=is_sliced,
    )
