"""The owner of a thread, as library users see it: named once, kept by every copy, taken over by nobody unawares."""

import json
from typing import Any

import pytest

from conversation.errors import InvalidInput
from conversation.thread import Thread
from store.thread_store import ThreadStore
from tests.integration.store.threads.conftest import contents, said


async def owner_of(store: ThreadStore, thread_id: str = "t") -> str | None:
    return (await store.get_thread(thread_id)).user


#: The options of a new thread, and its owner.
MAKERS: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"user": "ann"}, "ann"),
    ({"metadata": {"user": "ann"}}, "ann"),
    ({"metadata": {"user": 42}}, "42"),
    ({"metadata": {"user": False}}, "false"),
    # `user` comes before metadata, which may say anything then.
    ({"user": "ann", "metadata": {"user": "Bob Lee"}}, "ann"),
    ({"metadata": {"user": {"id": "ann", "name": "Ann Lee"}}}, None),
    ({"metadata": {"user": ""}}, None),
    ({"metadata": {"user": None}}, None),
]


async def test_a_new_thread_is_whose_its_maker_says(store: ThreadStore) -> None:
    for number, (options, owner) in enumerate(MAKERS):
        await store.save_thread(Thread(f"saved-{number}", **options))
        made = await store.get_or_create_thread(f"made-{number}", **options)

        assert (await owner_of(store, f"saved-{number}"), made.user) == (owner, owner), options
        assert Thread.from_json(json.loads(json.dumps(made.to_json()))).user == owner


async def test_what_is_nobodys_is_theirs_who_say_so_first(store: ThreadStore) -> None:
    await store.append("t", said("1"))
    assert await owner_of(store) is None
    loaded = await store.get_thread("t")
    loaded.metadata["user"] = "ann"

    await store.save_thread(loaded)

    assert loaded.user == await owner_of(store) == "ann"


async def test_a_copy_that_was_not_loaded_cannot_take_a_thread_from_its_owner(store: ThreadStore) -> None:
    await store.save_thread(Thread("t", user="ann", messages=[said("1")]))
    stale = await store.get_thread("t")

    for options in ({"user": "bob"}, {"metadata": {"user": "bob"}}):
        with pytest.raises(InvalidInput, match=r"^user: is 'bob', and the stored thread 't' is another user's"):
            await store.save_thread(Thread("t", messages=[said("2")], **options))
    await store.append("t", said("3"))

    assert (await owner_of(store), await contents(store)) == ("ann", ["1", "3"])
    # Whoever loaded it may give it away; of two who do, the second has to look again.
    loaded = await store.get_thread("t")
    loaded.user = "carl"
    await store.save_thread(loaded)
    stale.user = "bob"
    with pytest.raises(InvalidInput, match="another user's"):
        await store.save_thread(stale)
    assert await owner_of(store) == "carl"


async def test_messages_from_elsewhere_may_come_with_their_user(store: ThreadStore) -> None:
    await store.append("appended", said("1"), user="ann")
    await store.import_messages("imported", [{"role": "user", "content": "hello"}], user="ann")

    assert [await owner_of(store, name) for name in ("appended", "imported")] == ["ann", "ann"]
    with pytest.raises(InvalidInput, match="another user's"):
        await store.append("appended", said("2"), user="bob")


async def test_a_fork_and_an_imported_copy_are_their_sources_owners(store: ThreadStore) -> None:
    await store.save_thread(Thread("t", user="ann", messages=[said("1")]))

    await store.fork("t", new_thread_id="fork")
    await store.import_thread([line async for line in store.export_thread("t")], thread_id="import")

    assert [await owner_of(store, name) for name in ("fork", "import")] == ["ann", "ann"]


async def test_a_listing_has_the_threads_of_one_user(store: ThreadStore) -> None:
    for name, user in (("a1", "ann"), ("b1", "bob"), ("a2", "ann"), ("n1", None)):
        await store.save_thread(Thread(name, user=user))

    page = await store.list_threads(user="ann", limit=1)
    following = await store.list_threads(user="ann", limit=1, cursor=page.next_cursor)

    assert [(thread.id, thread.user) for thread in (*page, *following)] == [("a2", "ann"), ("a1", "ann")]
    assert following.next_cursor is None
    assert (await store.count(user="ann"), await store.count(user="nobody")) == (2, 0)
    with pytest.raises(InvalidInput, match=r"^user: "):
        await store.list_threads(user="ann\x00")


@pytest.mark.parametrize("user", ["", "ann lee", "ann\n", "\x1b[31m", "x" * 256, "a\ud800", "..", 42])
def test_what_is_no_id_is_no_user(user: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^user: "):
        Thread("t", user=user)
