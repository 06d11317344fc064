"""The message that a webhook makes: its values, as a request for a turn.

What stays true: a delivery that comes again is the same turn, also where its sender wrote its body anew; the thread id
holds what came from outside in an escaped form, so that two values never make one thread.
"""

import hashlib

from conversation.inbound_mapping import InboundBody, apply_mapping, meets
from conversation.inbound_source import InboundSourceRecord
from producers.send_options import SendOptions
from producers.send_request import build_request
from store.settings import Settings
from store.turns.send_request import SendRequest


def build_inbound_request(source: InboundSourceRecord, body: InboundBody, settings: Settings) -> SendRequest | None:
    """The request that a body makes by its source's mapping; None for one that the source leaves out.

    Raises `InvalidInput` for what the mapping finds no value for, or none that can be stored.
    """
    if not meets(source.only, body.document):
        return None
    values = apply_mapping(source.mapping, body)
    options = SendOptions(
        agent=source.agent,
        idempotency_key=key_of(source, values.idempotency_key),
        metadata=values.metadata or None,
        user=values.user or None,
        tenant=source.tenant,
        priority=source.priority,
        when_busy=source.when_busy,
        # Its turn waits for the agent: what came is not lost because no worker is up yet.
        allow_unknown_agent=True,
    )
    return build_request(values.thread_id, values.text, options, settings)


def key_of(source: InboundSourceRecord, event_id: str) -> str:
    """The idempotency key of an event of a source: ids of two sources never meet."""
    return f"inbound:{source.id}:{hashlib.sha256(event_id.encode('utf-8', 'surrogatepass')).hexdigest()}"
