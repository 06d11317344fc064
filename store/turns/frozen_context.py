"""The system texts that a turn's window was frozen with: the thread's context, then its summary."""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from conversation.untrusted_text import delimit
from store.database.statements import AnyRow
from store.history.visibility import is_summary_of
from store.tables import summaries, thread_context


def load_summary(connection: Connection, thread_key: int, summary_id: str | None) -> AnyRow | None:
    """The summary that a window was frozen with. No statement where there is none. Raises `NoResultFound`."""
    if summary_id is None:
        return None
    statement = select(summaries.c.content, summaries.c.to_seq).where(is_summary_of(thread_key, summary_id))
    row: AnyRow = connection.execute(statement).one()
    return row


def load_context(
    connection: Connection, thread_key: int, context_version: int | None, summary: AnyRow | None
) -> tuple[str, ...]:
    """The texts that hold for the whole thread. No statement where it has no context."""
    contents: list[str] = []
    if context_version:
        of_thread = select(thread_context.c.content).where(thread_context.c.thread_key == thread_key)
        contents.extend(connection.execute(of_thread.order_by(thread_context.c.key)).scalars())
    return context_texts(contents, None if summary is None else summary.content)


def context_texts(contents: Iterable[str], summary: str | None) -> tuple[str, ...]:
    """The texts before a window: those of the thread's context, then its summary, if there is one."""
    if summary is None:
        return tuple(contents)
    # Delimited: it holds users' words, which in a system text would read like instructions.
    return (*contents, delimit("Summary of the conversation before", summary))
