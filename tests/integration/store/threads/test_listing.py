"""Listings: complete whoever writes meanwhile, and filtered alike on every database."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from conversation.thread import Thread
from store.thread_store import ThreadStore
from store.threads import counts
from store.threads.listing import ThreadPage
from tests.integration.store.threads.conftest import said

#: What no cursor of ours holds.
FORGED = [
    base64.b64encode(text).decode()
    for text in (b"", b"[]", b"[-1]", b'["x", 1]', b"[true]", b"9", b"[99999999999999999999]", b"{}")
]


def ids(page: ThreadPage) -> list[str]:
    return [thread.id for thread in page]


async def found(store: ThreadStore, **metadata: Any) -> set[str]:
    return set(ids(await store.find_threads(metadata)))


async def test_pages_show_every_thread_once_whoever_writes_meanwhile(store: ThreadStore) -> None:
    names = [f"t{number:02}" for number in range(25)]
    for name in names:
        await store.save_thread(Thread(name))

    seen: list[str] = []
    cursor = None
    while True:
        page = await store.list_threads(limit=4, cursor=cursor)
        seen += ids(page)
        for name in names[len(seen) % 3 :: 3]:
            await store.append(name, said("more"))
        await store.save_thread(Thread(f"new-{len(seen)}"))
        if (cursor := page.next_cursor) is None:
            break

    assert seen == list(reversed(names))


async def test_a_deleted_thread_does_not_break_the_pages(store: ThreadStore) -> None:
    for number in range(6):
        await store.save_thread(Thread(f"t{number}"))
    page = await store.list_threads(limit=3)
    await store.delete_thread("t3")
    await store.delete_thread("t2")

    rest = await store.list_threads(limit=3, cursor=page.next_cursor)

    assert (ids(page), ids(rest), rest.next_cursor) == (["t5", "t4", "t3"], ["t1", "t0"], None)


async def test_threads_can_be_listed_by_who_was_written_to_last(store: ThreadStore) -> None:
    for name in ("a", "b", "c"):
        await store.save_thread(Thread(name))
    await store.append("a", said("1"))

    first = await store.list_threads(order="updated", limit=2)
    second = await store.list_threads(order="updated", limit=2, cursor=first.next_cursor)

    assert (ids(first), ids(second)) == (["a", "c"], ["b"])
    assert ids(await store.list_threads()) == ["c", "b", "a"]


@pytest.mark.parametrize("kind", ["memory"])
@pytest.mark.parametrize("limit", [0, 1_001, True, 2.0])
async def test_the_size_of_a_page_is_checked(store: ThreadStore, limit: Any) -> None:
    with pytest.raises(InvalidInput, match=r"limit: is .*; pass 1 to 1000"):
        await store.list_threads(limit=limit)


@pytest.mark.parametrize("kind", ["memory", "postgresql"])
@pytest.mark.parametrize("cursor", ["", "x", "é", "!!!!", *FORGED])
async def test_a_cursor_of_somebody_elses_is_refused(store: ThreadStore, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor: is none of ours"):
        await store.list_threads(limit=1, cursor=cursor)


async def test_a_cursor_belongs_to_its_order(store: ThreadStore) -> None:
    await store.save_threads([Thread("a"), Thread("b")])
    page = await store.list_threads(limit=1)

    with pytest.raises(InvalidInput, match="the same order"):
        await store.list_threads(limit=1, cursor=page.next_cursor, order="updated")
    with pytest.raises(InvalidInput, match="order: is 'size'"):
        await store.list_threads(order="size")  # type: ignore[arg-type]


async def test_metadata_is_compared_by_value_and_kind(store: ThreadStore) -> None:
    values = {
        "one": 1, "text": "1", "true": True, "false": False, "zero": 0, "null": None, "empty": {},
        "none": [], "list": [1, "a"], "longer": [1, "a", 2], "deep": {"x": {"y": [1]}, "z": 2},
        "word": "true",
        "big": 2**70, "é": "日本",
    }  # fmt: skip
    for name, value in values.items():
        await store.save_thread(Thread(name, metadata={"k": value}))
    await store.save_thread(Thread("without", metadata={"other": 1}))

    for name, value in values.items():
        assert await found(store, k=value) == {name}, value
    assert await found(store, k=1.0) == {"one"}
    assert await found(store, k={"z": 2, "x": {"y": [1]}}) == {"deep"}
    assert await found(store, k={"x": {"y": [1]}}) == set()
    assert await found(store, k=[1.0, "a"]) == {"list"}
    assert await found(store, k=["a", 1]) == set()
    assert await found(store, missing=None) == set()
    assert await found(store) == {*values, "without"}


async def test_every_key_of_a_filter_counts(store: ThreadStore) -> None:
    await store.save_thread(Thread("a", metadata={"x": 1, "y": 1}))
    await store.save_thread(Thread("b", metadata={"x": 1, "y": 2}))

    assert await found(store, x=1) == {"a", "b"}
    assert await found(store, x=1, y=2) == {"b"}
    assert await store.count(metadata={"x": 1, "y": 2}) == 1


odd_text = st.text(alphabet="ab.$\"'\\[]%_{}: é日\U0001f600\n", min_size=1, max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(-1e6, 1e6) | odd_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_text, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["memory", "postgresql"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=odd_text, mine=json_values, other=json_values)
@example(key='a"b\\', mine={"a.b": 1}, other={"a": {"b": 1}})
@example(key="$", mine=[1, [2]], other=[1, 2])
async def test_any_value_is_found_under_any_key(store: ThreadStore, key: str, mine: Any, other: Any) -> None:
    await store.save_threads([Thread("mine", metadata={"k": 0}), Thread("other", metadata={"k": 0})])
    for name, value in (("mine", mine), ("other", other)):
        thread = await store.get_thread(name)
        thread.metadata = {key: value}
        await store.save_thread(thread)

    expected = {"mine", "other"} if same(mine, other) else {"mine"}
    assert await found(store, **{key: mine}) == expected


def same(one: Any, other: Any) -> bool:
    """Equality of JSON: Python's own, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


async def test_part_of_a_title_is_found_whatever_it_is_made_of(store: ThreadStore) -> None:
    for name, title in {"a": "100% sure", "b": "1000 sure", "c": "a_b", "d": "axb", "e": "C:/x\\y", "f": None}.items():
        await store.save_thread(Thread(name, title=title))

    async def titled(title: str) -> set[str]:
        return set(ids(await store.list_threads(title=title)))

    assert await titled("0% S") == {"a"}
    assert await titled("A_B") == {"c"}
    assert await titled("/x\\") == {"e"}
    assert await titled("%") == {"a"}


async def test_times_bound_a_listing_and_have_a_zone(store: ThreadStore) -> None:
    first = await store.save_thread(Thread("a"))
    await asyncio.sleep(0.02)
    second = await store.save_thread(Thread("b"))
    between = first.updated_at + timedelta(milliseconds=5)

    assert ids(await store.list_threads(created_before=second.created_at)) == ["a"]
    assert ids(await store.list_threads(updated_after=first.updated_at)) == ["b"]
    assert ids(await store.list_threads(created_after=between, updated_before=datetime.now(UTC) + timedelta(1))) == [
        "b"
    ]
    with pytest.raises(InvalidInput, match="updated_before: has no time zone"):
        await store.list_threads(updated_before=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake


async def test_an_unknown_filter_is_an_error(store: ThreadStore) -> None:
    with pytest.raises(TypeError, match="owner"):
        await store.list_threads(owner="me")


async def test_another_tenants_threads_cannot_be_asked_for(store: ThreadStore) -> None:
    for tenant in ("acme", "a/b"):
        with pytest.raises(InvalidInput, match=r"^tenant: "):
            await store.list_threads(tenant=tenant)


async def test_a_listing_without_a_limit_shows_more_than_a_page(store: ThreadStore) -> None:
    await store.save_threads([Thread(f"t{number}") for number in range(150)])

    assert len(await store.list_threads()) == await store.count() == 150


async def test_stats_count_what_is_stored(store: ThreadStore) -> None:
    file = [Attachment(filename="a.txt", content=b"1234")]
    again = [Attachment(filename="b.txt", content=b"1234")]
    await store.append("t", said("1", attachments=file), said("2", attachments=again))

    stats = await store.stats()

    assert (stats.threads, stats.messages, stats.blobs, stats.blob_bytes, stats.turns) == (1, 2, 1, 4, {})
    assert stats.estimated == frozenset()


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_what_is_too_much_to_count_is_estimated_and_named(
    store: ThreadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "COUNT_MAX_COST", 0)
    await store.save_threads([Thread(f"t{number}") for number in range(40)])
    for number in range(20):
        file = Attachment(filename="a.txt", content=b"x" * (number + 1))
        await store.append(f"t{number}", said("1", attachments=[file]))
    await store.database.run_async(lambda c: c.execute(text("ANALYZE")) and None)

    stats = await store.stats()

    assert stats.estimated == {"threads", "messages", "blobs"}
    assert (stats.threads, stats.messages, stats.blobs, stats.blob_bytes) == (40, 20, 20, 210)
