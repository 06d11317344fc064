"""The turns of one thread, page by page, the newest first.

What stays true: a page costs the same wherever it begins, and however many turns there are; a tenant sees the turns
of its own threads only.
"""

import base64
import binascii

from sqlalchemy import Connection, select

from conversation.errors import InvalidInput, ThreadNotFound
from conversation.turn import TurnRecord
from conversation.validation import check_id, check_tenant
from store.tables import threads, turns
from store.turns.records import build_record, select_records

#: Turns of one page, at most.
PAGE_MAX = 1_000


class TurnPage(list[TurnRecord]):
    """Turns of a thread, the newest first; `next_cursor` is None on the last page."""

    next_cursor: str | None = None


def list_of_thread(
    connection: Connection, tenant: str, thread_id: str, *, limit: int, cursor: str | None = None
) -> TurnPage:
    """List a thread's turns. Raises `ThreadNotFound`, and `InvalidInput` for what cannot be listed by."""
    limit, thread_key = _check_limit(limit), _find_thread(connection, tenant, thread_id)
    statement = select_records().where(turns.c.thread_key == thread_key)
    if cursor is not None:
        statement = statement.where(turns.c.arrival_seq < _read_cursor(cursor))
    # One more, to know whether another page follows.
    rows = connection.execute(statement.order_by(turns.c.arrival_seq.desc()).limit(limit + 1)).all()
    page = TurnPage(build_record(row) for row in rows[:limit])
    if len(rows) > limit:
        page.next_cursor = base64.urlsafe_b64encode(str(rows[limit - 1].arrival_seq).encode()).decode().rstrip("=")
    return page


def _find_thread(connection: Connection, tenant: str, thread_id: str) -> int:
    of_thread = (threads.c.tenant == check_tenant(tenant), threads.c.id == check_id("thread_id", thread_id))
    key = connection.execute(select(threads.c.key).where(*of_thread)).scalar_one_or_none()
    if key is None:
        raise ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {tenant!r}")
    return int(key)


def _check_limit(limit: object) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= PAGE_MAX:
        raise InvalidInput("limit", f"is {limit!r}", f"pass 1 to {PAGE_MAX}")
    return limit


def _read_cursor(cursor: object) -> int:
    """Read the place in the order of arrival behind which the page begins."""
    try:
        text = base64.b64decode(f"{cursor}" + "=" * (-len(f"{cursor}") % 4), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        text = ""
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise InvalidInput("cursor", "is none of ours", "pass next_cursor of the page before")
    return int(text)
