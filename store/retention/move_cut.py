"""Moving a thread's cut: the first thing that retention does, and what a legal hold takes back.

What stays true: the cut moves under the lock of the thread's row, and only where nobody holds the
thread, works on it, or has asked it something; from its commit on nobody reads what lies below.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, case, exists, select, update

from store.audit import note
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.history.counters import recounted
from store.retention import carried_context, policies
from store.retention.cutoff import Reach, reach
from store.retention.policy import Effective, strictest
from store.tables import messages, summaries, threads, turns
from store.tables.retention import retention_cuts
from store.tables.turns import unfinished
from store.turns.next_turn import is_alive

#: What became of a thread that was looked at: `held` by law, `busy`, or nothing of it is due.
Looked = Literal["cut", "held", "busy", "nothing"]


@dataclass(frozen=True, slots=True)
class Look:
    """What retention found at one thread."""

    came_to: Looked
    thread: AnyRow | None = None
    reach: Reach | None = None
    #: The field of the policies that decided, as the audit has it.
    policy: dict[str, Any] | None = None
    effective: Effective | None = None


def look(connection: Connection, key: int, *, locks: bool) -> Look:
    """What the policies want of this thread, and whether they may have it."""
    statement = select(threads).where(threads.c.key == key)
    if locks:
        # Whoever has it is at work on it: its turn comes with the next run.
        statement = statement.with_for_update(key_share=True, skip_locked=True)
    thread = connection.execute(statement).one_or_none()
    if thread is None:
        return Look("busy")
    # In a statement of its own: an older snapshot would miss what the last holder committed.
    state = connection.execute(_state_of(key, thread.owner)).one()
    if state.is_pending:
        return Look("nothing", thread)
    effective = strictest(policies.of_thread(connection, thread.tenant, thread.agent, thread.id))
    found = reach(connection, thread, effective)
    if found.field is None and not found.whole:
        return Look("nothing", thread, found, None, effective)
    assert found.field is not None
    came_to: Looked = "held" if thread.legal_hold else "busy" if state.is_busy else "cut"
    return Look(came_to, thread, found, effective.named(found.field), effective)


def move(connection: Connection, key: int) -> Look:
    """Move the cut as far as the policies ask. Running it twice changes nothing more."""
    found = look(connection, key, locks=True)
    if found.came_to == "nothing" and found.reach is not None:
        _note_seen(connection, found)
    if found.came_to == "cut":
        _cut(connection, found)
    return found


def is_busy(key: int, owner: str | None) -> Any:
    """Somebody works on this thread, or has asked it something."""
    asked = exists().where(turns.c.thread_key == key, unfinished)
    return asked if owner is None else asked | is_alive(owner)


def shows_from(connection: Connection, thread: AnyRow, cut: int, summary_id: str | None) -> dict[str, Any]:
    """What the thread's row says once its cut stands there: its summary, and what none covers."""
    to_seq = None
    if summary_id is not None:
        statement = select(summaries.c.to_seq).where(summaries.c.id == summary_id)
        to_seq = connection.execute(statement).scalar_one_or_none()
    covered = max(cut, to_seq or 0)
    return {
        "retention_cut": cut,
        "retained_from": _oldest(thread.key, cut),
        "retention_seen_at": None,
        "summary_id": summary_id if to_seq is not None else None,
        **recounted(thread.key, behind=covered),
    }


def _state_of(key: int, owner: str | None) -> Any:
    is_pending = exists().where(retention_cuts.c.thread_key == key)
    return select(is_pending.label("is_pending"), is_busy(key, owner).label("is_busy"))


def _note_seen(connection: Connection, found: Look) -> None:
    """Retention need not come back before the thread changes, or before the next message is too old."""
    thread, wanted, effective = found.thread, found.reach, found.effective
    assert thread is not None
    assert wanted is not None
    assert effective is not None
    waits_for_time = effective.value("max_age_days") is not None and not wanted.stuck
    values = (
        {"retained_from": _oldest(thread.key, thread.retention_cut)}
        if waits_for_time
        else {"retention_seen_at": clock()}
    )
    connection.execute(update(threads).where(threads.c.key == thread.key).values(**values))


def _oldest(key: int, cut: int) -> Any:
    """When the first message above a cut was said; now where there is none, or it claims a later time."""
    first = (
        select(messages.c.created_at)
        .where(messages.c.thread_key == key, messages.c.seq > cut)
        .order_by(messages.c.seq)
        .limit(1)
        .scalar_subquery()
    )
    return case((first < clock(), first), else_=clock())


def _cut(connection: Connection, found: Look) -> None:
    thread, wanted, effective = found.thread, found.reach, found.effective
    assert thread is not None
    assert wanted is not None
    assert effective is not None
    keeps_summary = bool(effective.value("keep_summary")) and not wanted.whole
    connection.execute(
        retention_cuts.insert().values(
            thread_key=thread.key,
            cut_before=thread.retention_cut,
            deleted_to=thread.retention_cut,
            whole=wanted.whole,
            keep_summary=keeps_summary,
            archive=bool(effective.value("archive")),
            policy=found.policy,
            summary_id=thread.summary_id,
            created_at=clock(),
        )
    )
    shown = shows_from(connection, thread, wanted.cut, thread.summary_id if keeps_summary else None)
    if keeps_summary and carried_context.carry(connection, thread, to_seq=wanted.cut):
        shown["context_version"] = thread.context_version + 1
    connection.execute(update(threads).where(threads.c.key == thread.key).values(**shown))
    said = {"after_seq": thread.retention_cut, "to_seq": wanted.cut, "policy": found.policy}
    note(connection, thread.tenant, thread.id, "retention.cut", said)
