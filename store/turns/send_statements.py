"""Sending in plain statements, for databases without our functions: what `send_turn_v1.sql` does in one call.

What stays true: it stores and refuses the same as the function does, in the same words.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Label, Select, case, exists, func, literal, null, select, true

from conversation.branch_address import split_address
from store.database.column_types import clock
from store.database.statements import AnyRow, insert_as_source, insert_for
from store.history.message_rows import shared_columns
from store.tables import agents, inbox_messages, threads, turns
from store.tables.turns import unfinished
from store.threads.branch_rows import branch_not_found, is_row_of
from store.threads.ownership import adopt_thread
from store.threads.repository import ensure_thread
from store.turns.next_turn import is_head_awaited
from store.turns.send_refusals import KNOWN_AGENTS_MAX, idempotency_conflict, limit_reached, thread_busy, unknown_agent
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
            needs_wake_up = request.not_before is None and (not mark_notified or _is_notified(connection, request))
            return AcceptedTurn(
                request.turn_id, thread.address, is_new=True, thread_key=thread.thread_key, needs_wake_up=needs_wake_up
            )
        earlier_turn = _find_earlier_turn_or_refuse(connection, request, limits)
        if earlier_turn is not None:
            return earlier_turn
        # What was in the way is gone, or the thread is: another transaction committed between two statements.
    raise thread_busy(request)


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
        "priority": request.priority,
        "metadata": request.metadata,
        "sender": request.user,
        "not_before": request.not_before,
        "deadline": request.deadline,
        "idempotency_key": request.idempotency_key,
        "request_digest": request.digest(),
    }
    times: dict[str, ColumnElement[Any]] = {"created_at": clock()}
    if mark_notified and request.not_before is None:
        times["notified_at"] = case((is_head_awaited(threads.c.key, request.priority), null()), else_=clock())
    row: dict[str, ColumnElement[Any]] = {name: literal(value, turns.c[name].type) for name, value in values.items()}
    row["sender"] = func.nullif(row["sender"], threads.c.owner)
    source = select(threads.c.key, *row.values(), *times.values()).where(
        _is_thread_of(request), _is_agent_known(request), _is_within_limit(request.tenant, limits)
    )
    statement = insert_for(connection, turns).from_select(["thread_key", *row, *times], source)
    # On either conflict: its idempotency key, or its own row if the answer to its commit was lost.
    insert_or_skip: Insert = statement.on_conflict_do_nothing()
    return insert_or_skip


def _is_notified(connection: Connection, request: SendRequest) -> bool:
    statement = select(turns.c.notified_at).where(turns.c.id == request.turn_id)
    return connection.execute(statement).scalar_one() is not None


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
        raise unknown_agent(request, _list_agents(connection))
    if not row.is_branch_known:
        raise branch_not_found(request.tenant, request.thread_id)
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
    ).select_from(one_row.outerjoin(earlier_turn, is_same_request))


def _is_thread_of(request: SendRequest) -> ColumnElement[bool]:
    return is_row_of(request.tenant, request.thread_id)


def _is_agent_known(request: SendRequest) -> ColumnElement[bool]:
    return true() if request.allow_unknown_agent else exists().where(agents.c.name == request.agent)


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
