"""The options and the stores that commands share."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from producers import Producer
    from store.database.engine import Database
    from store.settings import Settings
    from store.thread_store import ThreadStore

T = TypeVar("T")

#: Options that several commands have.
Tenant = Annotated[str, typer.Option(help="Whose threads.")]
TurnTenant = Annotated[
    str | None,
    typer.Option("--tenant", help="Turns of this tenant; without it, of whichever, and it is said of which."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DEFAULT_TENANT = "default"


def name_tenant(tenant: str) -> str:
    """The tenant of what a command did something to, to go behind it; nothing for the default one."""
    return "" if tenant == DEFAULT_TENANT else f" (tenant {tenant})"


def use_store(tenant: str, work: "Callable[[ThreadStore], Coroutine[Any, Any, T]]") -> T:
    """Run a command's work on the thread store that the environment names. Raises `DatabaseUnavailable`."""
    import asyncio

    from conversation.logs import use_standard_logging
    from store.settings import load
    from store.thread_store import ThreadStore

    async def open_and_work() -> T:
        async with await ThreadStore.create(settings=load(), tenant=tenant) as store:
            return await work(store)

    use_standard_logging()
    return asyncio.run(open_and_work())


@contextmanager
def open_database(**changes: float) -> "Iterator[tuple[Database, Settings]]":
    """Open the database that the environment names, with changes to its settings."""
    from conversation.logs import use_standard_logging
    from store.database.engine import Database
    from store.settings import load

    use_standard_logging()
    settings = load().model_copy(update=changes)
    database = Database(settings)
    try:
        yield database, settings
    finally:
        database.close()


@contextmanager
def open_producer() -> "Iterator[Producer]":
    """Open a producer for the time of one command."""
    from conversation.logs import use_standard_logging
    from producers import Producer

    use_standard_logging()
    producer = Producer()
    try:
        yield producer
    finally:
        producer.close()
