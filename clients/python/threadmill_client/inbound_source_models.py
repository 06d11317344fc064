"""Sources of inbound webhooks, as the gateway tells of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from threadmill_client.decoding import Model


@dataclass(frozen=True, kw_only=True)
class InboundMapping(Model):
    """Which parts of a body are the message: templates."""

    thread_id: str = ""
    text: str = ""
    #: What tells an event that comes again.
    idempotency_key: str = ""
    #: Who asks; None is nobody.
    user: str | None = None
    #: A template for each key of the message's metadata.
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class InboundSource(Model):
    """Another program that sends messages by its webhooks, without its secrets."""

    id: str
    name: str = ""
    #: Where it posts to, at the gateway's host.
    path: str = ""
    #: How it signs: `standard-webhooks`, `hmac-sha256`, `github`, `stripe` or `token`.
    scheme: str = ""
    #: The header of its signature, or of its secret.
    header: str | None = None
    mapping: InboundMapping | None = None
    #: The values of which a body has to have one, by pointer, to be taken.
    only: Mapping[str, Any] = field(default_factory=dict, hash=False)
    #: Who answers; None is the thread's, or the default.
    agent: str | None = None
    #: What becomes of a message while its thread is busy; None leaves it to the thread.
    when_busy: str | None = None
    priority: int = 0
    #: Bytes of a body, at most.
    max_bytes: int = 0
    #: `enabled` or `disabled`.
    state: str = "enabled"
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class InboundSourceSecret(Model):
    """A source with a secret that was made for it, or stored."""

    source: InboundSource
    #: What its sender signs with. It is not shown again.
    secret: str = field(repr=False)
