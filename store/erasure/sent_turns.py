"""Turns that a user sent in threads of others, which are not theirs to delete.

What stays true: such a message keeps its place, so that the history around it stays well-formed, and loses its
text, files and metadata; its turn loses what named the sender. What others said stays: replies, summaries and
archives, which may repeat it, are the owner's. The certificate names these threads by hash.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, false, select, update

from conversation.errors import ThreadUnderLegalHold
from conversation.turn import FINAL_STATES
from store.database.statements import AnyRow
from store.erasure.items import hash_of_thread, record_items
from store.erasure.subject import Subject
from store.files.garbage_collection import note_dropped
from store.history.row_ids import thread_id_of
from store.retention.deletion import add_erased_counts
from store.tables import (
    attachments,
    inbox_messages,
    messages,
    pending_calls,
    steps,
    threads,
    turn_attempts,
    turns,
    webhook_deliveries,
)
from store.turns.cancel import request_cancel
from store.turns.workers import HeldThread, release

#: Stands in a message in place of what an erased user said.
ERASED = "[erased]"
#: Turns of one page.
PAGE = 100


def is_sent_by(subject: Subject) -> ColumnElement[bool]:
    """The condition for turns that the subject sent in threads of others; never true of a thread or a tenant."""
    if subject.user is None:
        return false()
    return (turns.c.tenant == subject.tenant) & (turns.c.sender == subject.user)


def select_shared_keys(subject: Subject) -> Select[tuple[int]]:
    """The statement for the keys of threads in which the subject sent such turns."""
    return select(turns.c.thread_key).where(is_sent_by(subject))


def erase_sent_turns(connection: Connection, erasure_id: str, subject: Subject) -> bool:
    """Erase what the subject said in the next turns of one thread; False at the end.

    A turn that has not ended is asked to stop; what its worker writes from now on is refused. Raises
    `ThreadUnderLegalHold`.
    """
    first_key = select_shared_keys(subject).order_by(turns.c.arrival_seq).limit(1).scalar_subquery()
    query = select(threads).where(threads.c.key == first_key)
    # Before its turns are read: no claim moves a message meanwhile.
    thread = connection.execute(query.with_for_update(key_share=True)).one_or_none()
    if thread is None:
        return False
    if thread.legal_hold:
        raise ThreadUnderLegalHold([thread_id_of(thread.id)])
    page = select(turns.c.id, turns.c.state).where(is_sent_by(subject), turns.c.thread_key == thread.key)
    rows = connection.execute(page.order_by(turns.c.arrival_seq).limit(PAGE)).all()
    for row in rows:
        if row.state not in FINAL_STATES:
            request_cancel(connection, row.id)
        if row.state == "running":
            _take_from_worker(connection, thread, row.id)
    ids = [row.id for row in rows]
    message_count, hashes = _erase_inputs(connection, thread, ids)
    nameless: dict[str, Any] = {
        "sender": subject.sha256,
        "metadata": {},
        "idempotency_key": None,
        "request_digest": None,
        "cancel_requested_by": None,
    }
    connection.execute(update(turns).where(turns.c.id.in_(ids)).values(nameless))
    _erase_quotes(connection, thread.key, ids)
    record_items(connection, erasure_id, "shared", [hash_of_thread(thread)])
    record_items(connection, erasure_id, "blob", hashes)
    add_erased_counts(connection, erasure_id, {"shared_turns": len(ids), "shared_messages": message_count})
    return True


def _take_from_worker(connection: Connection, thread: AnyRow, turn_id: str) -> None:
    """Take a running turn from its worker, which would store what it has read of the subject's words.

    The turn is queued again, and ended out of its journal.
    """
    if thread.lease_owner is not None:
        address = thread.tenant, thread_id_of(thread.id), thread.key
        held = HeldThread(*address, thread.fencing_token, turn_id, cancel_requested=True)
        release(connection, thread.lease_owner, held)


def _erase_quotes(connection: Connection, thread_key: int, turn_ids: Sequence[str]) -> None:
    # A provider may have quoted them in its refusal.
    for table, turn_id in ((turns, turns.c.id), (turn_attempts, turn_attempts.c.turn_id)):
        quotes = turn_id.in_(turn_ids) & table.c.error_message.is_not(None)
        connection.execute(update(table).where(quotes).values(error_message=ERASED))
    # The question or the arguments that a person was asked about may quote them.
    of_turns = (webhook_deliveries.c.thread_key == thread_key) & webhook_deliveries.c.turn_id.in_(turn_ids)
    connection.execute(delete(webhook_deliveries).where(of_turns))


def _erase_calls(connection: Connection, turn_ids: Sequence[str]) -> None:
    """Erase what these turns waited for, and what was decided: the subject answered, and was quoted to others."""
    of_turns = update(pending_calls).where(pending_calls.c.turn_id.in_(turn_ids))
    nothing = dict.fromkeys(("question", "choices", "value", "reason", "decided_by"))
    connection.execute(of_turns.values(arguments="{}", **nothing))


def _erase_told(connection: Connection, turn_ids: Sequence[str]) -> None:
    """Erase what these turns' messages said to others: in the journals of turns that were told them, and in calls."""
    _erase_calls(connection, turn_ids)
    answering = select(turns.c.merged_into).where(turns.c.id.in_(turn_ids), turns.c.merged_into.is_not(None))
    of_told = steps.c.turn_id.in_(answering), steps.c.kind == "input", steps.c.name.in_(turn_ids)
    for row in connection.execute(select(steps.c.turn_id, steps.c["index"], steps.c.result).where(*of_told)).all():
        nothing: dict[str, Any] = {
            "content": ERASED,
            "parts": [],
            "name": None,
            "metadata": {},
            "source": None,
            "attachments": [],
        }
        own_step = (steps.c.turn_id == row.turn_id) & (steps.c["index"] == row[1])
        connection.execute(update(steps).where(own_step).values(result=row.result | nothing | {"attachments": []}))


def _erase_inputs(connection: Connection, thread: AnyRow, turn_ids: Sequence[str]) -> tuple[int, Sequence[str]]:
    """Erase the messages that these turns answer; returns their number, and the hashes of their files."""
    _erase_told(connection, turn_ids)
    of_turn = select(turns.c.window_to_seq).where(turns.c.id == messages.c.turn_id).scalar_subquery()
    is_merged = messages.c.turn_id.in_(
        select(turns.c.id).where(turns.c.id.in_(turn_ids), turns.c.merged_into.is_not(None))
    )
    of_inputs = (
        (messages.c.thread_key == thread.key)
        & messages.c.turn_id.in_(turn_ids)
        & ((messages.c.seq <= of_turn) | is_merged)
    )
    message_ids: list[str] = []
    for table, condition in ((messages, of_inputs), (inbox_messages, inbox_messages.c.turn_id.in_(turn_ids))):
        values: dict[str, Any] = {"content": ERASED, "parts": None, "name": None, "metadata": {}, "source": None}
        erasing = update(table).where(condition).values(values | {"has_attachments": False}).returning(table.c.id)
        message_ids += connection.execute(erasing).scalars()
    of_messages = (attachments.c.thread_key == thread.key) & attachments.c.message_id.in_(message_ids)
    note_dropped(connection, select(attachments.c.tenant, attachments.c.sha256).where(of_messages))
    hashes = connection.execute(delete(attachments).where(of_messages).returning(attachments.c.sha256)).scalars().all()
    return len(message_ids), sorted(set(hashes))
