"""The part of a producer that opens its webhooks, and the sources of those that come in."""

from typing import TYPE_CHECKING

from store.database.engine import Database
from store.settings import Settings

if TYPE_CHECKING:
    from producers.inbound_sources import InboundSources
    from producers.webhooks import Webhooks


class WebhookOwner:
    """A producer, as far as it has webhooks."""

    settings: Settings

    @property
    def database(self) -> Database:
        """The database of this process."""
        raise NotImplementedError

    @property
    def webhooks(self) -> "Webhooks":
        """Webhooks: who is told of a tenant's events."""
        from producers.webhooks import Webhooks

        return Webhooks(self.database, self.settings)

    @property
    def inbound_sources(self) -> "InboundSources":
        """Sources of inbound webhooks: who may send messages to a tenant's threads, and how."""
        from producers.inbound_sources import InboundSources

        return InboundSources(self.database, self.settings)
