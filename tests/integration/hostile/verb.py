"""A public verb, as hostile values are tried on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from conversation.message import Message
from store.file_store import FileStore
from store.thread_store import ThreadStore
from tests.integration.hostile.stage import Stage

Make = Callable[[Stage], Any]
#: A moment that has not come.
MOMENT = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Verb:
    """One public verb."""

    #: Calls it with the stage and arguments by name.
    call: Callable[..., Any]
    #: Parameter → a value that it takes. What is not among them keeps its default.
    arguments: Mapping[str, Make] = field(default_factory=dict)
    #: Of the parameters, the hostile one alone is passed: each stands for a field.
    is_alone: bool = False
    #: Errors that it promises also where it is called as it is meant to be.
    raises: tuple[type[Exception], ...] = ()


def just(value: object) -> Make:
    """Make an argument that is the same on each stage."""
    return lambda _: value


#: The fields of a message, as parameters of which one is passed.
MESSAGE_FIELDS: dict[str, Make] = {each.name: just(None) for each in fields(Message)}


async def open_and_close(store: Any) -> str:
    """Close a store, or what an opening of one returns."""
    await (store if isinstance(store, ThreadStore | FileStore) else await store).close()
    return "closed"
