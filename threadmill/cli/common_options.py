"""The options, the thread store and the printing of results that commands share."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from store.thread_store import ThreadStore

T = TypeVar("T")

#: Options that several commands have.
Tenant = Annotated[str, typer.Option(help="Whose threads.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DEFAULT_TENANT = "default"


@asynccontextmanager
async def open_store(tenant: str) -> AsyncIterator["ThreadStore"]:
    """Open the store that the environment names. Raises `DatabaseUnavailable`."""
    from store.settings import load
    from store.thread_store import ThreadStore

    async with await ThreadStore.create(settings=load(), tenant=tenant) as store:
        yield store


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine."""
    from conversation.logs import use_standard_logging

    use_standard_logging()
    return asyncio.run(work)


def print_json(value: object) -> None:
    """One JSON value on one line."""
    print(json.dumps(value, ensure_ascii=False, default=str))
