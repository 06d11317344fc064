"""Summaries as rows: the draft of the next one, storing it, restoring the one before it.

What stays true: a summary is put in place of the one that its draft was made from, or not at all, also
where that one was replaced and came back meanwhile; no lease is needed for that and no model is asked
meanwhile, so a turn never waits for more than a row. Only finished turns are covered, messages are
only read, and a message that arrives meanwhile stands behind the covered range. Every row stays: a turn
that goes on reads the summary that it began with.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, and_, func, select, update

from conversation.errors import InvalidInput, ThreadNotFound
from conversation.ids import new_id
from conversation.message import Message, Usage
from conversation.summary import Draft, NewSummary, Summary
from conversation.water_marks import WaterMarks
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import AnyRow, convert_row
from store.history import message_rows
from store.history.counters import recount, subtract_covered
from store.history.row_ids import is_row_of
from store.history.visibility import is_summary_of
from store.lineage import Lineage
from store.summaries import shared_summaries
from store.summaries.next_range import find_low_seq, find_step_end
from store.tables import messages, summaries, threads, turns
from store.tables.turns import unfinished

#: Seconds after a restore in which no summary is begun by itself: the caller wanted to see the messages.
RESTORE_PAUSE_SECONDS = 86_400.0


@read_only
def load_draft(connection: Connection, tenant: str, thread_id: str, *, marks: WaterMarks) -> Draft | None:
    """Load the draft of the next summary towards the low mark; None where no whole turn is above it.

    Raises `ThreadNotFound`.
    """
    thread = _load_thread(connection, tenant, thread_id)
    after_seq = max(thread.history_starts_after, thread.to_seq or 0)
    lineage = Lineage.of(thread)
    low_seq = find_low_seq(
        connection,
        lineage,
        after_seq=after_seq,
        last_seq=thread.last_seq,
        # Messages of an unfinished turn are not covered.
        unfinished_seq=thread.unfinished_seq,
        marks=marks.within(thread.window_tokens),
    )
    if low_seq is None:
        return None
    draft = Draft(
        thread_key=thread.key,
        version=thread.summary_version,
        previous_id=thread.summary_id,
        previous_content=thread.content or "",
        previous_sections=thread.sections,
        history_starts_after=thread.history_starts_after,
        from_seq=thread.from_seq or thread.history_starts_after + 1,
        to_seq=after_seq,
        covered_messages=(),
        after_seq=after_seq,
    )
    shared_draft = shared_summaries.complete(connection, draft, lineage, before_seq=low_seq)
    if shared_draft is not None:
        return shared_draft
    to_seq = find_step_end(connection, lineage, after_seq=after_seq, low_seq=low_seq)
    if to_seq is None:
        return None
    covered_messages = _load_covered(connection, lineage, after_seq=after_seq, to_seq=to_seq)
    return replace(draft, to_seq=to_seq, covered_messages=covered_messages)


def _load_thread(connection: Connection, tenant: str, thread_id: str) -> AnyRow:
    """Load a thread with its summary, and the seq of the first message of an unfinished turn."""
    unfinished_seq = (
        select(func.min(messages.c.seq))
        .join(turns, messages.c.turn_id == turns.c.id)
        .where(turns.c.thread_key == threads.c.key, messages.c.thread_key == threads.c.key, unfinished)
        .correlate(threads)
        .scalar_subquery()
    )
    row: AnyRow | None = connection.execute(
        select(
            threads.c.key,
            threads.c.lineage,
            threads.c.owner,
            threads.c.last_seq,
            threads.c.history_starts_after,
            threads.c.summary_id,
            threads.c.summary_version,
            threads.c.window_tokens,
            unfinished_seq.label("unfinished_seq"),
            *(summaries.c[name] for name in ("from_seq", "to_seq", "content", "sections")),
        )
        .outerjoin(summaries, and_(summaries.c.thread_key == threads.c.key, summaries.c.id == threads.c.summary_id))
        .where(is_row_of(tenant, thread_id))
    ).one_or_none()
    if row is None:
        raise ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {tenant!r}")
    return row


def _load_covered(connection: Connection, lineage: Lineage, *, after_seq: int, to_seq: int) -> tuple[Message, ...]:
    statement = message_rows.history_rows(lineage, after_seq=after_seq, to_seq=to_seq)
    return message_rows.load(connection, lineage, connection.execute(statement))


def put(connection: Connection, draft: Draft, new: NewSummary) -> Summary | None:
    """Store a thread's next summary; None if another one came first, or the thread is gone."""
    thread = connection.execute(
        select(threads.c.summary_version, threads.c.summary_id, threads.c.history_starts_after, threads.c.lineage)
        .where(threads.c.key == draft.thread_key)
        .with_for_update(key_share=True)
    ).one_or_none()
    if thread is None or tuple(thread)[:3] != (draft.version, draft.previous_id, draft.history_starts_after):
        return None
    values = _values(draft, new)
    thread_update = (
        update(threads)
        .where(threads.c.key == draft.thread_key)
        .values(
            summary_id=values["id"],
            summary_version=threads.c.summary_version + 1,
            summary_failures=0,
            # A policy that keeps summaries can now take more.
            retention_checked_at=None,
            # Not counted again: a long history is covered in many steps, and each would read the remainder.
            **_count_uncovered(draft, Lineage.build(draft.thread_key, thread.lineage)),
        )
    )
    summary_insert = summaries.insert().values(**values, created_at=clock()).returning(summaries)
    stored_summary = connection.execute(summary_insert).one()
    connection.execute(thread_update)
    return _summary(stored_summary, current_id=values["id"])


def _count_uncovered(draft: Draft, lineage: Lineage) -> dict[str, Any]:
    if lineage.shared_to_seq > draft.to_seq:
        # What a branch began with may be counted by its share of the messages: from now on it is exact.
        return dict(recount(lineage, after_seq=draft.to_seq))
    return dict(subtract_covered(lineage, after_seq=draft.after_seq, to_seq=draft.to_seq))


def _values(draft: Draft, new: NewSummary) -> dict[str, Any]:
    values = {name: getattr(draft, name) for name in ("thread_key", "from_seq", "to_seq", "previous_id")}
    new_names = ("content", "sections", "model", "prompt_version", "cost", "report")
    values |= {name: getattr(new, name) for name in new_names}
    return values | {"id": new_id(), "usage": new.usage.to_row()}


@read_only
def list_summaries(
    connection: Connection, tenant: str, thread_id: str, *, user: str | None = None, limit: int | None = None
) -> list[Summary]:
    """List the summaries of a thread, withdrawn ones among them, the newest first; with `user`, of this user's.

    All of them, or the newest up to a limit. Raises `ThreadNotFound`.
    """
    thread = _load_thread(connection, tenant, thread_id)
    if user not in (None, thread.owner):
        raise ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {tenant!r}")
    rows = connection.execute(
        select(summaries)
        .where(summaries.c.thread_key == thread.key)
        .order_by(summaries.c.created_at.desc(), summaries.c.id.desc())
        .limit(limit)
    )
    return [_summary(row, current_id=thread.summary_id) for row in rows]


def restore(connection: Connection, tenant: str, thread_id: str) -> Summary | None:
    """Withdraw the thread's summary: models read the one before it again, or the messages themselves.

    Returns the summary that was withdrawn; None if the thread had none. Raises `ThreadNotFound`,
    and `InvalidInput` where retention deleted messages that would have to come back.
    """
    key = _load_thread(connection, tenant, thread_id).key
    connection.execute(select(threads.c.key).where(threads.c.key == key).with_for_update(key_share=True))
    # Again, now that nothing of it can change.
    thread = _load_thread(connection, tenant, thread_id)
    current_summary = _load_summary(connection, key, thread.summary_id)
    if current_summary is None:
        return None
    previous = _load_summary(connection, key, current_summary.previous_id)
    previous_to_seq = previous.to_seq if previous is not None else 0
    _check_messages_remain(thread, thread_id, current_summary, previous_to_seq)
    connection.execute(update(summaries).where(is_summary_of(key, current_summary.id)).values(restored_at=clock()))
    connection.execute(
        update(threads)
        .where(threads.c.key == key)
        .values(
            summary_id=previous.id if previous is not None else None,
            summary_version=threads.c.summary_version + 1,
            summary_failures=0,
            summary_retry_at=clock(plus_seconds=RESTORE_PAUSE_SECONDS),
            **recount(Lineage.of(thread), after_seq=max(previous_to_seq, thread.history_starts_after)),
        )
    )
    return _summary(current_summary, current_id=None)


def _load_summary(connection: Connection, key: int, summary_id: str | None) -> AnyRow | None:
    statement = select(summaries).where(is_summary_of(key, summary_id))
    return connection.execute(statement).one_or_none()


def _check_messages_remain(thread: AnyRow, thread_id: str, current_summary: AnyRow, previous_to_seq: int) -> None:
    """Check that retention has deleted no message that only this summary tells of."""
    cutoff = thread.history_starts_after
    if current_summary.from_seq <= cutoff and cutoff > previous_to_seq:
        raise InvalidInput(
            "thread_id",
            f"retention deleted the messages of {thread_id!r} up to seq {cutoff} "
            f"(threads.history_starts_after), "
            f"and only its summary up to seq {current_summary.to_seq} tells of them",
            "keep the summary",
        )


def _summary(row: AnyRow, *, current_id: str | None) -> Summary:
    usage = Usage(**row.usage) if row.usage else None
    return convert_row(row, Summary, usage=usage, is_current=row.id == current_id)
