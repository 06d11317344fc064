"""Sources of inbound webhooks: create, list, disable and delete them, rotate their secrets.

What stays true: a secret is returned once, by the call that makes or stores it; a source of another tenant is not
there.
"""

import secrets as random_secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, TypedDict, Unpack

from conversation.inbound_signature import Scheme
from conversation.inbound_source import InboundSourceRecord, NewInboundSource, make_source_id
from conversation.webhooks import make_secret
from conversation.when_busy import WhenBusy
from store.database.engine import Database, PatientRunner
from store.inbound import sources
from store.inbound.sources import DEFAULT_GRACE, InboundSourceRequest
from store.settings import Settings
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


class InboundSources:
    """The sources of inbound webhooks of one installation. All methods block."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._sealed_secrets = SealedSecrets(settings)

    def create(
        self,
        name: str,
        mapping: Mapping[str, Any],
        *,
        secret: str | None = None,
        **options: Unpack[InboundSourceKeywords],
    ) -> NewInboundSource:
        """See `producers.create_inbound_source`."""
        request = InboundSourceRequest(name=name, mapping=mapping, **options)
        request.values()
        text = make_inbound_secret(request.scheme) if secret is None else secret
        of_new = make_source_id(), request, text, self._sealed_secrets
        source = self._runner(request.tenant).run(sources.create_source, *of_new)
        return NewInboundSource(source=source, secret=text)

    def list(self, *, tenant: str | None = "default") -> list[InboundSourceRecord]:
        """See `producers.list_inbound_sources`; of all tenants with None."""
        return self._runner(tenant).run(sources.list_sources, tenant)

    def find(self, source_id: str, *, tenant: str = "default") -> InboundSourceRecord:
        """See `producers.find_inbound_source`."""
        return self._runner(tenant).run(sources.read_source, tenant, source_id)

    def enable(self, source_id: str, *, enabled: bool = True, tenant: str = "default") -> InboundSourceRecord:
        """See `producers.enable_inbound_source`."""
        return self._runner(tenant).run(sources.enable_source, tenant, source_id, enabled=enabled)

    def rotate_secret(
        self, source_id: str, *, secret: str | None = None, grace: timedelta = DEFAULT_GRACE, tenant: str = "default"
    ) -> NewInboundSource:
        """See `producers.rotate_inbound_source`."""
        text = make_inbound_secret(self.find(source_id, tenant=tenant).scheme) if secret is None else secret
        of_new = tenant, source_id, text, self._sealed_secrets
        return NewInboundSource(
            source=self._runner(tenant).run(sources.rotate_source, *of_new, grace=grace), secret=text
        )

    def delete(self, source_id: str, *, tenant: str = "default") -> None:
        """See `producers.delete_inbound_source`."""
        self._runner(tenant).run(sources.delete_source, tenant, source_id)

    def _runner(self, tenant: str | None) -> PatientRunner:
        return self._database.acting_for(tenant)


def make_inbound_secret(scheme: str) -> str:
    """A secret of 256 random bits, as the scheme writes it."""
    return make_secret() if scheme == Scheme.STANDARD_WEBHOOKS else random_secrets.token_urlsafe(32)
