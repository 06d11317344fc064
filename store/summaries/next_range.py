"""Where the next summary of a thread ends.

What stays true: it ends where a turn ends, right before a user's message, so that a turn and its tool
calls stay together; the newest turn is never covered; and one summary covers no more than a model can
read at once, unless a single turn is longer than that.
"""

from sqlalchemy import Connection

from conversation.water_marks import WaterMarks
from store.history import turn_boundary
from store.lineage import Lineage

#: Messages and tokens of one summary, at most: a longer history is covered in several steps.
COVERED_MESSAGES = 400
COVERED_TOKENS = 40_000


def find_low_seq(
    connection: Connection,
    lineage: Lineage,
    *,
    after_seq: int,
    last_seq: int,
    unfinished_seq: int | None,
    marks: WaterMarks,
) -> int | None:
    """The seq of the user's message with which the part begins that stays unsummarized; None where nothing is above it.

    Messages up to `after_seq` are covered already; none from `unfinished_seq` on may be.
    Where the newest turn is longer than what should be kept, it stays whole.
    """
    before_seq = last_seq if unfinished_seq is None else unfinished_seq
    walk = turn_boundary.walk_newest_first(
        connection, lineage, after_seq=after_seq, last_seq=last_seq, page_size=marks.low_messages + 1
    )
    message_count = tokens = 0
    low_seq = None
    for message in walk:
        message_count, tokens = message_count + 1, tokens + message.tokens
        if low_seq is not None and (message_count > marks.low_messages or 0 < marks.low_tokens < tokens):
            break
        if message.is_beginning and message.seq <= before_seq:
            low_seq = message.seq
    return low_seq


def find_step_end(connection: Connection, lineage: Lineage, *, after_seq: int, low_seq: int) -> int | None:
    """The last seq of the turns, on the way to the low mark, that one summary covers: of one at least."""
    walk = turn_boundary.walk_oldest_first(
        connection, lineage, after_seq=after_seq, to_seq=low_seq, page_size=COVERED_MESSAGES + 1
    )
    message_count = tokens = 0
    end = None
    for message in walk:
        is_full = message_count > COVERED_MESSAGES or tokens > COVERED_TOKENS
        if end is not None and is_full:
            break
        if message.is_beginning and message_count:
            end = message.seq - 1
        message_count, tokens = message_count + 1, tokens + message.tokens
    return end
