"""Sources of inbound webhooks, for a producer's callers: create, list, disable and delete them, rotate their secrets.

What stays true: a secret is returned once, by the call that makes or stores it.
"""

import secrets as random_secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, TypedDict, Unpack

from conversation.inbound_signature import Scheme
from conversation.inbound_source import InboundSourceRecord, NewInboundSource, make_source_id
from conversation.webhooks import make_secret
from conversation.when_busy import WhenBusy
from producers.api import default_producer, move_to_thread
from producers.producer import Producer
from store.database.engine import PatientRunner
from store.inbound import sources
from store.inbound.sources import DEFAULT_GRACE, InboundSourceRequest
from store.webhooks.sealed_secrets import SealedSecrets


class InboundSourceKeywords(TypedDict, total=False):
    """The keyword arguments of `create_inbound_source`, for type checkers."""

    #: How the sender signs.
    scheme: Scheme | Literal["standard-webhooks", "hmac-sha256", "github", "stripe", "token"]
    #: The header of the signature or the secret, of `hmac-sha256` and `token`.
    header: str | None
    #: The values of which a body has to have one, by pointer: `{"/action": ["opened"]}`.
    only: Mapping[str, Any] | None
    #: The agent that shall answer; without it, THREADMILL_DEFAULT_AGENT or the one that the thread was handed over to.
    agent: str | None
    #: What becomes of a message while its thread is busy: `enqueue`, `merge`, …; without it, the thread says.
    when_busy: WhenBusy | str | None
    #: 0 to 9, higher is sooner; it orders threads.
    priority: int
    #: Bytes of a body, at most.
    max_bytes: int
    tenant: str


def create_inbound_source(
    name: str, mapping: Mapping[str, Any], *, secret: str | None = None, **options: Unpack[InboundSourceKeywords]
) -> NewInboundSource:
    """Create a source of webhooks: an address at the gateway, and how a body there becomes a message.

    `mapping` has templates for `thread_id`, `text`, `idempotency_key`, and perhaps `user` and `metadata`, in which
    `{/json/pointer}`, `{header:name}` and `{sha256}` are values of the request. `secret` is the sender's, of 16 to
    512 characters; without one, a new one is made. A tenant has 200 sources at most. Raises `InvalidInput`,
    `LimitReached`, `InvalidSettings` and `DatabaseUnavailable`.
    """
    producer = default_producer()
    request = InboundSourceRequest(name=name, mapping=mapping, **options)
    request.values()
    text = make_inbound_secret(request.scheme) if secret is None else secret
    source = _database(producer, request.tenant).run(
        sources.create_source, make_source_id(), request, text, SealedSecrets(producer.settings)
    )
    return NewInboundSource(source=source, secret=text)


def list_inbound_sources(*, tenant: str = "default") -> list[InboundSourceRecord]:
    """The sources of a tenant, the oldest first, without their secrets. Raises `DatabaseUnavailable`."""
    return _database(default_producer(), tenant).run(sources.list_sources, tenant)


def enable_inbound_source(source_id: str, *, enabled: bool = True, tenant: str = "default") -> InboundSourceRecord:
    """Have a source take what comes, or refuse it as if it were not there.

    Raises `InboundSourceNotFound`, `InvalidInput` and `DatabaseUnavailable`.
    """
    return _database(default_producer(), tenant).run(sources.enable_source, tenant, source_id, enabled=enabled)


def rotate_inbound_source(
    source_id: str, *, secret: str | None = None, grace: timedelta = DEFAULT_GRACE, tenant: str = "default"
) -> NewInboundSource:
    """Give a source a new secret; what was good before is good for the grace.

    Raises `InboundSourceNotFound`, `InvalidInput`, `InvalidSettings` and `DatabaseUnavailable`.
    """
    producer = default_producer()
    runner = _database(producer, tenant)
    scheme = runner.run(sources.read_source, tenant, source_id).scheme
    text = make_inbound_secret(scheme) if secret is None else secret
    source = runner.run(sources.rotate_source, tenant, source_id, text, SealedSecrets(producer.settings), grace=grace)
    return NewInboundSource(source=source, secret=text)


def delete_inbound_source(source_id: str, *, tenant: str = "default") -> None:
    """Delete a source; the turns of what came stay. Raises `InboundSourceNotFound` and `DatabaseUnavailable`."""
    _database(default_producer(), tenant).run(sources.delete_source, tenant, source_id)


create_inbound_source_async = move_to_thread(create_inbound_source)
list_inbound_sources_async = move_to_thread(list_inbound_sources)
enable_inbound_source_async = move_to_thread(enable_inbound_source)
rotate_inbound_source_async = move_to_thread(rotate_inbound_source)
delete_inbound_source_async = move_to_thread(delete_inbound_source)


def make_inbound_secret(scheme: str) -> str:
    """A secret of 256 random bits, as the scheme writes it."""
    return make_secret() if scheme == Scheme.STANDARD_WEBHOOKS else random_secrets.token_urlsafe(32)


def _database(producer: Producer, tenant: str) -> PatientRunner:
    return producer.database.acting_for(tenant)
