"""The archives of a subject: what retention put aside of its threads, also of those that are gone.

What stays true: a thread's parts go together, whichever of them names the subject.
"""

from sqlalchemy import ColumnElement, FromClause, select, true

from store.erasure.subject import Subject
from store.retention_tables import archives


def names(subject: Subject, part: FromClause = archives) -> ColumnElement[bool]:
    """A part that names it, by its hash."""
    return true() if subject.everything else part.c[f"{subject.kind}_sha256"] == subject.sha256


def is_of_same_thread(subject: Subject) -> ColumnElement[bool]:
    """A part of a thread of which one part names it."""
    part = archives.alias("part")
    naming = select(part.c.thread_key).where(part.c.tenant == subject.tenant, names(subject, part))
    return archives.c.thread_key.in_(naming)
