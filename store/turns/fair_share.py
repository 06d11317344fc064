"""The share of each tenant: whose turns are to be woken before those of tenants that run more.

What stays true: a step in an index for each tenant that is looked at, and a bounded count for each, however many turns
wait; what is picked here waits in its thread's order, as anything that the sweep picks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Select, func, literal, select, union_all

from conversation.task_contract import WakeUp
from store.database.rotation import list_tenants
from store.tables import turns
from store.turns.sweep import pick_wake_ups

#: Tenants that one look sees, at most: the next ones in rotation.
TENANTS_MAX = 20
#: Turns of one tenant that one look wakes, at most.
WAKE_UPS_MAX = 10
#: Running turns that are counted of one tenant, at most.
COUNT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Neglected:
    """The tenants that were looked at, and wake-ups of those that run less than their share."""

    wake_ups: list[WakeUp]
    #: The last tenant, behind which the next look begins; "" where all that wait were seen.
    last_tenant: str = ""


def pick_neglected(connection: Connection, *, after: str = "", tenant_max_running: int = 0) -> Neglected:
    """Pick turns of tenants that run less than an equal share of what runs, while others wait as well.

    They come before all others in the broker, and are marked as notified.
    """
    tenants = list_tenants(connection, turns, lambda rows: rows.c.state == "queued", after=after, limit=TENANTS_MAX)
    if len(tenants) <= 1:
        return Neglected([])
    running = _count_running(connection, tenants)
    share = max(1, sum(running.values()) // len(tenants))
    wake_ups: list[WakeUp] = []
    for tenant in tenants:
        missing = share - running[tenant]
        if missing > 0:
            wake_ups += pick_wake_ups(
                connection,
                grace_seconds=0,
                limit=min(missing, WAKE_UPS_MAX),
                tenant=tenant,
                tenant_max_running=tenant_max_running,
            )
    last_tenant = tenants[-1] if len(tenants) == TENANTS_MAX else ""
    return Neglected([replace(wake_up, comes_first=True) for wake_up in wake_ups], last_tenant)


def _count_running(connection: Connection, tenants: Sequence[str]) -> dict[str, int]:
    """The number of turns that run, by tenant, each up to `COUNT_MAX`."""

    def count(tenant: str) -> Select[str, int]:
        running = select(turns.c.id).where(turns.c.state == "running", turns.c.tenant == tenant).limit(COUNT_MAX)
        return select(literal(tenant).label("tenant"), func.count().label("turns")).select_from(running.subquery())

    return {row.tenant: row.turns for row in connection.execute(union_all(*map(count, tenants)))}
