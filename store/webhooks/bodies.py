"""The body of an event, composed once: with ids, and with what a person needs who is to decide something."""

from typing import Any

from sqlalchemy import Connection

from conversation.branch_address import split_address
from conversation.webhooks import WebhookKind, write_body
from store.database.statements import AnyRow


def compose_body(connection: Connection, row: AnyRow, link_template: str | None) -> str:
    """Compose the body of a delivery: a row of it, with the id of its thread as `thread_id`."""
    del connection, link_template
    data: dict[str, Any] = {"tenant": row.tenant, "thread_id": split_address(row.thread_id)[0]}
    if row.turn_id is not None:
        data |= {"turn_id": row.turn_id}
    data |= row.details
    if row.kind != WebhookKind.TURN_FAILED:
        data.pop("error_kind", None)
    return write_body(row.kind, row.created_at, data)
