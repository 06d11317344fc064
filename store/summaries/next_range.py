"""Where the next summary of a thread ends.

What stays true: it ends where a turn ends, right before a user's message, so that a turn and its tool
calls stay together; the newest turn is never covered; and one summary covers no more than a model can
read at once, unless a single turn is longer than that.
"""

from sqlalchemy import Connection

from conversation.water_marks import WaterMarks
from store.history import turn_boundary

#: Messages and tokens of one summary, at most: a longer history is covered in several steps.
COVERED_MESSAGES = 400
COVERED_TOKENS = 40_000


def cover_to(
    connection: Connection,
    thread_key: int,
    *,
    after_seq: int,
    last_seq: int,
    unfinished_seq: int | None,
    marks: WaterMarks,
) -> int | None:
    """The last seq of the next summary; None where nothing but the newest turns is left.

    What has a place before `after_seq` is covered; nothing from `unfinished_seq` on may be.
    """
    low = _low_mark(
        connection,
        thread_key,
        after_seq=after_seq,
        last_seq=last_seq,
        before_seq=last_seq if unfinished_seq is None else unfinished_seq,
        marks=marks,
    )
    if low is None:
        return None
    return _step(connection, thread_key, after_seq=after_seq, low_seq=low)


def _low_mark(
    connection: Connection, key: int, *, after_seq: int, last_seq: int, before_seq: int, marks: WaterMarks
) -> int | None:
    """The user's message with which the part begins that stays as it is.

    Where the newest turn is longer than what should be kept, it stays whole.
    """
    walk = turn_boundary.newest_first(
        connection, key, after_seq=after_seq, last_seq=last_seq, page=marks.low_messages + 1
    )
    kept = tokens = 0
    low = None
    for place in walk:
        kept, tokens = kept + 1, tokens + place.tokens
        if low is not None and (kept > marks.low_messages or 0 < marks.low_tokens < tokens):
            break
        if place.is_beginning and place.seq <= before_seq:
            low = place.seq
    return low


def _step(connection: Connection, key: int, *, after_seq: int, low_seq: int) -> int | None:
    """As many turns, on the way to the low mark, as one summary covers: one at least."""
    walk = turn_boundary.oldest_first(
        connection, key, after_seq=after_seq, to_seq=low_seq, page=COVERED_MESSAGES + 1
    )
    covered = tokens = 0
    end = None
    for place in walk:
        is_full = covered > COVERED_MESSAGES or tokens > COVERED_TOKENS
        if end is not None and is_full:
            break
        if place.is_beginning and covered:
            end = place.seq - 1
        covered, tokens = covered + 1, tokens + place.tokens
    return end
