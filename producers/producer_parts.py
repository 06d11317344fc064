"""The parts of a producer: its connections, and what is opened when it is first asked for.

What stays true: whoever only sends messages imports no client of a file store.
"""

from functools import cached_property
from typing import TYPE_CHECKING

from producers.connections import Connections
from store.blobs import BlobStore, open_file_store
from store.database.engine import Database
from store.settings import Settings

if TYPE_CHECKING:
    from producers.branches import Branches
    from producers.uploads import Uploads


class ProducerParts:
    """The parts of one producer."""

    settings: Settings
    connections: Connections

    @property
    def database(self) -> Database:
        """The database of this process: another one in a forked child."""
        return self.connections.database

    @cached_property
    def blobs(self) -> BlobStore:
        """The store of attachments. Opened with the first one: an S3 client takes a while to import."""
        return open_file_store(self.settings)

    @property
    def uploads(self) -> "Uploads":
        """Files that clients put into the store, and fetch from it, by themselves."""
        from producers.uploads import Uploads

        return Uploads(self.database, self.blobs, self.settings)

    @property
    def branches(self) -> "Branches":
        """The branches of threads: another answer, a changed message, and the choice between them."""
        from producers.branches import Branches

        return Branches(self.connections, lambda: self.blobs)
