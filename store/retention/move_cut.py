"""Moving a thread's cutoff: the first step of retention, which a legal hold undoes.

What stays true: the cutoff moves under the lock of the thread's row, and only where the thread is under
no legal hold, at no work, and has no unfinished turn; from its commit on messages below are not read.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, case, exists, select, update

from store.audit import write_audit_row
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.history.counters import recount
from store.history.row_ids import thread_id_of
from store.history.visibility import is_summary_of
from store.lineage import Lineage, select_range
from store.retention import carried_context, policies
from store.retention.cutoff import Cutoff, compute_cutoff
from store.retention.policy import EffectivePolicy, combine_policies
from store.tables import messages, summaries, threads, turns
from store.tables.retention import pending_deletions
from store.tables.turns import is_unfinished_in_thread
from store.turns.next_turn import is_alive

#: The outcome for an inspected thread: `cut`, `held` by a legal hold, `busy`, or `nothing` is due.
InspectionOutcome = Literal["cut", "held", "busy", "nothing"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """One thread as retention sees it: what policies ask of it, and whether its cutoff may move."""

    outcome: InspectionOutcome
    thread: AnyRow | None = None
    cutoff: Cutoff | None = None
    #: The field of the policies that decided, as the audit has it.
    policy: dict[str, Any] | None = None
    effective: EffectivePolicy | None = None


def inspect_thread(connection: Connection, key: int, *, locks: bool) -> Inspection:
    """Compute the cutoff of a thread, and check that it may move."""
    statement = select(threads).where(threads.c.key == key)
    if locks:
        # A locked row belongs to a thread at work: the next run inspects it again.
        statement = statement.with_for_update(key_share=True, skip_locked=True)
    thread = connection.execute(statement).one_or_none()
    if thread is None:
        return Inspection("busy")
    # In a statement of its own: an older snapshot would miss what the last holder committed.
    state = connection.execute(_select_state(key, thread.lease_owner)).one()
    if state.is_pending or thread.deleted_at is not None:
        return Inspection("nothing", thread)
    thread_id = thread_id_of(thread.id)
    effective = combine_policies(policies.load_policies_of_thread(connection, thread.tenant, thread.agent, thread_id))
    cutoff = compute_cutoff(connection, thread, effective)
    if cutoff.field is None and not cutoff.whole:
        return Inspection("nothing", thread, cutoff, None, effective)
    assert cutoff.field is not None
    outcome: InspectionOutcome = "held" if thread.legal_hold else "busy" if state.is_busy else "cut"
    return Inspection(outcome, thread, cutoff, effective.describe_field(cutoff.field), effective)


def move_cutoff(connection: Connection, key: int) -> Inspection:
    """Move the cutoff as far as the policies ask. Running it twice changes nothing more."""
    inspection = inspect_thread(connection, key, locks=True)
    thread, cutoff, effective = inspection.thread, inspection.cutoff, inspection.effective
    if thread is not None and cutoff is not None and effective is not None:
        if inspection.outcome == "nothing":
            _postpone_next_check(connection, thread, cutoff, effective)
        elif inspection.outcome == "cut":
            _apply_cutoff(connection, thread, cutoff, effective, policy=inspection.policy)
    return inspection


def is_busy(key: int, lease_owner: str | None) -> Any:
    """The condition for a thread that a live worker owns, or that has an unfinished turn."""
    has_unfinished_turn = exists().where(turns.c.thread_key == key, is_unfinished_in_thread())
    return has_unfinished_turn if lease_owner is None else has_unfinished_turn | is_alive(lease_owner)


def columns_at_cutoff(connection: Connection, thread: AnyRow, cutoff: int, summary_id: str | None) -> dict[str, Any]:
    """The columns of a thread's row for a new cutoff: the summary, and the counters of uncovered messages."""
    to_seq = None
    if summary_id is not None:
        statement = select(summaries.c.to_seq).where(is_summary_of(thread.key, summary_id))
        to_seq = connection.execute(statement).scalar_one_or_none()
    covered_seq = max(cutoff, to_seq or 0)
    return {
        "history_starts_after": cutoff,
        "retained_from": _oldest_message_time(thread, cutoff),
        "retention_checked_at": None,
        "summary_id": summary_id if to_seq is not None else None,
        **recount(Lineage.of(thread), after_seq=covered_seq),
    }


def _select_state(key: int, lease_owner: str | None) -> Any:
    is_pending = exists().where(pending_deletions.c.thread_key == key)
    return select(is_pending.label("is_pending"), is_busy(key, lease_owner).label("is_busy"))


def _postpone_next_check(connection: Connection, thread: AnyRow, cutoff: Cutoff, effective: EffectivePolicy) -> None:
    """Skip the thread in later runs until it changes, or until its next message is too old."""
    waits_for_time = effective.value("max_age_days") is not None and not cutoff.is_blocked
    values = (
        {"retained_from": _oldest_message_time(thread, thread.history_starts_after)}
        if waits_for_time
        else {"retention_checked_at": clock()}
    )
    connection.execute(update(threads).where(threads.c.key == thread.key).values(**values))


def _oldest_message_time(thread: AnyRow, cutoff: int) -> Any:
    """The time of the first message above a cutoff; now where there is none, or its time is in the future."""
    columns = [messages.c.seq, messages.c.created_at]
    oldest = select_range(Lineage.of(thread), columns, after_seq=cutoff, limit=1).subquery()
    first = select(oldest.c.created_at).scalar_subquery()
    return case((first < clock(), first), else_=clock())


def _apply_cutoff(
    connection: Connection, thread: AnyRow, cutoff: Cutoff, effective: EffectivePolicy, *, policy: Any
) -> None:
    keeps_summary = bool(effective.value("keep_summary")) and not cutoff.whole
    connection.execute(
        pending_deletions.insert().values(
            thread_key=thread.key,
            tenant=thread.tenant,
            cut_before=thread.history_starts_after,
            deleted_to=thread.history_starts_after,
            whole=cutoff.whole,
            keep_summary=keeps_summary,
            archive=bool(effective.value("archive")),
            policy=policy,
            summary_id=thread.summary_id,
            created_at=clock(),
        )
    )
    columns = columns_at_cutoff(connection, thread, cutoff.to_seq, thread.summary_id if keeps_summary else None)
    if keeps_summary and carried_context.copy_to_context(connection, thread, to_seq=cutoff.to_seq):
        columns["context_version"] = thread.context_version + 1
    connection.execute(update(threads).where(threads.c.key == thread.key).values(**columns))
    details = {"after_seq": thread.history_starts_after, "to_seq": cutoff.to_seq, "policy": policy}
    write_audit_row(connection, thread.tenant, thread_id_of(thread.id), "retention.cut", details)
