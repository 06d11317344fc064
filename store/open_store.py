"""An open store: the settings, the database, the tenant and the files that all methods of a store share."""

from collections.abc import Callable
from typing import Any, Concatenate, TypeVar

from sqlalchemy import Connection

from conversation.errors import InvalidInput
from conversation.ids import new_id
from conversation.quotation import quote
from conversation.thread import Thread
from conversation.validation import check_id, check_tenant_of_user
from store.database.engine import Database
from store.file_store import FileStore
from store.settings import Settings

T = TypeVar("T")


class OpenStore:
    """The common part of the classes that `ThreadStore` is made of, each with the methods of one noun."""

    #: The settings that the store was opened with.
    settings: Settings
    #: The database of its rows.
    database: Database
    #: The tenant whose threads it keeps.
    tenant: str

    def __init__(self, settings: Settings, *, tenant: str = "default", file_store: FileStore | None = None) -> None:
        self.settings = settings
        self.tenant = check_tenant_of_user(tenant)
        self.database = Database(settings, tenant=self.tenant)
        #: Where attachments of saved messages go; an agent that has one brings its own.
        self.file_store = file_store
        #: Names the database, for a thread to know where it is stored.
        self.identity = new_id() if self.is_in_memory else str(self.database.url)

    @property
    def is_in_memory(self) -> bool:
        """Whether the threads are in memory, and gone with this object."""
        return self.database.is_in_memory

    def _own(self, options: dict[str, Any]) -> dict[str, Any]:
        """Options of a verb, bound to this store's tenant. Raises `InvalidInput` where they name another one."""
        tenant = options.get("tenant", self.tenant)
        if not isinstance(tenant, str) or str.__ne__(tenant, self.tenant):
            raise InvalidInput("tenant", f"is {quote(tenant)} in a store for {self.tenant!r}", "open a store for it")
        return options | {"tenant": self.tenant}

    async def _run_on_thread(
        self, operation: Callable[Concatenate[Connection, ...], T], thread_id: str, **arguments: Any
    ) -> T:
        """Run an operation on a thread of this tenant. Raises `InvalidInput` for an id that no thread can have."""
        check_id("thread_id", thread_id)
        return await self.database.run_async(operation, tenant=self.tenant, thread_id=thread_id, **arguments)

    async def _open_file_store(self) -> FileStore:
        if self.file_store is None:
            self.file_store = await FileStore.create(settings=self.settings)
        return self.file_store

    def _set_home(self, thread: Thread) -> Thread:
        thread.store_identity = self.identity
        return thread
