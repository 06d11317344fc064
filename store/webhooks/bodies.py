"""The body of an event, composed once: with ids, and with what a person needs who is to decide something."""

from typing import Any

from sqlalchemy import Connection, select

from conversation.branch_address import split_address
from conversation.webhooks import WebhookKind, fill_link, write_body
from store.database.statements import AnyRow
from store.tables import pending_calls


def compose_body(connection: Connection, row: AnyRow, link_template: str | None) -> str:
    """Compose the body of a delivery: a row of it, with the address of its branch as `thread_id`."""
    thread_id, branch = split_address(row.thread_id)
    data: dict[str, Any] = {"tenant": row.tenant, "thread_id": thread_id}
    if branch is not None:
        data["branch"] = branch
    if row.turn_id is not None:
        data["turn_id"] = row.turn_id
    data |= row.details
    if row.kind != WebhookKind.TURN_FAILED:
        data.pop("error_kind", None)
    if row.kind == WebhookKind.TURN_WAITING:
        data["calls"] = [_describe_call(call, data, link_template) for call in _load_open_calls(connection, row)]
    return write_body(row.kind, row.created_at, data)


def _load_open_calls(connection: Connection, row: AnyRow) -> list[AnyRow]:
    """The calls of a turn that nobody has decided yet, in the order of asking."""
    order = pending_calls.c.requested_at, pending_calls.c.step_index, pending_calls.c.call_id
    of_turn = (pending_calls.c.turn_id == row.turn_id) & (pending_calls.c.tenant == row.tenant)
    # The end of another turn is nothing that a person decides.
    is_open = pending_calls.c.decision.is_(None) & (pending_calls.c.kind != "child")
    return list(connection.execute(select(pending_calls).where(of_turn, is_open).order_by(*order)))


def _describe_call(call: AnyRow, data: dict[str, Any], link_template: str | None) -> dict[str, Any]:
    """A call as a person is to see it: the text of its arguments is what runs, to the byte, as its digest says."""
    description = {
        "call_id": call.call_id,
        "kind": call.kind,
        "name": call.name,
        "arguments": call.arguments,
        "digest": call.arguments_digest,
        "question": call.question,
        "choices": call.choices,
        "schema": call.schema,
        "expires_at": call.expires_at.isoformat(),
    }
    if link_template is not None:
        description["link"] = fill_link(link_template, {**data, "call_id": call.call_id})
    return description
