"""The steps of an erasure, each a short transaction that can be run again.

What stays true: counts are written by the transaction that removed what they count; a step that finds
nothing to do changes nothing.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    delete,
    exists,
    select,
    tuple_,
    union,
    update,
)

from conversation.errors import ThreadHeld
from conversation.ids import new_id
from store.audit import forget_hashes, forget_name, hash_of
from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.erasure.archives import named_threads, names
from store.erasure.subject import Subject, rows_of
from store.files import garbage_collection
from store.retention import deletion, legal_holds
from store.retention.deletion import count_erased
from store.tables import blobs, renditions, threads, turns, uploads
from store.tables.retention import (
    archives,
    dropped_files,
    erasure_items,
    erasures,
    retention_cuts,
    retention_policies,
)
from store.tables.turns import unfinished

#: Threads or files of one page.
PAGE = 100
#: Ids that an error names, at most.
NAMED = 20


def begin(connection: Connection, subject: Subject) -> str:
    """The id of the erasure that is under way for this subject: a new one, or one that broke off.

    Raises `ThreadHeld` if one of its threads is under legal hold; then none is begun.
    """
    subject.check()
    found = connection.execute(_under_way(subject)).scalar_one_or_none()
    if found is not None:
        return str(found)
    check_not_held(connection, subject)
    entry = insert_for(connection, erasures).values(
        id=new_id(),
        tenant=subject.tenant,
        subject=subject.kind,
        subject_sha256=subject.sha256,
        counts={},
        requested_at=clock(),
        named=subject.name,
        user_key=subject.user_key,
        worked_at=clock(),
    )
    connection.execute(entry.on_conflict_do_nothing())
    return str(connection.execute(_under_way(subject)).scalar_one())


def check_not_held(connection: Connection, subject: Subject) -> None:
    """Raise `ThreadHeld`, with the first of them, if threads of the subject are under legal hold.

    So is a thread that has become somebody else's, and of which an archive names the subject: that
    would go with all its parts.
    """
    keys = rows_of(connection, subject)
    theirs = keys if subject.everything else union(keys, named_threads(subject))
    held = select(threads.c.id).where(threads.c.legal_hold, threads.c.key.in_(theirs))
    found = connection.execute(held.order_by(threads.c.key).limit(NAMED)).scalars().all()
    if found:
        raise ThreadHeld(found)


def fence_off(connection: Connection, erasure_id: str, subject: Subject, key: int) -> bool:
    """From now on nobody works on this thread, and nobody reads it; False if it is gone.

    Its turns are cancelled, its token is raised: a worker that still runs commits nothing. Raises
    `ThreadHeld`.
    """
    # Also one that has become somebody else's since: it was asked for, and nobody reads it any more.
    fenced = select(retention_cuts.c.thread_key).where(retention_cuts.c.erasure_id == erasure_id)
    wanted = threads.c.key.in_(rows_of(connection, subject)) | threads.c.key.in_(fenced)
    mine = (threads.c.key == key) & wanted
    thread = connection.execute(select(threads).where(mine).with_for_update(key_share=True)).one_or_none()
    if thread is None:
        return False
    if thread.legal_hold:
        raise ThreadHeld([thread.id])
    _fence(connection, thread)
    entry = insert_for(connection, retention_cuts).values(
        thread_key=key,
        cut_before=thread.retention_cut,
        deleted_to=0,
        whole=True,
        keep_summary=False,
        archive=False,
        policy={"field": "erasure"},
        summary_id=thread.summary_id,
        erasure_id=erasure_id,
        created_at=clock(),
    )
    # One that retention began is this erasure's now, and goes whole.
    theirs = {"whole": True, "keep_summary": False, "erasure_id": erasure_id}
    connection.execute(entry.on_conflict_do_update(index_elements=["thread_key"], set_=theirs))
    _remember(connection, erasure_id, "thread", [hash_of(thread.tenant, thread.id)])
    return True


def _fence(connection: Connection, thread: AnyRow) -> None:
    """Cancel its turns, raise its token, and hide all of it."""
    connection.execute(
        update(turns)
        .where(turns.c.thread_key == thread.key, unfinished)
        .values(state="cancelled", finished_at=clock(), retry_at=None)
    )
    connection.execute(
        update(threads)
        .where(threads.c.key == thread.key)
        .values(
            owner=None,
            fence=threads.c.fence + 1,
            retention_cut=thread.last_seq,
            summary_id=None,
            uncovered_messages=0,
            uncovered_tokens=0,
        )
    )


def fenced_off(connection: Connection, erasure_id: str, after: int) -> list[int]:
    """The keys of threads that this erasure fenced off and that are still there, ascending, page by page."""
    key = retention_cuts.c.thread_key
    page = select(key).where(retention_cuts.c.erasure_id == erasure_id, key > after)
    return list(connection.execute(page.order_by(key).limit(PAGE)).scalars())


def give_back(connection: Connection, erasure_id: str, key: int) -> None:
    """Have a thread read again that was fenced off, as far as it is stored. Its turns stay cancelled."""
    mine = select(retention_cuts.c.thread_key).where(retention_cuts.c.erasure_id == erasure_id)
    locked = select(threads).where(threads.c.key == key, threads.c.key.in_(mine))
    thread = connection.execute(locked.with_for_update(of=threads, key_share=True)).one_or_none()
    if thread is not None:
        legal_holds.take_back(connection, thread)


def end_thread(connection: Connection, erasure_id: str, tenant: str, key: int) -> None:
    """Delete the row of a thread of which nothing is left, and its id wherever it stands."""
    named = select(threads.c.id).where(threads.c.key == key)
    thread_id = connection.execute(named).scalar_one_or_none()
    removed = deletion.remove_thread(connection, key, erasure_id=erasure_id)
    if removed is not None and thread_id is not None:
        forget_policy(connection, erasure_id, tenant, thread_id)


def forget_policy(connection: Connection, erasure_id: str, tenant: str, thread_id: str) -> None:
    """Delete the policy of a thread's own, which names it; and its id in the audit."""
    forget_name(connection, tenant, thread_id)
    own = retention_policies.c
    policies = delete(retention_policies).where(own.tenant == tenant, own.thread_id == thread_id)
    gone = connection.execute(policies).rowcount
    if gone:
        count_erased(connection, erasure_id, {"policies": gone})


def forget_files(connection: Connection, erasure_id: str, tenant: str) -> None:
    """Where the audit names a file that this erasure deleted, let it name none."""
    items = erasure_items.c
    there = exists().where(blobs.c.tenant == tenant, blobs.c.sha256 == items.sha256)
    gone = select(items.sha256).where(items.erasure_id == erasure_id, items.kind == "blob", ~there)
    forget_hashes(connection, tenant, gone)


def is_stored(connection: Connection, subject: Subject) -> bool:
    """Whether there is anything to erase, or an erasure that broke off."""
    archived = exists().where(archives.c.tenant == subject.tenant, names(subject))
    dropped = exists().where(dropped_files.c.tenant == subject.tenant, names(subject, dropped_files))
    there = rows_of(connection, subject).exists() | _under_way(subject).exists() | archived | dropped
    return bool(connection.execute(select(there)).scalar_one())


def files_left(connection: Connection, erasure_id: str) -> list[str]:
    """Hashes of files that hung on what was erased, and were not looked at yet."""
    items = erasure_items.c
    todo = select(items.sha256).where(items.erasure_id == erasure_id, items.kind == "blob", ~items.done)
    return list(connection.execute(todo.order_by(items.sha256).limit(PAGE)).scalars())


def mark_file(connection: Connection, erasure_id: str, subject: Subject, sha256: str) -> None:
    """Have a blob deleted, and what was made out of it, unless somebody else has it."""
    made = garbage_collection.mark_now(connection, (subject.tenant, sha256))
    # Also what was looked at before: until now this blob kept it.
    _remember(connection, erasure_id, "blob", sorted(made), looks_again=True)


def remove_file(
    connection: Connection, erasure_id: str, subject: Subject, sha256: str, delete_object: Any
) -> None:
    """Delete a blob that is marked, with its text and its bytes."""
    address = (subject.tenant, sha256)
    size = connection.execute(
        select(blobs.c.size).where(blobs.c.tenant == subject.tenant, blobs.c.sha256 == sha256)
    ).scalar_one_or_none()
    # Whoever has its row at the moment is waited for: the certificate says that it is gone.
    if garbage_collection.delete_marked(connection, address, delete_object, waits=True):
        _forget_uploads(connection, erasure_id, address)
        count_erased(connection, erasure_id, {"blobs": 1, "blob_bytes": size or 0})
    items = erasure_items.c
    of_item = (items.erasure_id == erasure_id) & (items.kind == "blob") & (items.sha256 == sha256)
    connection.execute(update(erasure_items).where(of_item).values(done=True))


def _forget_uploads(connection: Connection, erasure_id: str, address: tuple[str, str]) -> None:
    """What a client said of a file when it put it into the store by itself: its name, above all."""
    theirs = (uploads.c.tenant == address[0]) & (uploads.c.sha256 == address[1])
    gone = connection.execute(delete(uploads).where(theirs)).rowcount
    if gone:
        count_erased(connection, erasure_id, {"uploads": gone})


def remember_files(connection: Connection, erasure_id: str, tenant: str, after: str) -> str | None:
    """Enter the next page of a tenant's blobs; returns where to go on.

    What was made of others goes with them.
    """
    is_made = exists().where(renditions.c.tenant == tenant, renditions.c.made_sha256 == blobs.c.sha256)
    page = select(blobs.c.sha256).where(blobs.c.tenant == tenant, blobs.c.sha256 > after, ~is_made)
    found = list(connection.execute(page.order_by(blobs.c.sha256).limit(PAGE)).scalars())
    _remember(connection, erasure_id, "blob", found)
    return found[-1] if found else None


def remember_dropped(connection: Connection, erasure_id: str, subject: Subject) -> bool:
    """Enter the next page of files that its threads dropped, now or before they were gone; False at the end.

    Nothing else says from then on whose they were.
    """
    items, mine = erasure_items.c, dropped_files.c
    of_erasure = select(items.sha256).where(items.erasure_id == erasure_id, items.kind == "thread")
    of_tenant = select(mine.sha256, mine.thread_key).where(mine.tenant == subject.tenant)
    theirs = union(
        of_tenant.where(mine.thread_sha256.in_(of_erasure)), of_tenant.where(names(subject, dropped_files))
    )
    page = [tuple(row) for row in connection.execute(theirs.limit(PAGE))]
    these = (mine.tenant == subject.tenant) & tuple_(mine.sha256, mine.thread_key).in_(page)
    gone = connection.execute(delete(dropped_files).where(these).returning(mine.sha256))
    files = set(gone.scalars())
    of_files = (renditions.c.tenant == subject.tenant) & renditions.c.sha256.in_(files)
    made = connection.execute(select(renditions.c.made_sha256).where(of_files)).scalars()
    # With what was made out of them: a collection may come first, and nothing would lead to it any more.
    _remember(connection, erasure_id, "blob", sorted(files.union(made)))
    return bool(page)


def forget_tenant(connection: Connection, erasure_id: str, tenant: str) -> None:
    """Delete what belongs to a tenant and to none of its threads: uploads, and its policies."""
    counts = {
        "uploads": connection.execute(delete(uploads).where(uploads.c.tenant == tenant)).rowcount,
        "policies": connection.execute(
            delete(retention_policies).where(retention_policies.c.tenant == tenant)
        ).rowcount,
    }
    count_erased(connection, erasure_id, {name: count for name, count in counts.items() if count})


def count_objects(connection: Connection, erasure_id: str, objects: int) -> None:
    """Note how many objects the file store still had of the tenant, versions and uploads counted."""
    if objects:
        count_erased(connection, erasure_id, {"objects": objects})


def _under_way(subject: Subject) -> Select[Any]:
    return select(erasures.c.id).where(
        erasures.c.tenant == subject.tenant,
        erasures.c.subject == subject.kind,
        erasures.c.subject_sha256 == subject.sha256,
        erasures.c.finished_at.is_(None),
    )


def _remember(
    connection: Connection, erasure_id: str, kind: str, hashes: Sequence[str], *, looks_again: bool = False
) -> None:
    if hashes:
        rows = [{"erasure_id": erasure_id, "kind": kind, "sha256": sha256} for sha256 in hashes]
        statement = insert_for(connection, erasure_items).values(rows)
        undone = statement.on_conflict_do_update(
            index_elements=["erasure_id", "kind", "sha256"], set_={"done": False}
        )
        connection.execute(undone if looks_again else statement.on_conflict_do_nothing())
