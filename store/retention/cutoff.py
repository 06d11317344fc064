"""How far the policies reach into one thread: the cut that they ask for.

What stays true: the cut stands where a turn ends; the newest turn is whole or gone; a policy that
keeps the summary never cuts beyond what the summary covers.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select

from store.database.column_types import moment_ago
from store.database.statements import AnyRow
from store.history import turn_boundary
from store.retention.policy import Effective
from store.tables import messages, summaries, threads

#: By how much a sender's clock may be ahead of the database's before its times are not believed.
SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Reach:
    """What the policies want of a thread."""

    #: Everything up to and with this seq goes.
    cut: int
    #: The field of the policies that reaches furthest; None where none reaches beyond the cut there is.
    field: str | None
    #: The thread's row goes, too.
    whole: bool = False
    #: More is past its time, and stays because of another field: only a change of the thread frees it.
    stuck: bool = False


def reach(connection: Connection, thread: AnyRow, effective: Effective) -> Reach:
    """The cut that the policies ask for. `thread` is its row, locked by whoever is going to cut."""
    if _is_idle(connection, thread, effective.value("idle_days")):
        return Reach(thread.last_seq, "idle_days", whole=True)
    wanted = {
        "max_age_days": _past_its_age(connection, thread, effective.value("max_age_days")),
        "max_messages": _beyond_the_newest(connection, thread, effective.value("max_messages")),
    }
    limits = {
        "max_age_days": _before_the_newest(connection, thread, effective.value("keep_last")),
        "max_messages": thread.last_seq,
    }
    covered = _covered(connection, thread) if effective.value("keep_summary") else thread.last_seq
    field, cut, stuck = None, thread.retention_cut, False
    for name, seq in wanted.items():
        allowed = min(seq, limits[name], covered)
        # Half a turn is no reason to look again: the whole of it is due later, or held back as well.
        stuck |= allowed < seq
        placed = _placed(connection, thread, allowed, rounds_up=name == "max_messages" and allowed == seq)
        if placed > cut:
            field, cut = name, placed
    return Reach(cut, field, stuck=stuck)


def _placed(connection: Connection, thread: AnyRow, seq: int, *, rounds_up: bool) -> int:
    """Where a turn ends, near this seq."""
    if seq <= thread.retention_cut or seq >= thread.last_seq:
        return seq
    above = turn_boundary.at_or_above(connection, thread.key, seq) if rounds_up else None
    if above is not None:
        return above
    return turn_boundary.at_or_below(connection, thread.key, seq, above=thread.retention_cut)


def _is_idle(connection: Connection, thread: AnyRow, days: float | None) -> bool:
    if days is None:
        return False
    is_old = threads.c.updated_at < moment_ago(days=days)
    idle = select(threads.c.key).where(threads.c.key == thread.key, is_old)
    return connection.execute(idle).first() is not None


def _past_its_age(connection: Connection, thread: AnyRow, days: float | None) -> int:
    """The last message before the first one that is young enough."""
    if days is None:
        return int(thread.retention_cut)
    # Whoever sent it dates a message. None was said after its thread's last change.
    dated = _kept(thread).where(messages.c.created_at <= thread.updated_at + SKEW)
    young = dated.where(messages.c.created_at >= moment_ago(days=days))
    first = connection.execute(young.order_by(messages.c.seq).limit(1)).scalar_one_or_none()
    if first is not None:
        return int(first - 1)
    if _is_idle(connection, thread, days):
        return int(thread.last_seq)
    last = connection.execute(dated.order_by(messages.c.seq.desc()).limit(1)).scalar_one_or_none()
    return int(thread.retention_cut if last is None else last)


def _beyond_the_newest(connection: Connection, thread: AnyRow, count: int | None) -> int:
    """The last message that is not among the newest so many; the cut where there are fewer."""
    if count is None:
        return int(thread.retention_cut)
    newest = _kept(thread).order_by(messages.c.seq.desc()).offset(count).limit(1)
    found = connection.execute(newest).scalar_one_or_none()
    return int(thread.retention_cut if found is None else found)


def _before_the_newest(connection: Connection, thread: AnyRow, count: int | None) -> int:
    """As far as one may go that leaves so many."""
    return int(thread.last_seq) if count is None else _beyond_the_newest(connection, thread, count)


def _covered(connection: Connection, thread: AnyRow) -> int:
    """What the thread's summary speaks for; nothing where it has none."""
    if thread.summary_id is None:
        return int(thread.retention_cut)
    statement = select(summaries.c.to_seq).where(summaries.c.id == thread.summary_id)
    found = connection.execute(statement).scalar_one_or_none()
    return int(thread.retention_cut if found is None else max(found, thread.retention_cut))


def _kept(thread: AnyRow) -> Any:
    return select(messages.c.seq).where(
        messages.c.thread_key == thread.key, messages.c.seq > thread.retention_cut
    )
