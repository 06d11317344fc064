"""The rows that an export is made of, as lines of JSON.

What stays true: a page is one short transaction; what retention is about to delete is not among them,
what a legal hold keeps is.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, exists, not_, or_, select, tuple_

from store.audit import hash_of
from store.database.statements import AnyRow
from store.erasure.archives import named_threads, parts_of
from store.erasure.subject import Subject, rows_of
from store.history import message_rows
from store.history.visibility import is_hidden_turn
from store.tables import attachments, audit, blobs, messages, steps, threads, turn_inputs, turns, uploads
from store.tables.retention import archives, retention_policies
from store.threads.export import message_line

#: Rows of one page.
PAGE = 200

Line = dict[str, Any]


def thread(connection: Connection, key: int) -> AnyRow | None:
    """The thread's own row; None if it is gone."""
    return connection.execute(select(threads).where(threads.c.key == key)).one_or_none()


def work(connection: Connection, key: int, after: int) -> tuple[int, list[Line]] | None:
    """The next turns in any state, their journals and inputs, and the position of the last of them."""
    is_held = select(threads.c.legal_hold).where(threads.c.key == key).scalar_subquery()
    of_thread = (turns.c.thread_key == key) & (turns.c.position > after)
    shown = select(turns).where(of_thread, or_(is_held, not_(is_hidden_turn(key))))
    found = connection.execute(shown.order_by(turns.c.position).limit(PAGE)).all()
    if not found:
        return None
    ids = [row.id for row in found]
    journal = select(steps).where(steps.c.turn_id.in_(ids)).order_by(steps.c.turn_id, steps.c.index)
    inbox = select(turn_inputs).where(turn_inputs.c.turn_id.in_(ids)).order_by(turn_inputs.c.turn_id)
    return found[-1].position, [
        *({"row": "turn", **plain(row)} for row in found),
        *({"row": "step", **plain(row)} for row in connection.execute(journal)),
        *({"row": "input", **plain(row)} for row in connection.execute(inbox)),
    ]


def held(connection: Connection, key: int, after: int) -> list[Line]:
    """The next messages that nobody reads any more, and that a legal hold keeps: the rest of a half turn."""
    row = thread(connection, key)
    if row is None or not row.legal_hold:
        return []
    statement = message_rows.stored_rows(key, after_seq=after, to_seq=row.retention_cut)
    found = connection.execute(statement.order_by(messages.c.seq).limit(PAGE)).all()
    said = zip(message_rows.load(connection, key, found), found, strict=True)
    return [message_line(message, each.tokens, turn_id=each.turn_id) for message, each in said]


def files(connection: Connection, key: int, after: tuple[str, int]) -> Sequence[AnyRow]:
    """The next files of its messages, as they are read or held, and of its inbox; without their texts."""
    place = attachments.c.message_id, attachments.c.index
    joined = attachments.join(
        blobs, (attachments.c.tenant == blobs.c.tenant) & (attachments.c.sha256 == blobs.c.sha256)
    )
    is_below = exists().where(
        threads.c.key == key,
        not_(threads.c.legal_hold),
        messages.c.thread_key == key,
        messages.c.id == attachments.c.message_id,
        messages.c.seq <= threads.c.retention_cut,
    )
    waited = turn_inputs.join(turns, turn_inputs.c.turn_id == turns.c.id)
    is_unheard = (
        select(turn_inputs.c.id)
        .select_from(waited)
        .where(
            turn_inputs.c.id == attachments.c.message_id,
            exists().where(threads.c.key == key, not_(threads.c.legal_hold)),
            is_hidden_turn(key),
        )
        .correlate(attachments)
        .exists()
    )
    named = attachments.c.message_id, attachments.c.index.label("place"), attachments.c.filename
    statement = select(*named, blobs.c.sha256, blobs.c.size, blobs.c.media_type, blobs.c.scan)
    following = tuple_(*place) > tuple_(*after)
    of_thread = (attachments.c.thread_key == key) & following & not_(is_below) & not_(is_unheard)
    return connection.execute(
        statement.select_from(joined).where(of_thread).order_by(*place).limit(PAGE)
    ).all()


def uploads_of(connection: Connection, tenant: str, hashes: Collection[str]) -> list[Line]:
    """What a client said of these files when it put them, or was about to."""
    statement = select(uploads).where(uploads.c.tenant == tenant, uploads.c.sha256.in_(sorted(hashes)))
    return [plain(row) for row in connection.execute(statement.order_by(uploads.c.id))]


def policies_of(connection: Connection, row: AnyRow) -> list[Line]:
    """The policy of a thread's own."""
    own = retention_policies.c
    statement = select(retention_policies).where(own.tenant == row.tenant, own.thread_id == row.id)
    return [plain(each) for each in connection.execute(statement.order_by(own.key))]


def audit_of(connection: Connection, row: AnyRow) -> list[Line]:
    """What was deleted or mended in a thread."""
    named = [row.id, hash_of(row.tenant, row.id)]
    of_thread = (audit.c.tenant == row.tenant) & audit.c.thread_id.in_(named)
    return [plain(each) for each in connection.execute(select(audit).where(of_thread).order_by(audit.c.key))]


def archives_of(connection: Connection, subject: Subject) -> Sequence[AnyRow]:
    """The archives of its threads, also of those that are gone."""
    return connection.execute(archive_rows(connection, subject)).all()


def archive_rows(connection: Connection, subject: Subject) -> Select[Any]:
    """The rows of those archives, that of the oldest part first."""
    mine = archives.c.key.in_(parts_of(rows_of(connection, subject), named_threads(subject)))
    return select(archives).where(mine, archives.c.state == "stored").order_by(archives.c.key)


def plain(row: AnyRow) -> Line:
    """A row as JSON has it."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row._asdict().items()
    }
