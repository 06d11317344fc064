"""Attachments as rows: the files of each message.

What stays true: a blob is stored before a row points to it (`blob_rows` sees to that); rows of blobs
are locked in the order of their hashes.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, false, or_, select

from conversation.attachment import Attachment
from conversation.errors import FileNotStored
from conversation.message import Message
from store.database.sqlite import read_only
from store.database.statements import AnyRow, insert_for
from store.files.blob_rows import check_stored
from store.lineage import Lineage
from store.tables import attachments, blobs, messages, threads

#: Files of one thread that tools can choose from.
THREAD_FILES_MAX = 1000

_file_columns = (attachments.c.filename, blobs.c.sha256, blobs.c.size, blobs.c.media_type)


def insert_attachments(
    connection: Connection, thread_key: int, tenant: str, spoken_messages: Sequence[Message]
) -> None:
    """Enter the files of messages, whose blobs are locked. One statement, however many there are."""
    rows = [
        {
            "thread_key": thread_key,
            "message_id": message.id,
            "index": index,
            "filename": file.filename,
            "tenant": tenant,
            "sha256": file.sha256,
        }
        for message in spoken_messages
        for index, file in enumerate(message.attachments)
    ]
    if rows:
        connection.execute(insert_for(connection, attachments).values(rows).on_conflict_do_nothing())


def attach(connection: Connection, thread_key: int, tenant: str, spoken_messages: Sequence[Message]) -> None:
    """Lock the blobs of messages, then enter their files. Raises as `check_stored`."""
    files = [file for message in spoken_messages for file in message.attachments]
    if files:
        check_stored(connection, tenant, files)
        insert_attachments(connection, thread_key, tenant, spoken_messages)


def addresses_of(thread_key: int) -> Select[tuple[str, str]]:
    """Tenant and hash of each file of a thread."""
    return select(attachments.c.tenant, attachments.c.sha256).where(attachments.c.thread_key == thread_key)


def load_attachments(connection: Connection, message_ids: Mapping[int, Sequence[str]]) -> dict[str, list[Attachment]]:
    """Load the files of messages, by message id, in their order; the ids come by the key that they stand under."""
    of_messages = (
        and_(attachments.c.thread_key == key, attachments.c.message_id.in_(ids)) for key, ids in message_ids.items()
    )
    statement = (
        select(attachments.c.message_id, *_file_columns)
        .join_from(attachments, blobs)
        .where(or_(*of_messages))
        .order_by(attachments.c.message_id, attachments.c.index)
    )
    files_by_message: dict[str, list[Attachment]] = {}
    for row in connection.execute(statement):
        files_by_message.setdefault(row.message_id, []).append(_file(row))
    return files_by_message


@read_only
def load_thread_files(connection: Connection, tenant: str, thread_id: str) -> list[Attachment]:
    """Load the files of a thread's history, the newest first; at most `THREAD_FILES_MAX`."""
    of_row = select(threads.c.key, threads.c.lineage).where(threads.c.tenant == tenant, threads.c.id == thread_id)
    row = connection.execute(of_row).one_or_none()
    if row is None:
        return []
    statement = (
        select(*_file_columns)
        .select_from(messages.join(attachments, _is_of_message()).join(blobs))
        .where(Lineage.of(row).holds())
        .order_by(messages.c.seq.desc(), attachments.c.index.desc())
        .limit(THREAD_FILES_MAX)
    )
    return [_file(row) for row in connection.execute(statement)]


def _is_of_message() -> ColumnElement[bool]:
    return (attachments.c.thread_key == messages.c.thread_key) & (attachments.c.message_id == messages.c.id)


def find_thread_file(
    connection: Connection, tenant: str, thread_id: str, sha256: str, *, user: str | None = None
) -> Attachment:
    """Find a file of a thread, of whichever of its messages; with `user`, of this user's. Raises `FileNotStored`."""
    is_first = (threads.c.tenant == tenant) & (threads.c.id == thread_id)
    if user is not None:
        is_first &= threads.c.owner == user
    root_key = select(threads.c.key).where(is_first).scalar_subquery()
    of_thread = select(threads.c.key, threads.c.lineage).where(
        or_(threads.c.key == root_key, threads.c.root_key == root_key)
    )
    lineages = [Lineage.of(row) for row in connection.execute(of_thread)]
    # Of a message that waits in the inbox, there is no row of the history yet.
    is_own = attachments.c.thread_key.in_([lineage.key for lineage in lineages])
    shared = [lineage.holds(to_seq=lineage.shared_to_seq) for lineage in lineages if lineage.shared_to_seq]
    is_shared = exists().where(_is_of_message(), or_(false(), *shared))
    statement = (
        select(*_file_columns)
        .join_from(attachments, blobs)
        .where(blobs.c.tenant == tenant, blobs.c.sha256 == sha256, or_(is_own, is_shared))
        .limit(1)
    )
    row = connection.execute(statement).first() if lineages else None
    if row is None:
        raise FileNotStored(f"no file {sha256!r} is stored of thread {thread_id!r} of tenant {tenant!r}")
    return _file(row)


def _file(row: AnyRow) -> Attachment:
    return Attachment(filename=row.filename, media_type=row.media_type, sha256=row.sha256, size=row.size)
