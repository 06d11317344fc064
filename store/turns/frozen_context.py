"""The system texts that a turn's window was frozen with: the thread's context, then its summary."""

from sqlalchemy import Connection, select

from conversation.untrusted_text import delimit
from store.database.statements import AnyRow
from store.tables import summaries, thread_context


def load_summary(connection: Connection, summary_id: str | None) -> AnyRow | None:
    """The summary that a window was frozen with. No statement where there is none."""
    if summary_id is None:
        return None
    statement = select(summaries.c.content, summaries.c.to_seq).where(summaries.c.id == summary_id)
    row: AnyRow | None = connection.execute(statement).one_or_none()
    return row


def load_context(
    connection: Connection, thread_key: int, context_version: int | None, summary: AnyRow | None
) -> tuple[str, ...]:
    """The texts that hold for the whole thread. No statement where it has no context."""
    return (*_load_thread_context(connection, thread_key, context_version), *_summary_texts(summary))


def _load_thread_context(connection: Connection, thread_key: int, context_version: int | None) -> tuple[str, ...]:
    if not context_version:
        return ()
    statement = (
        select(thread_context.c.content).where(thread_context.c.thread_key == thread_key).order_by(thread_context.c.key)
    )
    return tuple(connection.execute(statement).scalars())


def _summary_texts(summary: AnyRow | None) -> tuple[str, ...]:
    """The summary, delimited: it holds users' words, which in a system text would read like instructions."""
    return () if summary is None else (delimit("Summary of the conversation before", summary.content),)
