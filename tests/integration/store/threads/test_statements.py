"""What saving and loading asks of the database: as many statements, whatever the history's length."""

from collections.abc import Awaitable, Callable

import pytest

from conversation.attachment import Attachment
from conversation.thread import Thread
from store.thread_store import ThreadStore
from tests.integration.store.threads.conftest import said, statements

FEW, MANY = 10, 1_000


@pytest.fixture
async def store(store: ThreadStore) -> ThreadStore:
    """A store with a short and a long thread."""
    for length in (FEW, MANY):
        file = [Attachment(filename="a.txt", content=b"1")]
        first = said("first", attachments=file)
        await store.append(f"t{length}", first, *(said(f"word {n}") for n in range(length - 1)))
    return store


async def counted(store: ThreadStore, act: Callable[[Thread], Awaitable[object]]) -> tuple[list[str], list[str]]:
    """The statements of an act on the short thread, and on the long one."""
    seen = []
    for length in (FEW, MANY):
        thread = await store.get_thread(f"t{length}")
        with statements(store) as sent:
            await act(thread)
        seen.append(sent)
    return seen[0], seen[1]


async def test_saving_one_message_is_five_statements(store: ThreadStore) -> None:
    """The thread if it is absent, its lock, the message, the thread's own row."""

    async def save(thread: Thread) -> None:
        thread.add_message(said("new"))
        await store.save_thread(thread)

    few, many = await counted(store, save)

    assert [statement.split()[0] for statement in few] == ["INSERT", "SELECT", "SELECT", "INSERT", "UPDATE"]
    assert few == many


async def test_context_that_was_not_changed_costs_no_statement(store: ThreadStore) -> None:
    async def give_context(thread: Thread) -> None:
        thread.set_context("tone", "kind")
        await store.save_thread(thread)

    async def save(thread: Thread) -> None:
        thread.add_message(said("new"))
        await store.save_thread(thread)

    first, _ = await counted(store, give_context)
    again, _ = await counted(store, save)

    assert sum("INTO thread_context" in statement for statement in first) == 1
    assert not any("INTO thread_context" in statement for statement in again)


async def test_a_hundred_messages_are_saved_like_one(store: ThreadStore) -> None:
    async def save(thread: Thread) -> None:
        for number in range(100):
            thread.add_message(said(str(number)))
        await store.save_thread(thread)

    few, many = await counted(store, save)

    assert len(few) == len(many) == 5


async def test_saving_a_file_is_four_statements_more(store: ThreadStore) -> None:
    async def save(thread: Thread) -> None:
        thread.add_message(said("new", attachments=[Attachment(filename="b.txt", content=b"2")]))
        await store.save_thread(thread)

    few, many = await counted(store, save)

    # Announced, confirmed, held, entered; the second time its bytes are there, which needs no confirming.
    assert (len(few), len(many)) == (9, 8)


async def test_loading_is_four_statements(store: ThreadStore) -> None:
    """What is pending, the thread, its messages, and their files."""
    few, many = await counted(store, lambda thread: store.get_thread(thread.id))

    assert len(few) == len(many) == 4


async def test_loading_the_newest_asks_for_no_more(store: ThreadStore) -> None:
    few, many = await counted(store, lambda thread: store.get_thread(thread.id, last=5))

    assert few == many
    assert len(few) == 4


async def test_a_listing_is_one_statement(store: ThreadStore) -> None:
    with statements(store) as seen:
        page = await store.list_threads(limit=10, metadata={})

    assert len(page) == 2
    assert len(seen) == 1
