"""The cutoff of one thread: up to which message its policies ask for deletion.

What stays true: the cutoff stands where a turn ends; the newest turn is whole or gone; with a policy
that keeps the summary, the cutoff never passes the messages that the summary covers.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from store.database.column_types import moment_ago
from store.database.statements import AnyRow
from store.history import turn_boundary
from store.history.visibility import is_summary_of
from store.lineage import Lineage, select_range
from store.retention.policy import EffectivePolicy
from store.tables import messages, summaries, threads

#: By how much a sender's clock may be ahead of the database's before its times are not believed.
CLOCK_SKEW_MAX = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The cutoff that policies ask for in one thread."""

    #: Everything up to and with this seq goes.
    to_seq: int
    #: The field of the policies that decides; None where none asks for more than the present cutoff.
    field: str | None
    #: The thread's row goes, too.
    whole: bool = False
    #: More is past its time, and stays because of another field: only a change of the thread frees it.
    is_blocked: bool = False


def compute_cutoff(connection: Connection, thread: AnyRow, effective: EffectivePolicy) -> Cutoff:
    """Compute the cutoff that the policies ask for. `thread` is its row, locked if it is to move."""
    if _is_idle(connection, thread, effective.value("idle_days")):
        return Cutoff(thread.last_seq, "idle_days", whole=True)
    requested_seqs = {
        "max_age_days": _last_expired_seq(connection, thread, effective.value("max_age_days")),
        "max_messages": _last_seq_before_newest(connection, thread, effective.value("max_messages")),
    }
    limits = {"max_age_days": thread.last_seq, "max_messages": thread.last_seq}
    if (keep_last := effective.value("keep_last")) is not None:
        limits["max_age_days"] = _last_seq_before_newest(connection, thread, keep_last)
    covered_seq = _last_covered_seq(connection, thread) if effective.value("keep_summary") else thread.last_seq
    field, to_seq, is_blocked = None, thread.history_starts_after, False
    for name, seq in requested_seqs.items():
        allowed_seq = min(seq, limits[name], covered_seq)
        # Half a turn is no reason to check again: the whole of it is due later, or held back as well.
        is_blocked |= allowed_seq < seq
        aligned_seq = _align_to_turn_end(
            connection, thread, allowed_seq, rounds_up=name == "max_messages" and allowed_seq == seq
        )
        if aligned_seq > to_seq:
            field, to_seq = name, aligned_seq
    return Cutoff(to_seq, field, is_blocked=is_blocked)


def _align_to_turn_end(connection: Connection, thread: AnyRow, seq: int, *, rounds_up: bool) -> int:
    """The seq of the end of a turn, near this seq."""
    if seq <= thread.history_starts_after or seq >= thread.last_seq:
        return seq
    above = turn_boundary.find_at_or_above(connection, Lineage.of(thread), seq) if rounds_up else None
    if above is not None:
        return above
    lineage = Lineage.of(thread)
    return turn_boundary.find_at_or_below(connection, lineage, seq, above=thread.history_starts_after)


def _is_idle(connection: Connection, thread: AnyRow, days: float | None) -> bool:
    if days is None:
        return False
    # A thread is, with all its branches, or not.
    root_key = thread.key if thread.root_key is None else thread.root_key
    is_used = (threads.c.key == root_key) | (threads.c.root_key == root_key)
    is_used &= threads.c.deleted_at.is_(None) & (threads.c.updated_at >= moment_ago(days=days))
    return connection.execute(select(threads.c.key).where(is_used).limit(1)).first() is None


def _last_expired_seq(connection: Connection, thread: AnyRow, days: float | None) -> int:
    """The seq of the last message before the first one that is young enough."""
    if days is None:
        return int(thread.history_starts_after)
    # Senders date messages. A true time is never after its thread's last change.
    is_credible = messages.c.created_at <= thread.updated_at + CLOCK_SKEW_MAX
    is_young = messages.c.created_at >= moment_ago(days=days)
    first = connection.execute(_select_retained(thread, is_credible, is_young)).scalar_one_or_none()
    if first is not None:
        return int(first - 1)
    if _is_idle(connection, thread, days):
        return int(thread.last_seq)
    last = connection.execute(_select_retained(thread, is_credible, newest_first=True)).scalar_one_or_none()
    return int(thread.history_starts_after if last is None else last)


def _last_seq_before_newest(connection: Connection, thread: AnyRow, count: int | None) -> int:
    """The seq of the last message before the `count` newest; the present cutoff where there are fewer."""
    if count is None:
        return int(thread.history_starts_after)
    newest = _select_retained(thread, newest_first=True, limit=count + 1).subquery()
    query = select(newest.c.seq).order_by(newest.c.seq.desc()).offset(count).limit(1)
    seq = connection.execute(query).scalar_one_or_none()
    return int(thread.history_starts_after if seq is None else seq)


def _last_covered_seq(connection: Connection, thread: AnyRow) -> int:
    """The last seq that the thread's summary covers; the present cutoff where it has none."""
    if thread.summary_id is None:
        return int(thread.history_starts_after)
    statement = select(summaries.c.to_seq).where(is_summary_of(thread.key, thread.summary_id))
    to_seq = connection.execute(statement).scalar_one_or_none()
    return int(thread.history_starts_after if to_seq is None else max(to_seq, thread.history_starts_after))


def _select_retained(
    thread: AnyRow, *where: ColumnElement[bool], newest_first: bool = False, limit: int = 1
) -> Select[Any]:
    """The seqs of what a thread shows, of its own and of what it shares."""
    return select_range(
        Lineage.of(thread),
        [messages.c.seq],
        after_seq=thread.history_starts_after,
        where=where,
        newest_first=newest_first,
        limit=limit,
    )
