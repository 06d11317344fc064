"""Events of webhooks that are no turn's: recorded by who brings them about. Ends and waits of turns record themselves.

What stays true: an event is a row in the transaction that brings it about, for each webhook that is told of it.
"""

from typing import Any

from sqlalchemy import Connection, select

from conversation.ids import new_id
from conversation.webhooks import WebhookKind
from store.database.column_types import clock
from store.database.statements import insert_for
from store.tables import webhook_deliveries as deliveries
from store.tables import webhooks


def record_event(
    connection: Connection,
    *,
    tenant: str,
    thread_key: int,
    kind: WebhookKind,
    agent: str | None,
    details: dict[str, Any],
) -> None:
    """Record an event of a thread for each enabled webhook of its tenant that is told of its kind and its agent."""
    of_tenant = (webhooks.c.tenant == tenant) & (webhooks.c.state == "enabled")
    rows = connection.execute(select(webhooks.c.id, webhooks.c.kinds, webhooks.c.agents).where(of_tenant)).all()
    told_ids = [
        row.id
        for row in rows
        if (row.kinds is None or kind in row.kinds) and (row.agents is None or agent in row.agents)
    ]
    event = {
        "tenant": tenant,
        "thread_key": thread_key,
        "kind": str(kind),
        "created_at": clock(),
        "details": {"agent": agent, **details},
        "state": "pending",
        "next_try_at": clock(),
    }
    for webhook_id in told_ids:
        connection.execute(insert_for(connection, deliveries).values(**event, id=new_id(), webhook_id=webhook_id))
