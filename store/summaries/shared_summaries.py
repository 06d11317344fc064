"""Summaries of what a branch shares: one that another branch has serves it as well.

What stays true: it covers nothing but messages of the branch's own history, all from where the branch's summary begins;
no model is asked for it again, and none is paid twice.
"""

from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, and_, not_, or_, select

from conversation.summary import Draft, NewSummary
from store.history.visibility import is_hidden_summary
from store.lineage import Lineage, Part
from store.tables import summaries


def complete(connection: Connection, draft: Draft, lineage: Lineage, *, before_seq: int) -> Draft | None:
    """Complete a draft with the summary that covers most of what it is to cover; None where nobody has one.

    It ends before `before_seq`. One statement, and none for a history that is not shared.
    """
    shared_parts = lineage.parts[:-1]
    if not shared_parts:
        return None
    covers_more = (
        summaries.c.restored_at.is_(None)
        & (summaries.c.from_seq <= draft.from_seq)
        & (summaries.c.to_seq > draft.after_seq)
        & (summaries.c.to_seq < before_seq)
    )
    statement = select(summaries).where(covers_more, or_(*map(_is_within, shared_parts)))
    row = connection.execute(statement.order_by(summaries.c.to_seq.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    # Paid for by the branch that had it written.
    shared = NewSummary(
        content=row.content,
        sections=row.sections,
        model=row.model,
        prompt_version=row.prompt_version,
        report=row.report,
    )
    return replace(draft, from_seq=row.from_seq, to_seq=row.to_seq, shared=shared)


def _is_within(part: Part) -> ColumnElement[bool]:
    """The condition for summaries of a row that cover nothing behind its part of the history."""
    is_within = and_(summaries.c.thread_key == part.thread_key, summaries.c.to_seq <= part.to_seq)
    return is_within & not_(is_hidden_summary(part.thread_key))
