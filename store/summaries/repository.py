"""Summaries as rows: what the next one has to cover, putting it in its place, taking it back.

What stays true: a summary is put in place of the one that its draft was made from, or not at all, also
where that one was replaced and came back meanwhile; no lease is needed for that and no model is asked
meanwhile, so a turn never waits for more than a row. What is covered are turns that are over, messages
are only read, and a message that arrives meanwhile stands behind the cover. Every row stays: a turn
that goes on reads the summary that it began with.
"""

from typing import Any

from sqlalchemy import Connection, func, select, update

from conversation.errors import InvalidInput, ThreadNotFound
from conversation.ids import new_id
from conversation.message import Message, Usage
from conversation.summary import Draft, NewSummary, Summary
from conversation.water_marks import WaterMarks
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.history import message_rows
from store.history.counters import less_covered, recounted
from store.summaries.next_range import cover_to
from store.tables import messages, summaries, threads, turns
from store.tables.turns import unfinished

#: Seconds after a restore in which no summary is begun by itself: somebody wanted to see the messages.
RESTORED_SECONDS = 86_400.0


def draft(connection: Connection, tenant: str, thread_id: str, *, marks: WaterMarks) -> Draft | None:
    """What to cover next, on the way down to the low mark; None where there is no whole turn above it.

    Raises `ThreadNotFound`.
    """
    thread = _thread(connection, tenant, thread_id)
    after_seq = max(thread.retention_cut, thread.to_seq or 0)
    to_seq = cover_to(
        connection,
        thread.key,
        after_seq=after_seq,
        last_seq=thread.last_seq,
        # What a turn that is not over has begun to say is not covered.
        unfinished_seq=thread.unfinished_seq,
        marks=marks,
    )
    if to_seq is None:
        return None
    return Draft(
        thread_key=thread.key,
        version=thread.summary_version,
        previous_id=thread.summary_id,
        previous=thread.content or "",
        previous_sections=thread.sections,
        retention_cut=thread.retention_cut,
        from_seq=thread.from_seq or thread.retention_cut + 1,
        to_seq=to_seq,
        covered=_covered(connection, thread.key, after_seq=after_seq, to_seq=to_seq),
        after_seq=after_seq,
    )


def _thread(connection: Connection, tenant: str, thread_id: str) -> AnyRow:
    """The thread with its summary, and the first message of a turn that is not over."""
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
            threads.c.last_seq,
            threads.c.retention_cut,
            threads.c.summary_id,
            threads.c.summary_version,
            unfinished_seq.label("unfinished_seq"),
            *(summaries.c[name] for name in ("from_seq", "to_seq", "content", "sections")),
        )
        .outerjoin(summaries, summaries.c.id == threads.c.summary_id)
        .where(threads.c.tenant == tenant, threads.c.id == thread_id)
    ).one_or_none()
    if row is None:
        raise ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {tenant!r}")
    return row


def _covered(connection: Connection, key: int, *, after_seq: int, to_seq: int) -> tuple[Message, ...]:
    statement = message_rows.history_rows(key, after_seq=after_seq, to_seq=to_seq).order_by(messages.c.seq)
    return message_rows.load(connection, key, connection.execute(statement))


def put(connection: Connection, draft: Draft, new: NewSummary) -> Summary | None:
    """Make this the thread's summary; None if another one came first, or the thread is gone."""
    current = connection.execute(
        select(threads.c.summary_version, threads.c.summary_id, threads.c.retention_cut)
        .where(threads.c.key == draft.thread_key)
        .with_for_update(key_share=True)
    ).one_or_none()
    if current is None or tuple(current) != (draft.version, draft.previous_id, draft.retention_cut):
        return None
    values = _values(draft, new)
    in_its_place = (
        update(threads)
        .where(threads.c.key == draft.thread_key)
        .values(
            summary_id=values["id"],
            summary_version=threads.c.summary_version + 1,
            summary_failures=0,
            # A policy that keeps summaries can now take more.
            retention_seen_at=None,
            # Not counted again: a long history is covered in many steps, and each would read all the rest.
            **less_covered(draft.thread_key, after_seq=draft.after_seq, to_seq=draft.to_seq),
        )
    )
    stored = summaries.insert().values(**values, created_at=clock()).returning(summaries)
    connection.execute(in_its_place)
    return _summary(connection.execute(stored).one(), current=values["id"])


def _values(draft: Draft, new: NewSummary) -> dict[str, Any]:
    return {
        "id": new_id(),
        "thread_key": draft.thread_key,
        "from_seq": draft.from_seq,
        "to_seq": draft.to_seq,
        "content": new.content,
        "sections": new.sections,
        "model": new.model,
        "prompt_version": new.prompt_version,
        "usage": new.usage.to_json(),
        "cost": new.cost,
        "report": new.report,
        "previous_id": draft.previous_id,
    }


def list_of(connection: Connection, tenant: str, thread_id: str) -> list[Summary]:
    """All summaries of a thread, those that were taken back among them, the newest first.

    Raises `ThreadNotFound`.
    """
    thread = _thread(connection, tenant, thread_id)
    rows = connection.execute(
        select(summaries)
        .where(summaries.c.thread_key == thread.key)
        .order_by(summaries.c.created_at.desc(), summaries.c.id.desc())
    )
    return [_summary(row, current=thread.summary_id) for row in rows]


def restore(connection: Connection, tenant: str, thread_id: str) -> Summary | None:
    """Take the thread's summary back: models read the one before it again, or the messages themselves.

    Returns the summary that was taken back; None if the thread had none. Raises `ThreadNotFound`,
    and `InvalidInput` where retention deleted messages that would have to come back.
    """
    key = _thread(connection, tenant, thread_id).key
    lock = select(threads.c.key).where(threads.c.key == key).with_for_update(key_share=True)
    connection.execute(lock)
    thread = _thread(connection, tenant, thread_id)
    of_thread = summaries.c.thread_key == key
    current = connection.execute(
        select(summaries).where(of_thread, summaries.c.id == thread.summary_id)
    ).one_or_none()
    if current is None:
        return None
    before = connection.execute(
        select(summaries.c.id, summaries.c.to_seq).where(of_thread, summaries.c.id == current.previous_id)
    ).one_or_none()
    behind = before.to_seq if before is not None else 0
    if current.from_seq <= thread.retention_cut and thread.retention_cut > behind:
        raise InvalidInput(
            "thread_id",
            f"retention deleted the messages of {thread_id!r} up to seq {thread.retention_cut} "
            f"(threads.retention_cut), and only its summary up to seq {current.to_seq} tells of them",
            "keep the summary",
        )
    connection.execute(update(summaries).where(summaries.c.id == current.id).values(restored_at=clock()))
    connection.execute(
        update(threads)
        .where(threads.c.key == key)
        .values(
            summary_id=before.id if before is not None else None,
            summary_version=threads.c.summary_version + 1,
            summary_failures=0,
            summary_retry_at=clock(plus_seconds=RESTORED_SECONDS),
            **recounted(key, behind=max(behind, thread.retention_cut)),
        )
    )
    return _summary(current, current=None)


def _summary(row: AnyRow, *, current: str | None) -> Summary:
    return Summary(
        id=row.id,
        from_seq=row.from_seq,
        to_seq=row.to_seq,
        content=row.content,
        model=row.model,
        prompt_version=row.prompt_version,
        usage=Usage(**row.usage) if row.usage else None,
        cost=row.cost,
        report=row.report,
        previous_id=row.previous_id,
        created_at=row.created_at,
        restored_at=row.restored_at,
        is_current=row.id == current,
    )
