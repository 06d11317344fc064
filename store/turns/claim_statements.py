"""Claiming in plain statements, where there are no functions: on SQLite, or where PostgreSQL shall have none.

What stays true: the thread's row is locked first, and the head is read in a later statement, since
an older snapshot would miss what the last holder committed. A claim that finds nothing due
changes nothing but, at most, the lease, which it releases. `store/functions/claim_turn_v1.sql` does the same.
"""

from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection
from sqlalchemy.sql import and_, case, delete, false, func, literal, literal_column, not_, or_, select, true, update

from conversation.turn import ClaimedTurn, Lease, RefusedTurn, TurnError
from conversation.when_busy import WhenBusy
from store import slack_messages
from store.database.column_types import clock
from store.database.statements import AnyRow, Write, convert_row, execute_together
from store.history import message_rows
from store.history.counters import estimate_of, inbox_tokens
from store.history.message_rows import SHARED_COLUMNS
from store.lineage import Lineage
from store.tables import inbox_messages, messages, threads, turns
from store.tables.turns import is_unfinished_in_thread
from store.turns import attempts, journal, pending_calls, rolled_back
from store.turns.attempts import AttemptOutcome
from store.turns.claim_request import (
    SHARED_CRASHES,
    ClaimOutcome,
    ClaimRequest,
    NothingDue,
    Quarantined,
    ending_of,
    refusal_of,
)
from store.turns.frozen_context import load_context, load_summary
from store.turns.interrupts import interrupt_in_statements
from store.turns.merging import merge_behind
from store.turns.next_turn import can_start, head_of, is_abandoned, is_alive, is_within_running_limit, must_end

#: Whether messages wait that are to be read while a turn runs. As text: SQLAlchemy names no tables in what SQLite
#: returns.
_IS_STEERED = literal_column(
    "EXISTS (SELECT 1 FROM turns AS s WHERE s.steers = turns.id AND s.state = 'queued')", Boolean
).label("is_steered")
#: The last seq that a history can have: what its column holds.
SEQ_LAST = 2**63 - 1


def claim(
    connection: Connection, tenant: str, thread_id: str, claimant: ClaimRequest, *, held: Lease | None = None
) -> ClaimOutcome:
    """Take the thread's next turn. `held` is the lease of a claimant that goes on with the thread."""
    thread = _lock_thread(connection, tenant, thread_id)
    if thread is None:
        return NothingDue()
    held_token = held.fencing_token if held is not None else None
    lease_owner = None if thread.fencing_token == held_token else thread.lease_owner
    beside = _look_beside(connection, thread)
    if lease_owner is not None and beside.is_held:
        return NothingDue()
    interrupt_in_statements(connection, thread.key)
    if beside.has_merging_turn:
        merge_behind(connection, thread, may_start(thread, lease_owner, claimant), claimant.merge_max)
    if beside.has_running_turn:
        _record_broken_attempt(connection, thread, lease_owner, claimant)
    turn = _start_next_turn(connection, thread, lease_owner, claimant)
    if turn is None:
        return _explain_no_start(connection, thread, lease_owner, claimant, has_crashed_turn=beside.has_crashed_turn)
    if not turn.window_to_seq <= SEQ_LAST:
        # SQLite goes on in floating point, where PostgreSQL refuses.
        raise OverflowError("the thread has no seq left")
    lease = Lease(thread_key=thread.key, worker=claimant.worker, fencing_token=thread.fencing_token + 1)
    error = refusal_of(turn, claimant, remaining_seconds=_seconds_left(turn), wait_is_over=_is_wait_over(turn))
    if error is not None or turn.cancel_requested_at is not None:
        return _load_refused(connection, thread, turn, lease, error)
    return _load_claimed(connection, thread, turn, lease, claimant, has_rolled_back=beside.has_rolled_back)


def _lock_thread(connection: Connection, tenant: str, thread_id: str) -> AnyRow | None:
    statement = select(
        threads.c.key,
        threads.c.id,
        threads.c.lease_owner,
        threads.c.fencing_token,
        threads.c.last_seq,
        threads.c.summary_id,
        threads.c.context_version,
        threads.c.owner,
        threads.c.lineage,
    ).where(threads.c.tenant == tenant, threads.c.id == thread_id)
    row: AnyRow | None = connection.execute(statement.with_for_update(key_share=True)).one_or_none()
    return row


def _look_beside(connection: Connection, thread: AnyRow) -> AnyRow:
    """Look at what stands beside a thread's row, now that it is locked.

    A statement that had to wait for the lock tells of other tables how they were before.
    """
    unfinished_turn = select(turns.c.id).where(turns.c.thread_key == thread.key, is_unfinished_in_thread())
    owner = literal(thread.lease_owner, threads.c.lease_owner.type)
    statement = select(
        (false() if thread.lease_owner is None else is_alive(owner)).label("is_held"),
        # Spares most claims that start nothing the question whether the head is quarantined.
        unfinished_turn.where(turns.c.crashes >= SHARED_CRASHES - 1).exists().label("has_crashed_turn"),
        # The same of the question whether an attempt broke off.
        unfinished_turn.where(turns.c.state == "running").exists().label("has_running_turn"),
        unfinished_turn.where(turns.c.when_busy == WhenBusy.MERGE).exists().label("has_merging_turn"),
        # And which tools were called in what was taken out of view; a branch may begin before that.
        select(turns.c.id).where(rolled_back.has_begun_in(Lineage.of(thread))).exists().label("has_rolled_back"),
    )
    row: AnyRow = connection.execute(statement).one()
    return row


def _record_broken_attempt(
    connection: Connection, thread: AnyRow, lease_owner: str | None, claimant: ClaimRequest
) -> None:
    """Record the end of the running attempt that this claim takes over, before it begins the next one."""
    outcome = AttemptOutcome.INTERRUPTED if lease_owner is None else AttemptOutcome.CRASHED
    is_taken_over = and_(turns.c.state == "running", may_start(thread, lease_owner, claimant))
    connection.execute(attempts.insert_ended(is_taken_over, outcome, worker=lease_owner))


def _start_next_turn(
    connection: Connection, thread: AnyRow, lease_owner: str | None, claimant: ClaimRequest
) -> AnyRow | None:
    statement = (
        update(turns)
        .where(may_start(thread, lease_owner, claimant))
        .values(_start_columns(thread, lease_owner, claimant))
        .returning(turns, clock().label("claimed_at"), _IS_STEERED)
    )
    return connection.execute(statement).one_or_none()


def may_start(thread: AnyRow, lease_owner: str | None, claimant: ClaimRequest) -> ColumnElement[bool]:
    """Whether a turn is the thread's head, and this claimant may claim it now."""
    return and_(_is_claimable_head(thread, lease_owner, claimant), not_(_is_quarantined(lease_owner, claimant)))


def _is_claimable_head(thread: AnyRow, lease_owner: str | None, claimant: ClaimRequest) -> ColumnElement[bool]:
    return and_(
        turns.c.thread_key == thread.key,
        turns.c.arrival_seq == head_of(thread.key),
        can_start(),
        or_(_is_claimable_by(claimant), is_abandoned()),
        is_within_running_limit(claimant.tenant_max_running),
        not_(is_alive(lease_owner)) if lease_owner is not None else true(),
    )


def _is_claimable_by(claimant: ClaimRequest) -> ColumnElement[bool]:
    matches_process = (
        turns.c.local_process_id.is_(None)
        if claimant.local_process_id is None
        else turns.c.local_process_id == claimant.local_process_id
    )
    matches_turn = true() if claimant.only_turn is None else turns.c.id == claimant.only_turn
    may_end = must_end() if claimant.local_process_id is None else false()
    return and_(matches_process, matches_turn, or_(turns.c.agent.in_(sorted(claimant.agents)), may_end))


def _is_quarantined(lease_owner: str | None, claimant: ClaimRequest) -> ColumnElement[bool]:
    """Whether the turn, with the crash that this claim would count, is for another worker to run alone."""
    if claimant.runs_quarantine:
        return false()
    crashes = turns.c.crashes + case((_has_crashed(lease_owner), 1), else_=0)
    return and_(crashes == SHARED_CRASHES, not_(_is_foreign(claimant)))


def _has_crashed(lease_owner: str | None) -> ColumnElement[bool]:
    """Whether the turn's process died under it: it is running, and its owner is not alive."""
    # Without an owner nothing crashed: this very process goes on, or a failover lost the turn's end.
    return turns.c.state == "running" if lease_owner is not None else false()


def _is_foreign(claimant: ClaimRequest) -> ColumnElement[bool]:
    """Whether only another process may run the turn: it can be claimed because that process is dead."""
    is_local = turns.c.local_process_id.is_not(None)
    if claimant.local_process_id is None:
        return is_local
    return and_(is_local, turns.c.local_process_id != claimant.local_process_id)


def _start_columns(thread: AnyRow, lease_owner: str | None, claimant: ClaimRequest) -> dict[str, Any]:
    answered = turns.alias("answered")
    # In one select: the columns of the turn itself would be no longer the updated row's in one below it.
    of_answered = inbox_messages.join(answered, answered.c.id == inbox_messages.c.turn_id)
    is_answered = or_(answered.c.id == turns.c.id, answered.c.merged_into == turns.c.id)
    inputs = select(func.count()).select_from(of_answered).where(is_answered).scalar_subquery()
    has_crashed = _has_crashed(lease_owner)
    return {
        "state": "running",
        "attempt": turns.c.attempt + 1,
        "crashes": turns.c.crashes + case((has_crashed, 1), else_=0),
        "crashed_worker": case(
            (has_crashed, literal(lease_owner, turns.c.crashed_worker.type)), else_=turns.c.crashed_worker
        ),
        # The version in force goes on with what another version began.
        "agent_version": _served_version(claimant),
        "retry_at": None,
        "notified_at": None,
        "started_at": func.coalesce(turns.c.started_at, clock()),
        "attempt_started_at": clock(),
        "window_to_seq": func.coalesce(turns.c.window_to_seq, literal(thread.last_seq) + inputs),
        # A first claim without a summary has frozen its absence, too.
        "window_summary_id": case(
            (turns.c.attempt == 0, literal(thread.summary_id, turns.c.window_summary_id.type)),
            else_=turns.c.window_summary_id,
        ),
        "window_context_version": func.coalesce(turns.c.window_context_version, thread.context_version),
        "first_fencing_token": func.coalesce(turns.c.first_fencing_token, thread.fencing_token + 1),
        "fencing_token": thread.fencing_token + 1,
    }


def _served_version(claimant: ClaimRequest) -> ColumnElement[Any]:
    """The agent's version as the claimant serves it; as it was, for a turn that is only ended."""
    served_versions = dict(claimant.agents)
    return (
        case(served_versions, value=turns.c.agent, else_=turns.c.agent_version)
        if served_versions
        else turns.c.agent_version
    )


def _explain_no_start(
    connection: Connection, thread: AnyRow, lease_owner: str | None, claimant: ClaimRequest, *, has_crashed_turn: bool
) -> NothingDue | Quarantined:
    """The outcome of a claim that started no turn; the lease of a caller that held the thread is released."""
    if has_crashed_turn:
        statement = select(turns.c.id).where(
            _is_claimable_head(thread, lease_owner, claimant), _is_quarantined(lease_owner, claimant)
        )
        quarantined_id = connection.execute(statement).scalar_one_or_none()
        if quarantined_id is not None:
            return Quarantined(quarantined_id)
    if lease_owner is None and thread.lease_owner is not None:
        connection.execute(update(threads).where(threads.c.key == thread.key).values(lease_owner=None))
    return NothingDue()


def _load_refused(
    connection: Connection, thread: AnyRow, turn: AnyRow, lease: Lease, error: TurnError | None
) -> RefusedTurn:
    """The turn with the ending that it must get: a failure with the error, without one a cancellation."""
    writes = move_inbox_into_history(thread, turn, lease)
    if turn.wait_expires_at is not None:
        # What nobody decided is closed; what the turn left open when it went on stays.
        writes += [pending_calls.close_open(turn.id), slack_messages.waking(turn.tenant, turn.id)]
    rows = execute_together(connection, writes, journal.select_steps(turn.id))
    ending = ending_of(turn.id, turn.agent, journal.steps_by_index(rows), error)
    return convert_row(turn, RefusedTurn, lease=lease, thread_id=thread.id, ending=ending)


def _load_claimed(
    connection: Connection, thread: AnyRow, turn: AnyRow, lease: Lease, claimant: ClaimRequest, *, has_rolled_back: bool
) -> ClaimedTurn:
    summary = load_summary(connection, thread.key, turn.window_summary_id)
    covered_to_seq = summary.to_seq if summary is not None else 0
    # Counted from behind the summary: else the start could jump over what no summary covers yet.
    after_seq = covered_to_seq + claimant.window_start(turn.agent, max(turn.window_to_seq - covered_to_seq, 0))
    lineage = Lineage.of(thread)
    window = message_rows.window_rows(
        lineage, turn.id, after_seq=after_seq, to_seq=turn.window_to_seq, inbox_after=thread.last_seq
    )
    has_journal = turn.attempt > 1 or turn.requeued_from is not None
    rows = execute_together(connection, move_inbox_into_history(thread, turn, lease), window)
    return convert_row(
        turn,
        ClaimedTurn,
        lease=lease,
        thread_id=thread.id,
        failing_seconds=_seconds_failing(turn),
        remaining_seconds=_seconds_left(turn),
        window=message_rows.load(connection, lineage, rows),
        steps=journal.load(connection, turn.id) if has_journal else {},
        pending=pending_calls.load(connection, turn.id) if has_journal else (),
        context=(
            *load_context(connection, thread.key, turn.window_context_version, summary),
            *(rolled_back.tell_calls(connection, lineage) if has_rolled_back else ()),
        ),
        user=turn.sender or thread.owner,
        thread_owner=thread.owner or turn.sender,
    )


def move_inbox_into_history(thread: AnyRow, turn: AnyRow, lease: Lease) -> list[Write]:
    """Take the lease; move the turn's inputs from the inbox to the end of the history."""
    inputs = message_rows.input_rows(turn.id)
    shared_columns = [inputs.c[name] for name in SHARED_COLUMNS]
    seq = literal(thread.last_seq) + inputs.c.position
    answered = select(turns.c.id).where(message_rows.answers_for(turn.id))
    last_seq = max(thread.last_seq, turn.window_to_seq)
    return [
        messages.insert().from_select(
            ["thread_key", "seq", "turn_id", "tokens", *SHARED_COLUMNS],
            select(literal(thread.key), seq, inputs.c.turn_id, estimate_of(inputs), *shared_columns),
        ),
        # Before the inbox is emptied: SQLite runs one after the other.
        update(threads)
        .where(threads.c.key == thread.key)
        .values(
            lease_owner=lease.worker,
            fencing_token=lease.fencing_token,
            last_seq=last_seq,
            uncovered_messages=threads.c.uncovered_messages + (last_seq - thread.last_seq),
            uncovered_tokens=threads.c.uncovered_tokens + inbox_tokens(turn.id),
            agent=turn.agent,
            # Whoever sent while this row was locked could not make it theirs.
            owner=func.coalesce(threads.c.owner, turn.sender),
            updated_at=clock(),
        ),
        delete(inbox_messages).where(inbox_messages.c.turn_id.in_(answered)),
    ]


def _seconds_failing(turn: AnyRow) -> float:
    """Seconds since what the turn needs was found away, by the database's clock alone."""
    return 0 if turn.failing_since is None else float((turn.claimed_at - turn.failing_since).total_seconds())


def _is_wait_over(turn: AnyRow) -> bool:
    """Whether what the turn waited for was not decided in time, by the database's clock alone."""
    return turn.wait_expires_at is not None and turn.wait_expires_at <= turn.claimed_at


def _seconds_left(turn: AnyRow) -> float | None:
    """Seconds until the turn's deadline, by the database's clock alone; None where it has none."""
    if turn.deadline is None:
        return None
    remaining_seconds: float = (turn.deadline - turn.claimed_at).total_seconds()
    return remaining_seconds
