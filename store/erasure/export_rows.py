"""The rows that an export is made of, as lines of JSON.

What stays true: a page is one short transaction; what retention is about to delete is not among them,
what a legal hold keeps is.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, exists, false, not_, or_, select, true, tuple_

from store.audit import hash_of
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.erasure.archives import parts_of, thread_keys_naming
from store.erasure.sent_turns import is_sent_by
from store.erasure.slack import is_of
from store.erasure.subject import Subject, select_thread_keys
from store.history import message_rows
from store.history.arrival_order import first_turns
from store.history.visibility import cutoff_of, is_hidden_turn
from store.lineage import Lineage, read_lineage, row_lineage
from store.schedules.deletion import is_of_subject
from store.tables import (
    attachments,
    audit,
    blobs,
    inbox_messages,
    messages,
    pending_calls,
    schedules,
    slack_messages,
    steps,
    threads,
    turn_attempts,
    turns,
    uploads,
)
from store.tables.retention import archives, retention_policies
from store.threads.export import message_line

#: Rows of one page.
PAGE = 200

Line = dict[str, Any]


@read_only
def load_thread(connection: Connection, key: int) -> AnyRow | None:
    """Load the row of a thread or branch; None if it is gone, or stays for others alone."""
    is_there = (threads.c.key == key) & threads.c.deleted_at.is_(None)
    return connection.execute(select(threads).where(is_there)).one_or_none()


@read_only
def load_turns(connection: Connection, key: int, after: int) -> tuple[int, list[Line]] | None:
    """Load the next turns in any state, their journals, attempts and inputs, with the position of the last turn."""
    is_held = select(threads.c.legal_hold).where(threads.c.key == key).scalar_subquery()
    of_thread = (turns.c.thread_key == key) & (turns.c.arrival_seq > after)
    visible_turns = select(turns).where(of_thread, or_(is_held, not_(is_hidden_turn(key))))
    page = first_turns(visible_turns, turns, limit=PAGE)
    rows = connection.execute(select(page).order_by(page.c.arrival_seq)).all()
    if not rows:
        return None
    ids = [row.id for row in rows]
    journal = select(steps).where(steps.c.turn_id.in_(ids)).order_by(steps.c.turn_id, steps.c.index)
    decided_calls = select(pending_calls).where(pending_calls.c.turn_id.in_(ids))
    decided_calls = decided_calls.order_by(pending_calls.c.turn_id, pending_calls.c.step_index)
    broken_attempts = select(turn_attempts).where(turn_attempts.c.turn_id.in_(ids))
    broken_attempts = broken_attempts.order_by(turn_attempts.c.turn_id, turn_attempts.c.number)
    inbox = select(inbox_messages).where(inbox_messages.c.turn_id.in_(ids)).order_by(inbox_messages.c.turn_id)
    return rows[-1].arrival_seq, [
        *({"row": "turn", **row_to_json(row)} for row in rows),
        *({"row": "step", **row_to_json(row)} for row in connection.execute(journal)),
        *({"row": "pending_call", **row_to_json(row)} for row in connection.execute(decided_calls)),
        *({"row": "attempt", **row_to_json(row)} for row in connection.execute(broken_attempts)),
        *({"row": "input", **row_to_json(row)} for row in connection.execute(inbox)),
    ]


@read_only
def load_held_messages(connection: Connection, key: int, after: int) -> list[Line]:
    """Load the next hidden messages that only a legal hold keeps: the remainder of a half deleted turn."""
    row = load_thread(connection, key)
    if row is None or not row.legal_hold:
        return []
    statement = message_rows.stored_rows(key, after_seq=after, to_seq=row.history_starts_after)
    statement = statement.add_columns(messages.c.rolled_back)
    rows = connection.execute(statement.order_by(messages.c.seq).limit(PAGE)).all()
    message_pairs = zip(message_rows.load(connection, row_lineage(key), rows), rows, strict=True)
    return [
        message_line(message, each.tokens, turn_id=each.turn_id, rolled_back=each.rolled_back)
        for message, each in message_pairs
    ]


@read_only
def load_files(connection: Connection, key: int, after: tuple[str, int]) -> Sequence[AnyRow]:
    """Load the next files of a thread's messages, visible or held, and of its inbox; without their texts."""
    sort_key = attachments.c.message_id, attachments.c.index
    is_below = exists().where(
        threads.c.key == key,
        not_(threads.c.legal_hold),
        messages.c.thread_key == key,
        messages.c.id == attachments.c.message_id,
        messages.c.seq <= threads.c.history_starts_after,
    )
    is_hidden_input = (
        select(inbox_messages.c.id)
        .join_from(inbox_messages, turns)
        .where(
            inbox_messages.c.id == attachments.c.message_id,
            exists().where(threads.c.key == key, not_(threads.c.legal_hold)),
            is_hidden_turn(key),
        )
        .correlate(attachments)
        .exists()
    )
    statement = select(*_file_columns())
    is_after = tuple_(*sort_key) > tuple_(*after)
    is_own = (attachments.c.thread_key == key) & not_(is_below) & not_(is_hidden_input)
    of_thread = is_after & (is_own | _is_shared_file(read_lineage(connection, key)))
    page = statement.join_from(attachments, blobs).where(of_thread).order_by(*sort_key).limit(PAGE)
    return connection.execute(page).all()


def _is_shared_file(lineage: Lineage) -> ColumnElement[bool]:
    """Whether a file is of a message that a branch or fork shares, and shows."""
    of_message = (messages.c.thread_key == attachments.c.thread_key) & (messages.c.id == attachments.c.message_id)
    is_shown = messages.c.seq > cutoff_of(lineage.key)
    return or_(
        false(),
        *(
            (attachments.c.thread_key == part.thread_key) & exists().where(of_message, part.holds(), is_shown)
            for part in lineage.parts[:-1]
        ),
    )


@read_only
def load_sent_turns(connection: Connection, subject: Subject, after: int) -> tuple[int, Sequence[AnyRow]] | None:
    """Load what the user said in their next turns in threads of others, with the position of the last turn."""
    is_of_other = threads.c.owner.is_distinct_from(subject.user)
    of_page = select(turns.c.id, turns.c.arrival_seq).join(threads).where(is_sent_by(subject), is_of_other)
    page = of_page.where(turns.c.arrival_seq > after).order_by(turns.c.arrival_seq).limit(PAGE)
    sent_turns = connection.execute(page).all()
    if not sent_turns:
        return None
    is_visible = (messages.c.seq > threads.c.history_starts_after) | threads.c.legal_hold
    # Of a message that another turn answers, there is nothing else.
    is_input = ((messages.c.seq <= turns.c.window_to_seq) | turns.c.merged_into.is_not(None)) & is_visible
    rows: list[AnyRow] = []
    is_own = messages.c.thread_key == turns.c.thread_key
    for table, condition in ((messages, is_own & is_input), (inbox_messages, true())):
        said = select(turns.c.arrival_seq, turns.c.thread_key, threads.c.id.label("thread"), *_said_columns(table))
        of_turns = said.join_from(turns, threads).join(table, table.c.turn_id == turns.c.id)
        rows += connection.execute(of_turns.where(turns.c.id.in_([turn.id for turn in sent_turns]), condition))
    return sent_turns[-1].arrival_seq, sorted(rows, key=lambda row: row.arrival_seq)


def _said_columns(table: Table) -> list[Column[Any]]:
    return [table.c[name] for name in ("turn_id", "id", "role", "content", "parts", "name", "metadata", "created_at")]


@read_only
def load_sent_files(connection: Connection, rows: Sequence[AnyRow]) -> Sequence[AnyRow]:
    """Load the files of messages that `load_sent_turns` loaded, each with the id of its thread."""
    addresses = [(row.thread_key, row.id) for row in rows]
    of_messages = tuple_(attachments.c.thread_key, attachments.c.message_id).in_(addresses)
    statement = select(threads.c.id.label("thread"), *_file_columns()).join_from(attachments, blobs).join(threads)
    place = attachments.c.thread_key, attachments.c.message_id, attachments.c.index
    return connection.execute(statement.where(of_messages).order_by(*place)).all()


def _file_columns() -> list[ColumnElement[Any]]:
    columns = attachments.c.message_id, attachments.c.index.label("place"), attachments.c.filename
    return [*columns, blobs.c.sha256, blobs.c.size, blobs.c.media_type, blobs.c.scan]


@read_only
def load_uploads(connection: Connection, tenant: str, hashes: Collection[str]) -> list[Line]:
    """Load the upload rows of these files: what the client said of them."""
    statement = select(uploads).where(uploads.c.tenant == tenant, uploads.c.sha256.in_(sorted(hashes)))
    return [row_to_json(row) for row in connection.execute(statement.order_by(uploads.c.id))]


@read_only
def load_policies(connection: Connection, row: AnyRow) -> list[Line]:
    """Load the policy of one thread, as a list of none or one."""
    policy = retention_policies.c
    statement = select(retention_policies).where(policy.tenant == row.tenant, policy.thread_id == row.id)
    return [row_to_json(each) for each in connection.execute(statement.order_by(policy.key))]


@read_only
def load_audit(connection: Connection, row: AnyRow) -> list[Line]:
    """Load the audit's rows of a thread: what was deleted or repaired."""
    ids = [row.id, hash_of(row.tenant, row.id)]
    of_thread = (audit.c.tenant == row.tenant) & audit.c.thread_id.in_(ids)
    return [row_to_json(each) for each in connection.execute(select(audit).where(of_thread).order_by(audit.c.key))]


@read_only
def load_schedules(connection: Connection, subject: Subject) -> list[Line]:
    """Load the schedules of the subject."""
    of_subject = is_of_subject(subject.tenant, user=subject.user, thread_id=subject.thread_id)
    rows = connection.execute(select(schedules).where(of_subject).order_by(schedules.c.key))
    return [row_to_json(row) for row in rows]


@read_only
def load_slack_messages(connection: Connection, subject: Subject, after: int) -> list[Line]:
    """Load the next messages of the subject out of Slack."""
    of_subject = is_of(subject) & (slack_messages.c.key > after)
    columns = (column for column in slack_messages.c if column.name != "claim")
    statement = select(*columns).where(of_subject).order_by(slack_messages.c.key).limit(PAGE)
    return [row_to_json(row) for row in connection.execute(statement)]


@read_only
def load_archives(connection: Connection, subject: Subject) -> Sequence[AnyRow]:
    """Load the archives of the subject's threads, also of deleted ones."""
    return connection.execute(archive_rows(subject)).all()


def archive_rows(subject: Subject) -> Select[Any]:
    """The statement for the subject's stored archives, the oldest part first."""
    of_subject = archives.c.key.in_(parts_of(select_thread_keys(subject), thread_keys_naming(subject)))
    return select(archives).where(of_subject, archives.c.state == "stored").order_by(archives.c.key)


def row_to_json(row: AnyRow) -> Line:
    """A row as a JSON object, with times in ISO 8601."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row._asdict().items()}
