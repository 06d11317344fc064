"""Verbs of sources of inbound webhooks, by which other programs send messages: make, disable and delete them.

What stays true: they need the scope `operate`, and a key that is bound to no user. A secret is shown once, so a request
that makes one is not repeated: the secret of the first would be lost, and with it what is signed by it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from threadmill_client.answers import delete, take
from threadmill_client.decoding import read_model, read_models
from threadmill_client.inbound_source_models import InboundSource, InboundSourceSecret
from threadmill_client.wire import Plan, Request, drop_nones, json_request, path


def create_inbound_source(
    name: str,
    mapping: Mapping[str, Any],
    *,
    scheme: str | None = None,
    header: str | None = None,
    only: Mapping[str, Sequence[Any]] | None = None,
    agent: str | None = None,
    when_busy: str | None = None,
    priority: int | None = None,
    max_bytes: int | None = None,
    secret: str | None = None,
) -> Plan[InboundSourceSecret]:
    """Make a source: an address to which another program posts its webhooks, and the secret that it signs them with.

    `mapping` has templates for `thread_id`, `text`, `idempotency_key`, and perhaps `user` and `metadata`. `secret` is
    the sender's, where it has one of its own. It is sent once, since its secret is stored in no answer: after
    `ConnectionLost`, look whether it is in the list.
    """
    values = drop_nones(
        name=name,
        mapping=mapping,
        scheme=scheme,
        header=header,
        only=only,
        agent=agent,
        when_busy=when_busy,
        priority=priority,
        max_bytes=max_bytes,
        secret=secret,
    )
    answer = yield json_request("POST", path("inbound-sources"), values, is_sent_once=True)
    return read_model(InboundSourceSecret, answer.json())


def list_inbound_sources() -> Plan[tuple[InboundSource, ...]]:
    """Read all sources, the oldest first."""
    return read_models(InboundSource, take((yield Request(method="GET", path=path("inbound-sources"))), "sources"))


def get_inbound_source(source_id: str) -> Plan[InboundSource]:
    """Read a source. Raises `NotFound`."""
    return read_model(InboundSource, (yield Request(method="GET", path=path("inbound-sources", source_id))).json())


def update_inbound_source(source_id: str, *, enabled: bool) -> Plan[InboundSource]:
    """Have a source take what comes, or refuse it as if it were not there. Raises `NotFound`."""
    where, values = path("inbound-sources", source_id), {"enabled": enabled}
    return read_model(InboundSource, (yield json_request("PATCH", where, values)).json())


def delete_inbound_source(source_id: str) -> Plan[None]:
    """Delete a source; the turns of what came stay. Raises `NotFound`."""
    yield from delete(path("inbound-sources", source_id))


def rotate_inbound_source_secret(
    source_id: str, *, grace_seconds: int | None = None, secret: str | None = None
) -> Plan[InboundSourceSecret]:
    """Give a source a new secret, or the sender's; the one before is good as well for `grace_seconds`, or a day.

    It is sent once.
    """
    where = path("inbound-sources", source_id, "rotate-secret")
    answer = yield json_request(
        "POST", where, drop_nones(grace_seconds=grace_seconds, secret=secret), is_sent_once=True
    )
    return read_model(InboundSourceSecret, answer.json())
