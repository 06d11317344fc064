"""The sweep: turns that wait although no worker runs them, because a wake-up was lost or a worker died.

What stays true: one wake-up a thread, bounded; a turn is marked as notified in the same transaction that
picks it, so that two sweeps at once notify each thread once. A thread is notified again only where the broker has
fewer wake-ups than there are turns that wait for one: those that were notified longest ago have lost theirs, or as
good as. So a queue without a worker stays as long as what waits, and an empty one is filled again after the grace.

A sweep looks at a window of the turns that wait, the longest without a notification first, and notifies the oldest
in it: it costs the same however long the backlog is. Where turns that cannot start yet fill the window, they go to
the end of the line. It is one call of a function in PostgreSQL, and a plain statement elsewhere: both do the same.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection

from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE, WakeUp
from store.database.engine import Database
from store.database.function_calls import FunctionCall, call_within, has_functions
from store.turns import sweep_request, sweep_statements
from store.turns.sweep_request import NOTHING_IN_BROKER, QueueLengths, SweepRequest, build_wake_up


def pick_wake_ups(
    connection: Connection,
    *,
    grace_seconds: float | None,
    limit: int,
    tenant_max_running: int = 0,
    tenant: str | None = None,
    thread_keys: Collection[int] | None = None,
    in_broker: QueueLengths = NOTHING_IN_BROKER,
) -> list[WakeUp]:
    """Pick the heads that no worker holds and whose wake-up is lost, or was never published; mark them as notified.

    Picks those of one tenant, of some threads, or of all; none of tenants that run as many turns as they may. A
    wake-up is lost after the grace, unless it may still be `in_broker`, as who looks at all turns can tell; without a
    grace, never.
    """
    request = SweepRequest(
        grace_seconds=grace_seconds,
        limit=limit,
        tenant_max_running=tenant_max_running,
        in_broker=in_broker,
        tenant=tenant,
        thread_keys=thread_keys,
    )
    if has_functions(connection):
        return _read(call_within(connection, build_call(request)))
    return sweep_statements.pick_wake_ups(connection, request)


def pick_wake_ups_alone(
    database: Database,
    *,
    grace_seconds: float,
    limit: int,
    tenant_max_running: int = 0,
    in_broker: QueueLengths = NOTHING_IN_BROKER,
) -> list[WakeUp]:
    """As `pick_wake_ups` of all turns, in a transaction of its own: in one round trip, where it has functions."""
    request = SweepRequest(
        grace_seconds=grace_seconds, limit=limit, tenant_max_running=tenant_max_running, in_broker=in_broker
    )
    if database.has_functions:
        return _read(database.call(build_call(request)))
    return database.run(sweep_statements.pick_wake_ups, request)


def build_call(request: SweepRequest) -> FunctionCall:
    """The call that picks."""
    return FunctionCall(
        "pick_wake_ups_v1",
        {
            "p_grace_seconds": request.grace_seconds,
            "p_limit": request.limit,
            "p_window": request.window,
            "p_tenant_max_running": request.tenant_max_running,
            "p_in_broker": request.in_broker.get(TURNS_QUEUE, 0),
            "p_quarantined": request.in_broker.get(QUARANTINE_QUEUE, 0),
            "p_stuck_seconds": sweep_request.STUCK_SECONDS,
            "p_tenant": request.tenant,
            "p_thread_keys": None if request.thread_keys is None else sorted(request.thread_keys),
        },
        # A mark that is forgotten has its turn be notified once more.
        commits_lazily=True,
    )


def _read(value: Any) -> list[WakeUp]:
    return [build_wake_up(*row) for row in value or ()]
