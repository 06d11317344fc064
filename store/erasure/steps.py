"""The steps of an erasure, each a short transaction that can be run again.

What stays true: counts are written by the transaction that removed what they count; a step that finds
nothing to do changes nothing.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, false, select, tuple_, union, update

from conversation.errors import ThreadUnderLegalHold
from conversation.ids import new_id
from store.audit import pseudonymize_thread, redact_file_hashes
from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.erasure.archives import names_subject, thread_keys_naming
from store.erasure.items import hash_of_thread, record_items
from store.erasure.sent_turns import select_shared_keys
from store.erasure.slack import has_slack_messages
from store.erasure.standing_rows import has_keys, has_schedules
from store.erasure.subject import Subject, select_thread_keys
from store.files import garbage_collection
from store.history.row_ids import thread_id_of
from store.inbound.sources import delete_of_tenant
from store.retention import deletion, legal_holds, sharing
from store.retention.deletion import add_erased_counts
from store.schedules.deletion import delete_of_subject
from store.tables import blobs, renditions, threads, turns, uploads
from store.tables.retention import (
    archives,
    dropped_files,
    erasure_items,
    erasures,
    pending_deletions,
    retention_policies,
)
from store.tables.turns import unfinished
from store.turns.children import end_turns, lock_parents
from store.webhooks import endpoints

#: Threads or files of one page.
PAGE = 100
#: Ids that an error names, at most.
ERROR_MAX_IDS = 20


def begin(connection: Connection, subject: Subject) -> str:
    """Begin an erasure of this subject, or find the one that broke off; returns its id.

    Raises `ThreadUnderLegalHold` if one of its threads is under legal hold; then none is begun.
    """
    subject.check()
    erasure_id = connection.execute(_select_unfinished_id(subject)).scalar_one_or_none()
    if erasure_id is not None:
        return str(erasure_id)
    check_not_held(connection, subject)
    entry = insert_for(connection, erasures).values(
        id=new_id(),
        tenant=subject.tenant,
        subject=subject.kind,
        subject_sha256=subject.sha256,
        counts={},
        requested_at=clock(),
        subject_id=subject.name,
        last_step_at=clock(),
    )
    connection.execute(entry.on_conflict_do_nothing())
    return str(connection.execute(_select_unfinished_id(subject)).scalar_one())


def check_not_held(connection: Connection, subject: Subject) -> None:
    """Raise `ThreadUnderLegalHold`, with the first ids, if threads of the subject are under legal hold.

    A thread that is another user's counts, too, if an archive of it names the subject, whose parts would all be
    deleted, or if the subject said something in it.
    """
    keys = select_thread_keys(subject)
    all_keys = keys if subject.whole_tenant else union(keys, thread_keys_naming(subject), select_shared_keys(subject))
    query = select(threads.c.id).where(threads.c.legal_hold, threads.c.key.in_(all_keys))
    held_rows = connection.execute(query.order_by(threads.c.key).limit(ERROR_MAX_IDS)).scalars()
    held_ids = list(dict.fromkeys(map(thread_id_of, held_rows)))
    if held_ids:
        raise ThreadUnderLegalHold(held_ids)


def lock_out_thread(connection: Connection, erasure_id: str, subject: Subject, key: int) -> bool:
    """Lock workers and readers out of a thread; False if it is gone.

    Its turns are cancelled, its fencing token is raised: a running worker commits nothing. Raises
    `ThreadUnderLegalHold`.
    """
    lock_parents(connection, select(turns.c.id).where(turns.c.thread_key == key, unfinished))
    thread = _lock_thread(connection, erasure_id, subject, key)
    if thread is None:
        return False
    if thread.legal_hold:
        raise ThreadUnderLegalHold([thread_id_of(thread.id)])
    _lock_out(connection, thread)
    _take_over_deletion(connection, erasure_id, thread)
    # Of one that was left to others, under the name that it has left: its files are found by that.
    record_items(connection, erasure_id, "thread", [hash_of_thread(thread)])
    return True


def _lock_thread(connection: Connection, erasure_id: str, subject: Subject, key: int) -> AnyRow | None:
    """Lock the row of a thread of the subject; None if it is gone."""
    # Also a thread that became another user's since: it was locked out for this erasure already.
    locked_out_keys = select(pending_deletions.c.thread_key).where(pending_deletions.c.erasure_id == erasure_id)
    # Or a branch of one, that was made meanwhile.
    is_in_erasure = threads.c.key.in_(select_thread_keys(subject)) | threads.c.key.in_(locked_out_keys)
    is_in_erasure |= threads.c.root_key.in_(locked_out_keys)
    # What is left to others has nothing more that goes, until it is opened again.
    has_pending_deletion = exists().where(pending_deletions.c.thread_key == threads.c.key)
    is_left = threads.c.deleted_at.is_not(None) & sharing.is_shared(key) & ~has_pending_deletion
    statement = select(threads).where(threads.c.key == key, is_in_erasure, ~is_left)
    return connection.execute(statement.with_for_update(key_share=True)).one_or_none()


def _take_over_deletion(connection: Connection, erasure_id: str, thread: AnyRow) -> None:
    """Have all of a thread deleted by the erasure, also where retention began to delete a part."""
    entry = insert_for(connection, pending_deletions).values(
        thread_key=thread.key,
        tenant=thread.tenant,
        cut_before=thread.history_starts_after,
        deleted_to=0,
        whole=True,
        keep_summary=False,
        archive=False,
        policy={"field": "erasure"},
        summary_id=thread.summary_id,
        erasure_id=erasure_id,
        created_at=clock(),
    )
    erasure_values = {"whole": True, "keep_summary": False, "erasure_id": erasure_id}
    connection.execute(entry.on_conflict_do_update(index_elements=["thread_key"], set_=erasure_values))


def _lock_out(connection: Connection, thread: AnyRow) -> None:
    """Cancel a thread's turns, raise its fencing token, and hide all its messages."""
    end_turns(connection, thread.key)
    connection.execute(
        update(threads)
        .where(threads.c.key == thread.key)
        .values(
            lease_owner=None,
            fencing_token=threads.c.fencing_token + 1,
            history_starts_after=thread.last_seq,
            summary_id=None,
            uncovered_messages=0,
            uncovered_tokens=0,
        )
    )


def load_locked_out_keys(connection: Connection, erasure_id: str, after: int | None) -> list[int]:
    """Load the next of the keys of threads that this erasure locked out and that still exist, descending.

    One at a time: its end may open the deletion of what it was branched from, which comes next.
    """
    key = pending_deletions.c.thread_key
    page = select(key).where(pending_deletions.c.erasure_id == erasure_id)
    if after is not None:
        page = page.where(key < after)
    return list(connection.execute(page.order_by(key.desc()).limit(1)).scalars())


def release_thread(connection: Connection, erasure_id: str, key: int) -> None:
    """Release a locked out thread: what is still stored is read again. Its turns stay cancelled."""
    locked_out_keys = select(pending_deletions.c.thread_key).where(pending_deletions.c.erasure_id == erasure_id)
    query = select(threads).where(threads.c.key == key, threads.c.key.in_(locked_out_keys))
    thread = connection.execute(query.with_for_update(of=threads, key_share=True)).one_or_none()
    if thread is not None:
        legal_holds.undo_cutoff(connection, thread)


def end_thread(connection: Connection, erasure_id: str, tenant: str, key: int) -> None:
    """Delete the row of a thread of which nothing else is left, and its id in its policy and the audit."""
    query = select(threads.c.id).where(threads.c.key == key)
    thread_id = connection.execute(query).scalar_one_or_none()
    removed = deletion.remove_thread(connection, key, erasure_id=erasure_id)
    if removed is not None and thread_id is not None:
        forget_policy(connection, erasure_id, tenant, thread_id)


def forget_policy(connection: Connection, erasure_id: str, tenant: str, thread_id: str) -> None:
    """Delete the policy and the schedules of one thread, which have its id, and replace the id in the audit."""
    pseudonymize_thread(connection, tenant, thread_id)
    policy = retention_policies.c
    statement = delete(retention_policies).where(policy.tenant == tenant, policy.thread_id == thread_id)
    counts = {
        "policies": connection.execute(statement).rowcount,
        "schedules": delete_of_subject(connection, tenant, user=None, thread_id=thread_id),
    }
    if any(counts.values()):
        add_erased_counts(connection, erasure_id, {name: count for name, count in counts.items() if count})


def redact_deleted_files(connection: Connection, erasure_id: str, tenant: str) -> None:
    """Remove the hashes of files that this erasure deleted from the audit."""
    items = erasure_items.c
    blob_exists = exists().where(blobs.c.tenant == tenant, blobs.c.sha256 == items.sha256)
    deleted_hashes = select(items.sha256).where(items.erasure_id == erasure_id, items.kind == "blob", ~blob_exists)
    redact_file_hashes(connection, tenant, deleted_hashes)


def is_stored(connection: Connection, subject: Subject) -> bool:
    """Whether there is anything to erase, or an erasure that broke off."""
    has_archives = exists().where(archives.c.tenant == subject.tenant, names_subject(subject))
    has_dropped_files = exists().where(dropped_files.c.tenant == subject.tenant, names_subject(subject, dropped_files))
    has_rows = (
        select_thread_keys(subject).exists()
        | has_keys(subject)
        | has_schedules(subject)
        | _select_unfinished_id(subject).exists()
        | has_archives
        | has_dropped_files
        | select_shared_keys(subject).exists()
        | select(uploads.c.id).where(_is_upload_of(subject)).exists()
        | has_slack_messages(subject)
    )
    return bool(connection.execute(select(has_rows)).scalar_one())


def record_uploads(connection: Connection, erasure_id: str, subject: Subject) -> bool:
    """Record the next page of files that the user put and perhaps never sent; False at the end. Their rows go."""
    ids = select(uploads.c.id).where(_is_upload_of(subject)).limit(PAGE)
    deletion = delete(uploads).where(uploads.c.id.in_(ids.scalar_subquery())).returning(uploads.c.sha256)
    hashes = connection.execute(deletion).scalars().all()
    if hashes:
        record_items(connection, erasure_id, "blob", sorted(set(hashes)), reopens=True)
        add_erased_counts(connection, erasure_id, {"uploads": len(hashes)})
    return bool(hashes)


def _is_upload_of(subject: Subject) -> ColumnElement[bool]:
    if subject.user is None:
        return false()
    return (uploads.c.tenant == subject.tenant) & (uploads.c.owner == subject.user)


def load_remaining_files(connection: Connection, erasure_id: str) -> list[str]:
    """Load a page of hashes of the erased threads' files that are still to be erased."""
    items = erasure_items.c
    query = select(items.sha256).where(items.erasure_id == erasure_id, items.kind == "blob", ~items.done)
    return list(connection.execute(query.order_by(items.sha256).limit(PAGE)).scalars())


def mark_file(connection: Connection, erasure_id: str, subject: Subject, sha256: str) -> None:
    """Mark a blob and its renditions for deletion, unless another message has it."""
    hashes = garbage_collection.mark_now(connection, (subject.tenant, sha256))
    # Also hashes that are done: until now this blob kept them.
    record_items(connection, erasure_id, "blob", sorted(hashes), reopens=True)


def remove_file(connection: Connection, erasure_id: str, subject: Subject, sha256: str, delete_object: Any) -> None:
    """Delete a blob that is marked, with its text and its bytes."""
    address = (subject.tenant, sha256)
    size = connection.execute(
        select(blobs.c.size).where(blobs.c.tenant == subject.tenant, blobs.c.sha256 == sha256)
    ).scalar_one_or_none()
    # Waits for a transaction that locks its row: the certificate says that the blob is gone.
    if garbage_collection.delete_marked(connection, address, delete_object, waits=True):
        _delete_uploads(connection, erasure_id, address)
        add_erased_counts(connection, erasure_id, {"blobs": 1, "blob_bytes": size or 0})
    items = erasure_items.c
    of_item = (items.erasure_id == erasure_id) & (items.kind == "blob") & (items.sha256 == sha256)
    connection.execute(update(erasure_items).where(of_item).values(done=True))


def _delete_uploads(connection: Connection, erasure_id: str, address: tuple[str, str]) -> None:
    """Delete the upload rows of a file, which have the name that a client gave it."""
    of_file = (uploads.c.tenant == address[0]) & (uploads.c.sha256 == address[1])
    count = connection.execute(delete(uploads).where(of_file)).rowcount
    if count:
        add_erased_counts(connection, erasure_id, {"uploads": count})


def record_files(connection: Connection, erasure_id: str, tenant: str, after: str) -> str | None:
    """Record the next page of a tenant's blobs; returns the last hash, None at the end.

    Renditions of others go with them.
    """
    is_rendition = exists().where(renditions.c.tenant == tenant, renditions.c.rendition_sha256 == blobs.c.sha256)
    page = select(blobs.c.sha256).where(blobs.c.tenant == tenant, blobs.c.sha256 > after, ~is_rendition)
    hashes = list(connection.execute(page.order_by(blobs.c.sha256).limit(PAGE)).scalars())
    record_items(connection, erasure_id, "blob", hashes)
    return hashes[-1] if hashes else None


def record_dropped_files(connection: Connection, erasure_id: str, subject: Subject) -> bool:
    """Record the next page of files that the subject's threads dropped, now or ever; False at the end.

    Their rows are deleted: only the erasure's own rows lead to these files then.
    """
    items, file_columns = erasure_items.c, dropped_files.c
    of_erasure = select(items.sha256).where(items.erasure_id == erasure_id, items.kind == "thread")
    of_tenant = select(file_columns.sha256, file_columns.thread_key).where(file_columns.tenant == subject.tenant)
    query = union(
        of_tenant.where(file_columns.thread_sha256.in_(of_erasure)),
        of_tenant.where(names_subject(subject, dropped_files)),
    )
    page = [tuple(row) for row in connection.execute(query.limit(PAGE))]
    is_in_page = (file_columns.tenant == subject.tenant) & tuple_(file_columns.sha256, file_columns.thread_key).in_(
        page
    )
    deleted_hashes = connection.execute(delete(dropped_files).where(is_in_page).returning(file_columns.sha256))
    hashes = set(deleted_hashes.scalars())
    of_files = (renditions.c.tenant == subject.tenant) & renditions.c.sha256.in_(hashes)
    rendition_hashes = connection.execute(select(renditions.c.rendition_sha256).where(of_files)).scalars()
    # With their renditions: after a garbage collection nothing would lead to these any more.
    record_items(connection, erasure_id, "blob", sorted(hashes.union(rendition_hashes)))
    return bool(page)


def delete_tenant_rows(connection: Connection, erasure_id: str, tenant: str) -> None:
    """Delete rows that belong to a tenant and to none of its threads: uploads, its policies and webhooks."""
    counts = {
        "webhooks": endpoints.delete_webhooks(connection, tenant),
        "inbound_sources": delete_of_tenant(connection, tenant),
        "uploads": connection.execute(delete(uploads).where(uploads.c.tenant == tenant)).rowcount,
        "policies": connection.execute(
            delete(retention_policies).where(retention_policies.c.tenant == tenant)
        ).rowcount,
    }
    add_erased_counts(connection, erasure_id, {name: count for name, count in counts.items() if count})


def count_objects(connection: Connection, erasure_id: str, objects: int) -> None:
    """Note how many objects the file store still had of the tenant, versions and uploads counted."""
    if objects:
        add_erased_counts(connection, erasure_id, {"objects": objects})


def _select_unfinished_id(subject: Subject) -> Select[Any]:
    return select(erasures.c.id).where(
        erasures.c.tenant == subject.tenant,
        erasures.c.subject == subject.kind,
        erasures.c.subject_sha256 == subject.sha256,
        erasures.c.finished_at.is_(None),
    )
