"""The archives of a subject: what retention archived of its threads, also of deleted ones.

What stays true: a thread's parts go together, whichever of them names the subject; as long as the
thread is under legal hold, none goes, whichever user has it by now. A part is marked before its object
is deleted, and from then on it is not restored.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, false, func, select, true, union, update

from conversation.errors import ThreadUnderLegalHold
from store.database.statements import AnyRow
from store.erasure.subject import Subject
from store.history.row_ids import thread_id_of
from store.retention.deletion import add_erased_counts
from store.tables import threads
from store.tables.retention import archives, erasure_items

#: Parts of one page.
PAGE = 100


def names_subject(subject: Subject, part: FromClause = archives) -> ColumnElement[bool]:
    """The condition for parts that name the subject, by its hash."""
    return true() if subject.whole_tenant else part.c[f"{subject.kind}_sha256"] == subject.sha256


def thread_keys_naming(subject: Subject) -> Select[Any]:
    """The keys of threads of which a part names the subject. They may be gone, or another user's by now."""
    part = archives.alias("part")
    return select(part.c.thread_key).where(part.c.tenant == subject.tenant, names_subject(subject, part))


def parts_of(*keys: Select[Any]) -> Select[Any]:
    """The keys of the parts of these threads: an index finds them, however many others there are."""
    return select(archives.c.key).where(archives.c.thread_key.in_(union(*keys)))


def load_archives(connection: Connection, erasure_id: str, subject: Subject) -> list[AnyRow]:
    """Load a page of the archives that belong to this erasure."""
    return list(connection.execute(archive_rows(erasure_id, subject).limit(PAGE)))


def archive_rows(erasure_id: str, subject: Subject) -> Select[Any]:
    """The statement for archives of an erasure, in any state: an unfinished one may have its object.

    All parts of a thread go if one of them names the user. That part goes last: it leads to the others.
    """
    items = erasure_items.c
    of_erasure = select(items.sha256).where(items.erasure_id == erasure_id, items.kind == "thread")
    of_tenant = archives.c.tenant == subject.tenant
    if subject.whole_tenant:
        return select(archives).where(of_tenant).order_by(archives.c.key)
    erased_parts = select(archives.c.key).where(of_tenant, archives.c.thread_sha256.in_(of_erasure))
    # As one set of keys: for the one or the other, PostgreSQL would read all archives that there are.
    statement = select(archives).where(archives.c.key.in_(union(erased_parts, parts_of(thread_keys_naming(subject)))))
    return statement.order_by(func.coalesce(names_subject(subject), false()), archives.c.key)


def mark_archive(connection: Connection, erasure_id: str, row: AnyRow) -> None:
    """Mark a part, so that it is not restored. Raises `ThreadUnderLegalHold`."""
    query = select(threads.c.id, threads.c.legal_hold).where(threads.c.key == row.thread_key)
    # A hold and this wait for each other: a hold that was confirmed never loses its part.
    thread = connection.execute(query.with_for_update(read=True)).one_or_none()
    if thread is not None and thread.legal_hold:
        raise ThreadUnderLegalHold([thread_id_of(thread.id)])
    part = (archives.c.key == row.key) & (archives.c.state != "discarded")
    # Counted here: from now on retention may be the one that removes it.
    if connection.execute(update(archives).where(part).values(state="discarded")).rowcount:
        add_erased_counts(connection, erasure_id, {"archives": 1, "archived_messages": row.messages})
