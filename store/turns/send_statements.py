"""Sending in plain statements, for databases without our functions: what `send_turn_v1.sql` does in one call.

What stays true: it stores and refuses the same as the function does, in the same words.
"""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Label,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
)

from conversation.branch_address import split_address
from conversation.when_busy import INTERRUPTING, WhenBusy
from store.database.column_types import clock
from store.database.statements import AnyRow, insert_as_source, insert_for
from store.history.message_rows import shared_columns
from store.history.row_ids import is_row_of
from store.notifications import notify_of_window
from store.tables import agents, inbox_messages, threads, turns
from store.tables.turns import unfinished
from store.threads.branch_rows import branch_not_found
from store.threads.ownership import adopt_thread
from store.threads.repository import ensure_thread
from store.turns.next_turn import head_id_of, is_head_awaited
from store.turns.send_refusals import (
    KNOWN_AGENTS_MAX,
    changes_too_fast,
    idempotency_conflict,
    limit_reached,
    thread_busy,
    unknown_agent,
)
from store.turns.send_request import AcceptedTurn, SendLimits, SendRequest

#: Attempts to insert a turn. A second one is needed where another transaction commits between two statements.
ACCEPT_ATTEMPTS = 5


def accept(connection: Connection, request: SendRequest, limits: SendLimits, *, mark_notified: bool) -> AcceptedTurn:
    """Store a message with its turn, without its attachments, or find the turn of the same request."""
    for _ in range(ACCEPT_ATTEMPTS):
        thread_id, branch = split_address(request.thread_id)
        if branch is None:
            ensure_thread(connection, request.tenant, thread_id, agent=request.agent, owner=request.user)
        thread = _insert_turn_with_input(connection, request, limits, mark_notified=mark_notified)
        if thread is not None:
            if thread.owner is None and request.user is not None:
                adopt_thread(connection, thread.thread_key, request.user)
            stored = _read_new_turn(connection, request)
            if stored.retry_at is not None:
                notify_of_window(connection, thread.thread_key, request.merge_window_seconds)
            is_notified = not mark_notified or stored.notified_at is not None
            return AcceptedTurn(
                request.turn_id,
                thread.address,
                is_new=True,
                thread_key=thread.thread_key,
                needs_wake_up=request.not_before is None and is_notified,
                interrupts=stored.interrupts,
            )
        earlier_turn = _find_earlier_turn_or_refuse(connection, request, limits)
        if earlier_turn is not None:
            return earlier_turn
        # What was in the way is gone, or the thread is: another transaction committed between two statements.
    raise changes_too_fast(request)


def _insert_turn_with_input(
    connection: Connection, request: SendRequest, limits: SendLimits, *, mark_notified: bool
) -> AnyRow | None:
    """Insert a turn with its message; the key and owner of its thread, or None if nothing may be inserted."""
    insert_turn = _insert_turn(connection, request, limits, mark_notified=mark_notified)
    if request.message is None:
        return connection.execute(insert_turn.returning(*_columns_of_thread(request))).one_or_none()
    new_turn = insert_as_source(connection, insert_turn, turns, "id", request.turn_id)
    columns = shared_columns(request.message)
    statement = inbox_messages.insert().from_select(
        ["turn_id", "index", *columns],
        select(
            new_turn.c.id, literal(0), *(literal(value, inbox_messages.c[name].type) for name, value in columns.items())
        ),
    )
    return connection.execute(statement.returning(*_columns_of_thread(request))).one_or_none()


def _columns_of_thread(request: SendRequest) -> list[Label[Any]]:
    columns = {"thread_key": threads.c.key, "owner": threads.c.owner, "address": threads.c.id}
    return [
        select(column).where(_is_thread_of(request)).scalar_subquery().label(name) for name, column in columns.items()
    ]


def _insert_turn(connection: Connection, request: SendRequest, limits: SendLimits, *, mark_notified: bool) -> Insert:
    values = {
        "id": request.turn_id,
        "tenant": request.tenant,
        "state": "queued",
        "agent": request.agent,
        "local_process_id": request.local_process_id,
        "schedule_id": request.schedule_id,
        "priority": request.priority,
        "metadata": request.metadata,
        "sender": request.user,
        "not_before": request.not_before,
        "deadline": request.deadline,
        "idempotency_key": request.idempotency_key,
        "request_digest": request.digest(),
    }
    if (parent := request.parent) is not None:
        values |= {"parent_turn_id": parent.turn_id, "parent_call_id": parent.call_id, "depth": parent.depth}
    times: dict[str, ColumnElement[Any]] = {"created_at": clock()}
    if mark_notified and request.not_before is None:
        times["notified_at"] = _notification_time(request)
    row: dict[str, ColumnElement[Any]] = {name: literal(value, turns.c[name].type) for name, value in values.items()}
    row["agent"] = _chosen_agent(request, threads.c.assigned_agent)
    row["sender"] = func.nullif(row["sender"], threads.c.owner)
    if (policy := when_busy_of(request)) is not None:
        row["when_busy"] = policy
        row["steers"] = case((policy == WhenBusy.STEER, head_id_of(threads.c.key)), else_=null())
        if request.merge_window_seconds:
            window_end = clock(plus_seconds=request.merge_window_seconds)
            times["retry_at"] = case((policy == WhenBusy.MERGE, window_end), else_=null())
    source = select(threads.c.key, *row.values(), *times.values()).where(
        _is_thread_of(request),
        _is_agent_known(request),
        _is_within_limit(request.tenant, limits),
        not_(_is_refused(request)),
    )
    statement = insert_for(connection, turns).from_select(["thread_key", *row, *times], source)
    # On any conflict: its idempotency key, its own row if the answer to its commit was lost, or another message that
    # was sent to a free thread in the same moment, and bears no other, either.
    insert_or_skip: Insert = statement.on_conflict_do_nothing()
    return insert_or_skip


def when_busy_of(request: SendRequest) -> ColumnElement[Any] | None:
    """The policy of a message for a thread, of `threads`; null in the row, and None here, is to wait for the others."""
    if request.not_before is not None or request.local_process_id is not None:
        return None
    agent = _chosen_agent(request, threads.c.assigned_agent)
    of_agent = select(agents.c.when_busy).where(agents.c.name == agent).correlate(threads).scalar_subquery()
    own, default = (literal(name, turns.c.when_busy.type) for name in (request.when_busy, request.default_when_busy))
    return func.nullif(func.coalesce(own, threads.c.when_busy, of_agent, default), WhenBusy.ENQUEUE)


def _is_refused(request: SendRequest) -> ColumnElement[bool]:
    """Whether the message is to be refused while its thread, of `threads`, is busy, and that is."""
    policy = when_busy_of(request)
    if policy is None:
        return false()
    is_refused = and_(policy == WhenBusy.REJECT, head_id_of(threads.c.key).is_not(None))
    return func.coalesce(is_refused, false())


def _busy_turn_id(request: SendRequest) -> ColumnElement[Any]:
    """The turn for which a message is refused that is to be refused; null where it is not."""
    first_id = select(head_id_of(threads.c.key)).where(_is_thread_of(request), _is_refused(request))
    return first_id.scalar_subquery()


def _notification_time(request: SendRequest) -> ColumnElement[Any]:
    is_awaited: ColumnElement[bool] = is_head_awaited(threads.c.key, request.priority)
    policy = when_busy_of(request)
    if policy is not None:
        is_awaited = and_(is_awaited, func.coalesce(policy.not_in(sorted(INTERRUPTING)), true()))
        if request.merge_window_seconds:
            is_awaited = or_(is_awaited, func.coalesce(policy == WhenBusy.MERGE, false()))
    return case((is_awaited, null()), else_=clock())


def _read_new_turn(connection: Connection, request: SendRequest) -> AnyRow:
    """When the turn that was just stored was notified, until when it waits, and the one that it interrupts."""
    running = turns.alias("running")
    is_interrupted = and_(
        running.c.thread_key == turns.c.thread_key,
        running.c.state == "running",
        turns.c.when_busy.in_(sorted(INTERRUPTING)),
    )
    interrupts = select(running.c.id).where(is_interrupted).scalar_subquery().label("interrupts")
    columns = (turns.c.notified_at, turns.c.retry_at, interrupts)
    return connection.execute(select(*columns).where(turns.c.id == request.turn_id)).one()


def _find_earlier_turn_or_refuse(
    connection: Connection, request: SendRequest, limits: SendLimits
) -> AcceptedTurn | None:
    """The turn that the same request led to before; None if nothing is in the way of a new one.

    Raises `IdempotencyConflict`, `LimitReached` and `UnknownAgent`.
    """
    row = connection.execute(_select_obstacles(request, limits)).one()
    if row.turn_id is not None and (row.turn_id == request.turn_id or row.request_digest == request.digest()):
        # Its own row: the answer to its commit was lost, and nobody was notified.
        is_new = row.turn_id == request.turn_id
        needs_wake_up = is_new and request.not_before is None
        return AcceptedTurn(row.turn_id, row.address, is_new=is_new, needs_wake_up=needs_wake_up)
    if row.turn_id is not None:
        raise idempotency_conflict(request)
    if not row.is_within_limit:
        raise limit_reached(request, limits)
    if not row.is_agent_known:
        raise unknown_agent(row.chosen_agent, _list_agents(connection))
    if not row.is_branch_known:
        raise branch_not_found(request.tenant, request.thread_id)
    if row.busy_turn_id is not None:
        raise thread_busy(request, row.busy_turn_id)
    return None


def _select_obstacles(request: SendRequest, limits: SendLimits) -> Select[Any]:
    """Select the earlier turn of a request, and whether its limit and its agent would let a new one in."""
    earlier_turn = turns.alias("earlier_turn")
    is_same_request = earlier_turn.c.id == request.turn_id
    if request.idempotency_key is not None:
        is_same_request |= (earlier_turn.c.tenant == request.tenant) & (
            earlier_turn.c.idempotency_key == request.idempotency_key
        )
    # Of its own tenant alone; as an equality, it would have an index of all turns of the tenant walked through.
    is_same_request &= earlier_turn.c.tenant.is_not_distinct_from(request.tenant)
    _, branch = split_address(request.thread_id)
    one_row = select(literal(1)).subquery("one_row")
    return select(
        earlier_turn.c.id.label("turn_id"),
        earlier_turn.c.request_digest,
        select(threads.c.id).where(threads.c.key == earlier_turn.c.thread_key).scalar_subquery().label("address"),
        (true() if branch is None else exists().where(_is_thread_of(request))).label("is_branch_known"),
        _is_within_limit(request.tenant, limits).label("is_within_limit"),
        _is_agent_known(request).label("is_agent_known"),
        _chosen_agent(request, _assigned_agent(request)).label("chosen_agent"),
        _busy_turn_id(request).label("busy_turn_id"),
    ).select_from(one_row.outerjoin(earlier_turn, is_same_request))


def _is_thread_of(request: SendRequest) -> ColumnElement[bool]:
    return is_row_of(request.tenant, request.thread_id)


def _is_agent_known(request: SendRequest) -> ColumnElement[bool]:
    if request.allow_unknown_agent:
        return true()
    return exists().where(agents.c.name == _chosen_agent(request, _assigned_agent(request)))


def _assigned_agent(request: SendRequest) -> ColumnElement[Any]:
    return select(threads.c.assigned_agent).where(_is_thread_of(request)).scalar_subquery()


def _chosen_agent(request: SendRequest, assigned_agent: ColumnElement[Any]) -> ColumnElement[str]:
    """The agent that shall answer: of a sender who names none, the one that the thread was handed over to."""
    named = literal(request.agent, turns.c.agent.type)
    return func.coalesce(assigned_agent, named) if request.is_agent_default else named


def _is_within_limit(tenant: str, limits: SendLimits) -> ColumnElement[bool]:
    """Whether the tenant may have one more unfinished turn. No condition where no limit is set."""
    limit = limits.tenant_max_unfinished_turns
    if not limit:
        return true()
    of_tenant = select(literal(1)).where(turns.c.tenant == tenant, unfinished)
    # Counted up to the limit only: a tenant far above it costs no more than one that is just there.
    counted_turns = of_tenant.limit(limit).subquery()
    return select(func.count()).select_from(counted_turns).scalar_subquery() < limit


def _list_agents(connection: Connection) -> list[str]:
    names = connection.execute(select(agents.c.name).order_by(agents.c.name).limit(KNOWN_AGENTS_MAX))
    return list(names.scalars())
