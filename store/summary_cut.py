"""Where the next summary of a thread ends.

What stays true: it ends right before a user's message, so that a turn and its tool calls stay
together; the newest turn is never covered; and one summary covers no more than a model can read at
once, unless a single turn is longer than that.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Select, func, select

from conversation.water_marks import WaterMarks
from store.statements import AnyRow
from store.tables import messages
from store.uncovered import estimate_of

#: Messages and tokens of one summary, at most: a longer history is covered in several steps.
COVERED_MESSAGES = 400
COVERED_TOKENS = 40_000


def cover_to(
    connection: Connection, thread_key: int, *, after_seq: int, before_seq: int, marks: WaterMarks
) -> int | None:
    """The last seq of the next summary; None where nothing but the newest turns is left.

    What has a place before `after_seq` is covered; nothing from `before_seq` on may be.
    """
    low = _low_mark(connection, thread_key, after_seq=after_seq, before_seq=before_seq, marks=marks)
    if low is None:
        return None
    return _step(connection, thread_key, after_seq=after_seq, low_seq=low)


def _low_mark(
    connection: Connection, thread_key: int, *, after_seq: int, before_seq: int, marks: WaterMarks
) -> int | None:
    """The user's message with which the part begins that stays as it is."""
    newest_first = _places(thread_key).where(messages.c.seq > after_seq).order_by(messages.c.seq.desc())
    kept = tokens = 0
    low = None
    for row in connection.execute(newest_first.limit(marks.low_messages + 1)):
        kept, tokens = kept + 1, tokens + row.tokens
        if low is not None and (kept > marks.low_messages or 0 < marks.low_tokens < tokens):
            break
        if row.role == "user" and row.seq <= before_seq:
            low = row.seq
    if low is None:
        # The newest turn is longer than what should be kept: it stays whole.
        low = _newest_question(connection, thread_key, after_seq=after_seq, before_seq=before_seq)
    return low if low is not None and low > after_seq + 1 else None


def _newest_question(
    connection: Connection, thread_key: int, *, after_seq: int, before_seq: int
) -> int | None:
    found: int | None = connection.execute(
        select(func.max(messages.c.seq)).where(
            messages.c.thread_key == thread_key,
            messages.c.role == "user",
            messages.c.seq > after_seq,
            messages.c.seq <= before_seq,
        )
    ).scalar_one()
    return found


def _step(connection: Connection, thread_key: int, *, after_seq: int, low_seq: int) -> int | None:
    """As many turns, on the way to the low mark, as one summary covers."""
    behind = messages.c.seq > after_seq
    oldest_first = _places(thread_key).where(behind, messages.c.seq <= low_seq).order_by(messages.c.seq)
    rows = connection.execute(oldest_first.limit(COVERED_MESSAGES + 1)).all()
    ends = _turn_starts(rows)
    if not ends:
        # A single turn, longer than all that: it ends where the next one begins.
        later = select(func.min(messages.c.seq)).where(
            messages.c.thread_key == thread_key,
            messages.c.role == "user",
            messages.c.seq > rows[-1].seq,
            messages.c.seq <= low_seq,
        )
        ends = [seq for seq in connection.execute(later).scalars() if seq is not None]
    return ends[-1] - 1 if ends else None


def _turn_starts(rows: Sequence[AnyRow]) -> list[int]:
    """The places of the users' messages before which a summary may end: within the tokens, or the first."""
    tokens = 0
    ends: list[int] = []
    for index, row in enumerate(rows):
        if row.role == "user" and index > 0 and (not ends or tokens <= COVERED_TOKENS):
            ends.append(row.seq)
        tokens += row.tokens
    return ends


def _places(thread_key: int) -> Select[tuple[int, str, int]]:
    tokens = func.coalesce(messages.c.tokens, estimate_of(messages)).label("tokens")
    return select(messages.c.seq, messages.c.role, tokens).where(messages.c.thread_key == thread_key)
