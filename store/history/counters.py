"""The counters of what no summary of a thread covers: its messages, and their tokens.

What stays true: every write that appends to a history adds what it appended, under the thread's lock;
every write that covers more subtracts it, and a write that covers less, or moves the cutoff, counts the
messages after it again. All count a message alike, here in SQL and in `conversation/token_estimate.py`.
"""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, FromClause, ScalarSelect, Text, cast, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from conversation.message import Message
from conversation.token_estimate import CHARS_PER_TOKEN, TOKENS_PER_MESSAGE, estimate_tokens
from store.lineage import Lineage
from store.tables import inbox_messages, messages, threads, turns


def tokens_of(message: Message) -> int:
    """The tokens that are stored for a message: the provider's count of a reply, else an estimate.

    The provider's count of a reply with reasoning holds more than what is ever sent again.
    """
    usage = message.usage
    is_counted = message.role == "assistant" and usage is not None and usage.is_counted
    if not is_counted or usage is None or usage.is_estimate or message.reasoning:
        return estimate_tokens(message)
    return min(usage.completion_tokens, _MAX_INT) or estimate_tokens(message)


def estimate_of(table: FromClause) -> ColumnElement[int]:
    """The estimate for a row of `messages` or `inbox_messages`: of its text, without tool calls."""
    return TOKENS_PER_MESSAGE + func.length(table.c.content) // CHARS_PER_TOKEN


def inbox_tokens(turn_id: str) -> ScalarSelect[Any]:
    """The tokens of the messages that a turn's first claim moves to the history; 0 for every later claim."""
    total = select(func.coalesce(func.sum(estimate_of(inbox_messages)), 0))
    answered = select(turns.c.id).where(or_(turns.c.id == turn_id, turns.c.merged_into == turn_id))
    return total.where(inbox_messages.c.turn_id.in_(answered)).scalar_subquery()


def count_behind(lineage: Lineage, seq: Any, *conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
    """The number of messages of a history after a seq."""
    return _aggregate_after(func.count(), lineage, seq, *conditions)


def tokens_behind(lineage: Lineage, seq: Any, *conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
    """The tokens of the messages of a history after a seq."""
    return _aggregate_after(_sum_of_tokens(), lineage, seq, *conditions)


def recount(lineage: Lineage, *, after_seq: Any) -> dict[str, ScalarSelect[Any]]:
    """Count both counters of `threads` again, in a statement after the one that locked the thread."""
    return {
        "uncovered_messages": count_behind(lineage, after_seq),
        "uncovered_tokens": tokens_behind(lineage, after_seq),
    }


def subtract_covered(lineage: Lineage, *, after_seq: int, to_seq: int) -> dict[str, ColumnElement[Any]]:
    """Subtract what is newly covered from both counters of `threads`, for an update of the locked thread."""
    is_covered = messages.c.seq <= to_seq
    return {
        "uncovered_messages": threads.c.uncovered_messages - count_behind(lineage, after_seq, is_covered),
        "uncovered_tokens": threads.c.uncovered_tokens - tokens_behind(lineage, after_seq, is_covered),
    }


def stored_behind(thread_key: ColumnElement[int], seq: ColumnElement[int]) -> tuple[ScalarSelect[Any], ...]:
    """The number and the tokens of messages after a seq that are stored with a row: all of one that shares none."""
    is_behind = (messages.c.thread_key == thread_key) & (messages.c.seq > seq)
    aggregates = func.count(), _sum_of_tokens()
    return tuple(select(each).where(is_behind).correlate_except(messages).scalar_subquery() for each in aggregates)


def shared_behind(connection: Connection, seq: ColumnElement[int]) -> tuple[ScalarSelect[Any], ...]:
    """The number and the tokens of messages after a seq that a row shares with others, as its lineage says."""
    key: ColumnElement[Any]
    to_seq: ColumnElement[Any]
    if connection.dialect.name == "postgresql":
        part = func.jsonb_array_elements(threads.c.lineage, type_=JSONB).table_valued("value", name="part")
        numbers = [func.jsonb_array_element(part.c.value, place, type_=JSONB) for place in (0, 1)]
        key, to_seq = (cast(cast(number, Text), BigInteger) for number in numbers)
    else:
        part = func.json_each(threads.c.lineage).table_valued("value", name="part")
        key, to_seq = (func.json_extract(part.c.value, f"$[{place}]") for place in (0, 1))
    is_shared = (messages.c.thread_key == key) & (messages.c.seq <= to_seq) & (messages.c.seq > seq)
    aggregates = func.count(), _sum_of_tokens()
    return tuple(
        select(each).select_from(part).join(messages, is_shared).correlate(threads).scalar_subquery()
        for each in aggregates
    )


def _sum_of_tokens() -> ColumnElement[int]:
    return func.coalesce(func.sum(func.coalesce(messages.c.tokens, estimate_of(messages))), 0)


def _aggregate_after(
    aggregate: ColumnElement[Any], lineage: Lineage, seq: Any, *conditions: ColumnElement[bool]
) -> ScalarSelect[Any]:
    is_behind = lineage.holds(after_seq=seq) if isinstance(seq, int) else lineage.holds() & (messages.c.seq > seq)
    return select(aggregate).where(is_behind, *conditions).correlate_except(messages).scalar_subquery()


#: The largest number that the column `tokens` can hold.
_MAX_INT = 2**31 - 1
