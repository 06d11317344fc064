"""Claiming a thread: take its lease, move its head's inputs into the history, freeze its window.

What stays true: the thread's row is locked first, and the head is read in a later statement, since
an older snapshot would miss what the last holder committed. A claim that finds nothing to do
changes nothing but, at most, giving the lease back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    update,
)

from conversation.errors import Fault
from conversation.turn import ClaimedTurn, Lease, TurnError
from conversation.untrusted_text import fenced
from store.database.column_types import clock
from store.database.statements import AnyRow, Write, together
from store.history import message_rows
from store.history.counters import estimate_of, inbox_tokens
from store.history.message_rows import SAID
from store.tables import context, messages, summaries, threads, turn_inputs, turns
from store.turns import journal
from store.turns.next_turn import can_start, has_room, head_of, is_abandoned, is_alive

#: Crashes of a shared process that a turn may stand in before it must run alone.
SHARED_CRASHES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """Who claims, and under which rules."""

    #: Its id in `workers`.
    worker: str
    #: The library process that runs its own turns only; None for a worker.
    runner: str | None = None
    #: The one turn that it came for; None for whichever is next.
    only_turn: str | None = None
    #: It runs nothing else, so it may run what crashed others.
    runs_suspects: bool = False
    #: The agents that it serves, name → version; turns of others are left to other workers.
    agents: Mapping[str, str]
    #: Given the name of the turn's agent and the newest seq: the seq after which the window begins.
    window_start: Callable[[str, int], int] = lambda _agent, _to_seq: 0
    #: Turns of one tenant that may run at once; 0 means any number.
    tenant_max_running: int = 0


@dataclass(frozen=True, slots=True)
class Nothing:
    """No turn is due, or another worker holds the thread: its holder will look again."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """The head stood in too many crashes: it belongs to the worker that runs suspects alone."""

    turn_id: str


def claim(
    connection: Connection, tenant: str, thread_id: str, claimant: Claimant, *, held: Lease | None = None
) -> ClaimedTurn | Nothing | Suspect:
    """Take the thread's next turn. `held` is the lease of a claimant that goes on with the thread."""
    thread = _lock(connection, tenant, thread_id)
    if thread is None:
        return Nothing()
    held_fence = held.fence if held is not None else None
    owner = None if thread.fence == held_fence else thread.owner
    turn = _start_head(connection, thread, owner, claimant)
    if turn is None:
        if owner is None:
            _let_go(connection, thread)
        return Nothing()
    if turn.crashes == SHARED_CRASHES and not (claimant.runs_suspects or _is_foreign(turn, claimant)):
        connection.rollback()
        return Suspect(turn.id)
    return _claimed(connection, thread, turn, claimant)


def _lock(connection: Connection, tenant: str, thread_id: str) -> AnyRow | None:
    statement = select(
        threads.c.key,
        threads.c.id,
        threads.c.owner,
        threads.c.fence,
        threads.c.last_seq,
        threads.c.summary_id,
        threads.c.context_version,
    ).where(threads.c.tenant == tenant, threads.c.id == thread_id)
    row: AnyRow | None = connection.execute(statement.with_for_update(key_share=True)).one_or_none()
    return row


def _start_head(
    connection: Connection, thread: AnyRow, owner: str | None, claimant: Claimant
) -> AnyRow | None:
    inputs = select(func.count()).where(turn_inputs.c.turn_id == turns.c.id).scalar_subquery()
    free = not_(is_alive(owner)) if owner is not None else true()
    # Without an owner nobody died: this very process goes on, or a failover forgot that the turn had ended.
    died = turns.c.state == "running" if owner is not None else false()
    statement = (
        update(turns)
        .where(
            turns.c.position == head_of(thread.key),
            can_start(),
            or_(_is_for(claimant), is_abandoned()),
            has_room(claimant.tenant_max_running),
            free,
        )
        .values(
            state="running",
            attempt=turns.c.attempt + 1,
            # Found running without a living owner: its process died under it.
            crashes=turns.c.crashes + case((died, 1), else_=0),
            crashed_worker=case(
                (died, literal(owner, turns.c.crashed_worker.type)), else_=turns.c.crashed_worker
            ),
            # The version in force goes on with what another one began.
            agent_version=_version(claimant),
            retry_at=None,
            started_at=func.coalesce(turns.c.started_at, clock()),
            window_to_seq=func.coalesce(turns.c.window_to_seq, literal(thread.last_seq) + inputs),
            # A first claim that found no summary has frozen that, too.
            window_summary_id=case(
                (turns.c.attempt == 0, literal(thread.summary_id, turns.c.window_summary_id.type)),
                else_=turns.c.window_summary_id,
            ),
            window_context_version=func.coalesce(turns.c.window_context_version, thread.context_version),
        )
        .returning(turns, clock().label("claimed_at"))
    )
    return connection.execute(statement).one_or_none()


def _is_for(claimant: Claimant) -> ColumnElement[bool]:
    mine = turns.c.runner.is_(None) if claimant.runner is None else turns.c.runner == claimant.runner
    wanted = true() if claimant.only_turn is None else turns.c.id == claimant.only_turn
    return and_(mine, wanted, turns.c.agent.in_(sorted(claimant.agents)))


def _version(claimant: Claimant) -> ColumnElement[Any]:
    """Of the turn's agent, as the claimant serves it; as it was, for a turn that is only ended."""
    served = dict(claimant.agents)
    return case(served, value=turns.c.agent, else_=turns.c.agent_version) if served else turns.c.agent_version


def _let_go(connection: Connection, thread: AnyRow) -> None:
    """The caller held the thread and found nothing more: free it."""
    if thread.owner is not None:
        connection.execute(update(threads).where(threads.c.key == thread.key).values(owner=None))


def _claimed(connection: Connection, thread: AnyRow, turn: AnyRow, claimant: Claimant) -> ClaimedTurn:
    lease = Lease(thread_key=thread.key, worker=claimant.worker, fence=thread.fence + 1)
    summary = _summary(connection, turn)
    covered = summary.to_seq if summary is not None else 0
    # Counted from behind the summary: else the start could jump over what no summary covers yet.
    after_seq = covered + claimant.window_start(turn.agent, max(turn.window_to_seq - covered, 0))
    window = message_rows.window_rows(
        thread.key, turn.id, after_seq=after_seq, to_seq=turn.window_to_seq, inbox_after=thread.last_seq
    )
    rows = together(connection, _moves(thread, turn, lease), window)
    return ClaimedTurn(
        lease=lease,
        id=turn.id,
        tenant=turn.tenant,
        thread_id=thread.id,
        agent=turn.agent,
        attempt=turn.attempt,
        retries=turn.retries,
        seconds_left=_seconds_left(turn),
        cancel_requested=turn.cancel_requested_at is not None,
        refused=_refusal(turn, claimant),
        window=message_rows.load(connection, thread.key, rows),
        steps=journal.load(connection, turn.id) if turn.attempt > 1 else {},
        context=(*_context(connection, thread.key, turn), *_told(summary)),
        metadata=turn.metadata,
    )


def _moves(thread: AnyRow, turn: AnyRow, lease: Lease) -> list[Write]:
    """Take the lease; move the turn's inputs from the inbox to the end of the history."""
    said = [turn_inputs.c[name] for name in SAID]
    place = literal(thread.last_seq) + turn_inputs.c.index + 1
    of_turn = turn_inputs.c.turn_id == turn.id
    last_seq = max(thread.last_seq, turn.window_to_seq)
    return [
        messages.insert().from_select(
            ["thread_key", "seq", "turn_id", "tokens", *SAID],
            select(literal(thread.key), place, turn_inputs.c.turn_id, estimate_of(turn_inputs), *said).where(
                of_turn
            ),
        ),
        # Before the inbox is emptied: SQLite runs one after the other.
        update(threads)
        .where(threads.c.key == thread.key)
        .values(
            owner=lease.worker,
            fence=lease.fence,
            last_seq=last_seq,
            uncovered_messages=threads.c.uncovered_messages + (last_seq - thread.last_seq),
            uncovered_tokens=threads.c.uncovered_tokens + inbox_tokens(turn.id),
            agent=turn.agent,
            updated_at=clock(),
        ),
        delete(turn_inputs).where(of_turn),
    ]


def _is_foreign(turn: AnyRow, claimant: Claimant) -> bool:
    """Another process alone may run it; it could be claimed because that process is dead."""
    return turn.runner is not None and turn.runner != claimant.runner


def _refusal(turn: AnyRow, claimant: Claimant) -> TurnError | None:
    """Why a turn that was claimed must end without being run."""
    if _is_foreign(turn, claimant):
        return TurnError("abandoned", "the process that ran this turn for itself is gone", fault=Fault.CALLER)
    if turn.crashes > SHARED_CRASHES:
        return TurnError(
            "poison",
            f"{turn.crashes} processes died under this turn, the last one alone with it",
            fault=Fault.TOOL,
        )
    left = _seconds_left(turn)
    if left is not None and left <= 0:
        return TurnError("deadline", "the turn's deadline is over", fault=Fault.OPERATOR)
    return None


def _seconds_left(turn: AnyRow) -> float | None:
    """By the database's clock alone, whatever the worker's says."""
    if turn.deadline is None:
        return None
    left: float = (turn.deadline - turn.claimed_at).total_seconds()
    return left


def _context(connection: Connection, thread_key: int, turn: AnyRow) -> tuple[str, ...]:
    """System texts of the whole thread. No statement where there are none."""
    if not turn.window_context_version:
        return ()
    keyed = select(context.c.content).where(context.c.thread_key == thread_key).order_by(context.c.key)
    return tuple(connection.execute(keyed).scalars())


def _summary(connection: Connection, turn: AnyRow) -> AnyRow | None:
    """The summary that the window was frozen with. No statement where there is none."""
    if turn.window_summary_id is None:
        return None
    statement = select(summaries.c.content, summaries.c.to_seq).where(
        summaries.c.id == turn.window_summary_id
    )
    row: AnyRow | None = connection.execute(statement).one_or_none()
    return row


def _told(summary: AnyRow | None) -> tuple[str, ...]:
    """What users said stands in it: in a system text it would read like an instruction."""
    return () if summary is None else (fenced("Summary of the conversation before", summary.content),)
