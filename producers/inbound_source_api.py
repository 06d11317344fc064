"""The functions of this package that are about sources of inbound webhooks, on the producer of this process."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Unpack

from conversation.inbound_source import InboundSourceRecord, NewInboundSource
from producers.api import default_producer, move_to_thread
from producers.inbound_sources import InboundSourceKeywords
from store.inbound.sources import DEFAULT_GRACE


def create_inbound_source(
    name: str, mapping: Mapping[str, Any], *, secret: str | None = None, **options: Unpack[InboundSourceKeywords]
) -> NewInboundSource:
    """Create a source of webhooks: an address at the gateway, and how a body there becomes a message.

    `mapping` has templates for `thread_id`, `text`, `idempotency_key`, and perhaps `user` and `metadata`, in which
    `{/json/pointer}`, `{header:name}` and `{sha256}` are values of the request. `secret` is the sender's, of 16 to
    512 characters; without one, a new one is made. A tenant has 200 sources at most. Raises `InvalidInput`,
    `LimitReached`, `InvalidSettings` and `DatabaseUnavailable`.
    """
    return default_producer().inbound_sources.create(name, mapping, secret=secret, **options)


def list_inbound_sources(*, tenant: str = "default") -> list[InboundSourceRecord]:
    """The sources of a tenant, the oldest first, without their secrets. Raises `DatabaseUnavailable`."""
    return default_producer().inbound_sources.list(tenant=tenant)


def find_inbound_source(source_id: str, *, tenant: str = "default") -> InboundSourceRecord:
    """A source of a tenant, without its secrets. Raises `InboundSourceNotFound` and `DatabaseUnavailable`."""
    return default_producer().inbound_sources.find(source_id, tenant=tenant)


def enable_inbound_source(source_id: str, *, enabled: bool = True, tenant: str = "default") -> InboundSourceRecord:
    """Have a source take what comes, or refuse it as if it were not there.

    Raises `InboundSourceNotFound`, `InvalidInput` and `DatabaseUnavailable`.
    """
    return default_producer().inbound_sources.enable(source_id, enabled=enabled, tenant=tenant)


def rotate_inbound_source(
    source_id: str, *, secret: str | None = None, grace: timedelta = DEFAULT_GRACE, tenant: str = "default"
) -> NewInboundSource:
    """Give a source a new secret; what was good before is good for the grace.

    Raises `InboundSourceNotFound`, `InvalidInput`, `InvalidSettings` and `DatabaseUnavailable`.
    """
    return default_producer().inbound_sources.rotate_secret(source_id, secret=secret, grace=grace, tenant=tenant)


def delete_inbound_source(source_id: str, *, tenant: str = "default") -> None:
    """Delete a source; the turns of what came stay. Raises `InboundSourceNotFound` and `DatabaseUnavailable`."""
    default_producer().inbound_sources.delete(source_id, tenant=tenant)


create_inbound_source_async = move_to_thread(create_inbound_source)
list_inbound_sources_async = move_to_thread(list_inbound_sources)
find_inbound_source_async = move_to_thread(find_inbound_source)
enable_inbound_source_async = move_to_thread(enable_inbound_source)
rotate_inbound_source_async = move_to_thread(rotate_inbound_source)
delete_inbound_source_async = move_to_thread(delete_inbound_source)
