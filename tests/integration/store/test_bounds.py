"""What a caller asks for is refused before it costs: by its number, its length or its depth, whichever way it comes."""

import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from conversation.message import MEMBERS_MAX, Message, ToolCall
from conversation.openai_format import MESSAGES_MAX
from conversation.parts import PARTS_MAX
from conversation.thread import Thread
from producers.send_options import SendOptions
from producers.send_request import build_request
from store.settings import load
from store.thread_store import ThreadStore
from store.threads import export_format
from store.threads.search import WORDS_MAX
from tests.tries import check_tries

#: Characters and items that nothing may take.
HUGE = 10_000_000


@dataclass(slots=True)
class Counted:
    """A list that comes one by one, and counts how much of it was read."""

    item: Any
    read: int = 0

    def __iter__(self) -> Iterator[Any]:
        for _ in range(HUGE):
            self.read += 1
            yield self.item


def _nest(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


#: Metadata that costs: by keys, by depth, by one key, by one value, by items, by what it unrolls to.
METADATA: dict[str, Callable[[], Any]] = {
    "a million keys": lambda: dict.fromkeys(map(str, range(1_000_000)), 1),
    "100,000 levels": lambda: _nest(100_000),
    "a long key": lambda: {"k" * HUGE: 1},
    "a long value": lambda: {"k": "x" * HUGE},
    "a million items": lambda: {"k": [None] * 1_000_000},
    "long keys": lambda: {f"{n:0100000}": n for n in range(20)},
}
PHRASES = {
    "long": "x" * HUGE,
    "many words": "ab " * (WORDS_MAX + 1),
    "a long phrase": f'"{"ab " * (WORDS_MAX + 1)}"',
    "exclusions": "a" + " -b" * WORDS_MAX,
    "alternatives": "a" + " or b" * 390,
    "open quotes": '"' * 1_999 + "a" * 2,
    "a long word": "x" * 501,
}
CALLS = [ToolCall("c", "n", "{}")] * (MEMBERS_MAX + 1)
FILES = [Attachment(filename="a", content=b"a")]

#: What is asked for by name → how.
ASKED: dict[str, Callable[[ThreadStore], Any]] = {
    **{
        f"{verb} with {name}": lambda store, name=name, verb=verb: _ask(store, verb, _metadata(name))
        for verb in ("list", "count", "find", "send", "message", "thread", "save")
        for name in METADATA
    },
    **{f"a search: {name}": lambda store, text=text: store.search_messages(text) for name, text in PHRASES.items()},
    "attachments": lambda _: Message(role="user", content="x", attachments=FILES * (MEMBERS_MAX + 1)),
    "tool calls": lambda _: Message(role="assistant", tool_calls=tuple(CALLS)),
    "parts together": lambda _: Message(role="user", content=["x" * 600_000] * 2),  # type: ignore[arg-type]
    "a title": lambda store: store.list_threads(title="x" * HUGE),
    "a cursor": lambda store: store.list_threads(cursor="x" * HUGE),
    "a key of context": lambda _: Thread("t").set_context("k" * HUGE, "x"),
    "a text of context": lambda _: Thread("t").set_context("k", "x" * HUGE),
    "an id": lambda store: store.get_thread("x" * HUGE),
    "deep arguments": lambda store: store.import_messages("t", [_call_with(_nest(10_000))]),
    "a long line": lambda store: store.import_thread(["x" * (export_format.LINE_MAX_CHARS + 1)]),
    "a deep line": lambda store: store.import_thread(["[" * 1_000_000]),
    "70,000 files": lambda store: store.import_thread(_write_lines(70_000)),
}


@cache
def _metadata(name: str) -> Any:
    return METADATA[name]()


def _ask(store: ThreadStore, verb: str, metadata: Any) -> Any:
    if verb == "send":
        return build_request("t", "x", SendOptions(metadata=metadata), store.settings)
    if verb == "message":
        return Message(role="user", content="x", metadata=metadata)
    if verb == "save":
        thread = Thread("t")
        thread.metadata = metadata
        return store.save_thread(thread)
    if verb == "thread":
        return store.get_or_create_thread("t", metadata=metadata)
    return getattr(store, {"list": "list_threads", "count": "count", "find": "find_threads"}[verb])(metadata=metadata)


def _call_with(arguments: Any) -> dict[str, Any]:
    call = {"id": "c", "function": {"name": "n", "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


async def _write_lines(files: int) -> AsyncIterator[str]:
    """An export of one message a file, that does not end: it must not be read as far as that."""
    yield json.dumps({"kind": "thread", "thread": {}})
    for number in range(files):
        yield json.dumps({"kind": "message", "attachments": [{"sha256": f"{number:064x}", "filename": "a", "size": 1}]})


async def test_what_is_too_much_is_refused_before_it_costs() -> None:
    store = ThreadStore.open_in_memory()
    accepted: list[str] = []
    refusals: dict[str, str] = {}
    for name, ask in ASKED.items():
        try:
            await _await(ask(store))
            accepted.append(name)
        except InvalidInput as error:
            refusals[name] = str(error)

    assert accepted == []
    assert max(map(len, refusals.values())) < 500
    assert "attachments: are too many" in refusals["70,000 files"]
    assert await store.count() == 0
    await store.close()
    check_tries("requests for more than fits, each way in", tries=len(ASKED), successes=len(accepted))


async def _await(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value


@pytest.mark.parametrize(
    ("limit", "item", "ask"),
    [
        (PARTS_MAX, "x", lambda _, items: Message(role="user", content=list(items))),
        (MESSAGES_MAX, {"role": "user", "content": "x"}, lambda store, items: store.import_messages("t", iter(items))),
        (20, FILES[0], lambda _, items: build_request("t", "x", SendOptions(attachments=items), load())),
    ],
)
async def test_a_list_without_an_end_is_read_no_further_than_its_limit(limit: int, item: Any, ask: Any) -> None:
    store = ThreadStore.open_in_memory()
    items = Counted(item)
    if limit == PARTS_MAX:
        with pytest.raises(InvalidInput, match=f"at most {limit} fit"):
            ask(store, [item] * (limit + 1))
        return

    with pytest.raises(InvalidInput, match=f"at most {limit} fit"):
        await _await(ask(store, items))

    assert items.read == limit + 1
    await store.close()


async def test_lines_are_counted_before_any_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_format, "LINES_MAX", 10)
    lines = Counted('{"kind": "end"}')
    spool = io.StringIO()

    with pytest.raises(InvalidInput, match="at most 10 lines"):
        await export_format.spool_lines(lines, spool)

    assert lines.read == 11
