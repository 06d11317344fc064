"""Events of threads that are no turn's: their switches to other branches.

What stays true: it is recorded in the transaction that switches the thread. The ends and waits of turns record
themselves, by a trigger.
"""

from typing import Any

from sqlalchemy import Connection, insert, select

from conversation.ids import new_id
from conversation.webhooks import WebhookKind
from store.database.column_types import clock
from store.tables import webhook_deliveries, webhooks


def record_switch(
    connection: Connection, *, tenant: str, thread_key: int, agent: str | None, details: dict[str, Any]
) -> None:
    """Record a switch for each webhook that is told of it."""
    kind = WebhookKind.THREAD_SWITCHED
    enabled = (webhooks.c.tenant == tenant) & (webhooks.c.state == "enabled")
    rows = connection.execute(select(webhooks.c.id, webhooks.c.kinds, webhooks.c.agents).where(enabled)).all()
    for row in rows:
        if (row.kinds is None or kind in row.kinds) and (row.agents is None or agent in row.agents):
            connection.execute(
                insert(webhook_deliveries).values(
                    id=new_id(),
                    tenant=tenant,
                    webhook_id=row.id,
                    thread_key=thread_key,
                    kind=str(kind),
                    created_at=clock(),
                    details={"agent": agent, **details},
                    state="pending",
                    next_try_at=clock(),
                )
            )
