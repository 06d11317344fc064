"""The archives of a subject: what retention put aside of its threads, also of those that are gone.

What stays true: a thread's parts go together, whichever of them names the subject; as long as the
thread is under legal hold, none goes, whoever it belongs to by now. A part is marked before its object
is deleted, and from then on nobody restores it.
"""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    delete,
    false,
    func,
    select,
    true,
    union,
    update,
)

from conversation.errors import ThreadHeld
from store.database.statements import AnyRow
from store.erasure.subject import Subject
from store.retention.deletion import count_erased
from store.tables import threads
from store.tables.retention import archives, erasure_items

#: Parts of one page.
PAGE = 100


def names(subject: Subject, part: FromClause = archives) -> ColumnElement[bool]:
    """A part that names it, by its hash."""
    return true() if subject.everything else part.c[f"{subject.kind}_sha256"] == subject.sha256


def named_threads(subject: Subject) -> Select[Any]:
    """The keys of threads of which one part names it. They may be gone, or somebody else's by now."""
    part = archives.alias("part")
    return select(part.c.thread_key).where(part.c.tenant == subject.tenant, names(subject, part))


def parts_of(*keys: Select[Any]) -> Select[Any]:
    """The keys of the parts of these threads: an index finds them, however many others there are."""
    return select(archives.c.key).where(archives.c.thread_key.in_(union(*keys)))


def archives_of(connection: Connection, erasure_id: str, subject: Subject) -> list[AnyRow]:
    """Archives of the user, or of a thread that this erasure is about."""
    return list(connection.execute(archive_rows(erasure_id, subject).limit(PAGE)))


def archive_rows(erasure_id: str, subject: Subject) -> Select[Any]:
    """The rows of those archives, in any state: one that was begun may have its object.

    All parts of a thread go if one of them names the user. That one goes last: the others are found by it.
    """
    items = erasure_items.c
    of_erasure = select(items.sha256).where(items.erasure_id == erasure_id, items.kind == "thread")
    of_tenant = archives.c.tenant == subject.tenant
    if subject.everything:
        return select(archives).where(of_tenant).order_by(archives.c.key)
    erased = select(archives.c.key).where(of_tenant, archives.c.thread_sha256.in_(of_erasure))
    # As one set of keys: for the one or the other, PostgreSQL would read all archives that there are.
    mine = select(archives).where(archives.c.key.in_(union(erased, parts_of(named_threads(subject)))))
    return mine.order_by(func.coalesce(names(subject), false()), archives.c.key)


def mark_archive(connection: Connection, erasure_id: str, row: AnyRow) -> None:
    """From now on nobody restores this part. Raises `ThreadHeld` if its thread is under legal hold."""
    of_part = select(threads.c.id, threads.c.legal_hold).where(threads.c.key == row.thread_key)
    # A hold waits for this, or this for a hold: nobody is told of one, and loses the part all the same.
    thread = connection.execute(of_part.with_for_update(read=True)).one_or_none()
    if thread is not None and thread.legal_hold:
        raise ThreadHeld([thread.id])
    part = (archives.c.key == row.key) & (archives.c.state != "discarded")
    # Counted here: from now on retention may be the one that removes it.
    if connection.execute(update(archives).where(part).values(state="discarded")).rowcount:
        count_erased(connection, erasure_id, {"archives": 1, "archived_messages": row.messages})


def remove_archive(connection: Connection, row: AnyRow) -> None:
    """Delete the row of a part whose object is gone."""
    connection.execute(delete(archives).where(archives.c.key == row.key))
