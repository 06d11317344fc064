"""Verbs of the calls that turns wait for: read what is asked, and decide it.

What stays true: a call is decided once. The same decision again is fine, another one raises `Conflict`; so does a
`digest` of other arguments than those that would run. The last decision that a turn waits for has it go on.
"""

from collections.abc import Mapping
from typing import Any

from threadmill_client.answers import take
from threadmill_client.decoding import read_model, read_models
from threadmill_client.listings import Listing
from threadmill_client.models import PendingCall
from threadmill_client.wire import Plan, Request, drop_nones, idempotency, json_request, path


def list_pending(*, user: str | None = None, page_size: int | None = None) -> Listing[PendingCall]:
    """List what turns wait for, the oldest first: of all that the key may see, or where one user asks."""
    query = drop_nones(user=user, limit=page_size)
    return Listing(where=path("pending"), name="pending", kind=PendingCall, query=query)


def read_pending(turn_id: str) -> Plan[tuple[PendingCall, ...]]:
    """Read what a turn waits for, with the arguments that would run. Raises `NotFound`."""
    answer = yield Request(method="GET", path=path("turns", turn_id, "pending"))
    return read_models(PendingCall, take(answer, "pending"))


def approve_call(turn_id: str, call_id: str, *, digest: str | None = None) -> Plan[PendingCall]:
    """Have a call run as it was shown; with its `digest`, only if it is that one still."""
    return (yield from _decide(turn_id, call_id, "approve", digest=digest))


def deny_call(turn_id: str, call_id: str, reason: str | None = None, *, digest: str | None = None) -> Plan[PendingCall]:
    """Have a call not run, or a question not answered; the model reads the reason."""
    return (yield from _decide(turn_id, call_id, "deny", digest=digest, **drop_nones(reason=reason)))


def edit_call(
    turn_id: str, call_id: str, arguments: Mapping[str, Any], *, digest: str | None = None
) -> Plan[PendingCall]:
    """Have a call run with other arguments: all that it has."""
    return (yield from _decide(turn_id, call_id, "edit", digest=digest, arguments=dict(arguments)))


def answer_call(turn_id: str, call_id: str, value: Any, *, digest: str | None = None) -> Plan[PendingCall]:
    """Answer a question, with one of its choices if it has any. Raises `InvalidRequest` for another value."""
    return (yield from _decide(turn_id, call_id, "answer", digest=digest, value=value))


def give_result(turn_id: str, call_id: str, content: Any, *, digest: str | None = None) -> Plan[PendingCall]:
    """Give what a tool returned that you run yourself, as any JSON value."""
    return (yield from _decide(turn_id, call_id, "result", digest=digest, content=content))


def _decide(turn_id: str, call_id: str, decision: str, *, digest: str | None, **values: Any) -> Plan[PendingCall]:
    body = {"decision": decision, **drop_nones(digest=digest), **values}
    answer = yield json_request("POST", path("turns", turn_id, "pending", call_id), body, headers=idempotency())
    return read_model(PendingCall, take(answer, "call"))
