"""Counting what no summary of a thread covers: its messages, and their tokens.

What stays true: every write that appends to a history adds what it appended, under the thread's lock;
every write that moves the cover on takes off what it covers, and one that moves it back, or the cut,
counts again what is behind it. All count a message alike, here in
SQL and in `conversation/token_estimate.py`.
"""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, ScalarSelect, func, select

from conversation.message import Message
from conversation.token_estimate import CHARS_PER_TOKEN, PER_MESSAGE, estimated_tokens
from store.tables import messages, threads, turn_inputs


def tokens_of(message: Message) -> int:
    """What is stored as a message's tokens: the provider's count of a reply, else an estimate.

    Of a reply with reasoning the provider counts more than what is ever sent again.
    """
    usage = message.usage
    is_counted = message.role == "assistant" and usage is not None and usage.is_counted
    if not is_counted or usage is None or usage.is_estimate or message.reasoning:
        return estimated_tokens(message)
    return min(usage.completion_tokens, _INT) or estimated_tokens(message)


def estimate_of(table: FromClause) -> ColumnElement[int]:
    """The estimate for a row of `messages` or `turn_inputs`: of its text, without tool calls."""
    return PER_MESSAGE + func.length(table.c.content) // CHARS_PER_TOKEN


def inbox_tokens(turn_id: str) -> ScalarSelect[Any]:
    """Of the messages that the turn's first claim moves to the history; 0 for every later one."""
    total = select(func.coalesce(func.sum(estimate_of(turn_inputs)), 0))
    return total.where(turn_inputs.c.turn_id == turn_id).scalar_subquery()


def count_behind(thread_key: Any, seq: Any, *which: ColumnElement[bool]) -> ScalarSelect[Any]:
    """How many messages a thread has behind a place."""
    return _behind(func.count(), thread_key, seq, *which)


def tokens_behind(thread_key: Any, seq: Any, *which: ColumnElement[bool]) -> ScalarSelect[Any]:
    """The tokens of a thread's messages behind a place."""
    stored = func.coalesce(messages.c.tokens, estimate_of(messages))
    return _behind(func.coalesce(func.sum(stored), 0), thread_key, seq, *which)


def recounted(thread_key: Any, *, behind: Any) -> dict[str, ScalarSelect[Any]]:
    """Both counters of `threads`, counted again. In a statement after the one that locked the thread."""
    return {
        "uncovered_messages": count_behind(thread_key, behind),
        "uncovered_tokens": tokens_behind(thread_key, behind),
    }


def less_covered(thread_key: Any, *, after_seq: int, to_seq: int) -> dict[str, ColumnElement[Any]]:
    """Both counters of `threads`, less what is newly covered. For an update of the locked thread."""
    covered = messages.c.seq <= to_seq
    return {
        "uncovered_messages": threads.c.uncovered_messages - count_behind(thread_key, after_seq, covered),
        "uncovered_tokens": threads.c.uncovered_tokens - tokens_behind(thread_key, after_seq, covered),
    }


def _behind(
    counted: ColumnElement[Any], thread_key: Any, seq: Any, *which: ColumnElement[bool]
) -> ScalarSelect[Any]:
    statement = select(counted).where(messages.c.thread_key == thread_key, messages.c.seq > seq, *which)
    return statement.correlate_except(messages).scalar_subquery()


#: What the column `tokens` has room for.
_INT = 2**31 - 1
