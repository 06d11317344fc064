"""Summaries: what stands for the older part of a thread in front of a model.

What stays true: a summary covers messages and replaces none; it ends where a turn ends; each one
says all that the one before said, so dropping it brings back the messages, not a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from conversation.ids import new_id
from conversation.message import Message, Usage
from store import messages as message_rows
from store.columns import clock
from store.tables import messages, summaries, threads

#: Messages of one summary, at most: a longer history is covered in several steps.
COVERED_AT_ONCE = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """A thread with so much that no summary covers that it should be summarized."""

    tenant: str
    thread_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the next summary of a thread has to cover."""

    thread_key: int
    #: The newest summary now: the next one is only put in its place if that is still so.
    previous_id: str | None
    previous: str
    #: The cut now: what was cut meanwhile must not live on in a summary.
    retention_cut: int
    from_seq: int
    to_seq: int
    covered: tuple[Message, ...]


def overdue(connection: Connection, *, after_messages: int, limit: int) -> Sequence[Overdue]:
    """Threads with more uncovered messages than that, the fullest first."""
    statement = (
        select(threads.c.tenant, threads.c.id)
        .where(threads.c.uncovered_messages > after_messages)
        .order_by(threads.c.uncovered_messages.desc(), threads.c.key)
        .limit(limit)
    )
    return [Overdue(tenant=row.tenant, thread_id=row.id) for row in connection.execute(statement)]


def draft(connection: Connection, tenant: str, thread_id: str, *, keep_messages: int) -> Draft | None:
    """The messages to cover next, all but the newest `keep_messages`; None where there is no whole turn."""
    thread = connection.execute(
        select(threads.c.key, threads.c.last_seq, threads.c.summary_id, threads.c.retention_cut).where(
            threads.c.tenant == tenant, threads.c.id == thread_id
        )
    ).one_or_none()
    if thread is None:
        return None
    previous = connection.execute(select(summaries).where(summaries.c.id == thread.summary_id)).one_or_none()
    after_seq = max(thread.retention_cut, previous.to_seq if previous is not None else 0)
    newest = min(thread.last_seq - keep_messages, after_seq + COVERED_AT_ONCE)
    # A user's message begins a turn: what stands before it is whole.
    boundary = connection.execute(
        select(func.max(messages.c.seq)).where(
            messages.c.thread_key == thread.key,
            messages.c.role == "user",
            messages.c.seq > after_seq + 1,
            messages.c.seq <= newest + 1,
        )
    ).scalar_one()
    if boundary is None:
        return None
    rows = connection.execute(
        message_rows.history_rows(thread.key, after_seq=after_seq, to_seq=boundary - 1).order_by(
            messages.c.seq
        )
    )
    return Draft(
        thread_key=thread.key,
        previous_id=thread.summary_id,
        previous=previous.content if previous is not None else "",
        retention_cut=thread.retention_cut,
        from_seq=previous.from_seq if previous is not None else thread.retention_cut + 1,
        to_seq=boundary - 1,
        covered=message_rows.load(connection, thread.key, rows),
    )


def put(connection: Connection, draft: Draft, content: str, *, model: str, usage: Usage) -> bool:
    """Make this the thread's summary; False if another one, or a cut, came first."""
    current = connection.execute(
        select(threads.c.summary_id, threads.c.retention_cut)
        .where(threads.c.key == draft.thread_key)
        .with_for_update(key_share=True)
    ).one_or_none()
    if current is None or tuple(current) != (draft.previous_id, draft.retention_cut):
        return False
    summary_id = new_id()
    connection.execute(
        summaries.insert().values(
            id=summary_id,
            thread_key=draft.thread_key,
            from_seq=draft.from_seq,
            to_seq=draft.to_seq,
            content=content,
            model=model,
            usage=usage.to_json(),
            created_at=clock(),
        )
    )
    connection.execute(
        update(threads)
        .where(threads.c.key == draft.thread_key)
        .values(
            summary_id=summary_id,
            uncovered_messages=threads.c.last_seq - draft.to_seq,
            # A policy that keeps summaries can now take more.
            retention_seen_at=None,
        )
    )
    return True


def drop(connection: Connection, tenant: str, thread_id: str) -> bool:
    """Show models the messages again; the summary's row stays. False if the thread had none."""
    done = connection.execute(
        update(threads)
        .where(threads.c.tenant == tenant, threads.c.id == thread_id, threads.c.summary_id.is_not(None))
        .values(summary_id=None, uncovered_messages=threads.c.last_seq - threads.c.retention_cut)
    )
    return done.rowcount == 1
