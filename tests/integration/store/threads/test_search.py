"""Searching messages: one language of queries on every database, and none of them an error of SQL's."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, text

from conversation.errors import InvalidInput
from conversation.thread import Thread
from store.thread_store import ThreadStore
from store.threads import search
from tests.integration.store.threads.conftest import said


async def filled(store: ThreadStore, *texts: str) -> None:
    """A thread a text, named t0, t1, …"""
    for number, content in enumerate(texts):
        await store.append(f"t{number}", said(content))


async def found(store: ThreadStore, query: str) -> set[str]:
    return {hit.thread_id for hit in await store.search_messages(query)}


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ("invoice", {"t0", "t1"}),
        ("INVOICE", {"t0", "t1"}),
        ("invoice late", {"t1"}),
        ('"late invoice"', {"t1"}),
        ('"invoice late"', set()),
        ("invoice -late", {"t0"}),
        ('invoice -"late invoice"', {"t0"}),
        ("late or paid", {"t0", "t1"}),
        ("late OR weather", {"t1", "t2"}),
        ("paid or weather -rain", {"t0"}),
        ("invoices", set()),
        ("or invoice or", {"t0", "t1"}),
        ('"or"', {"t2"}),
        ('"invoice', {"t0", "t1"}),
    ],
)
async def test_words_phrases_alternatives_and_exclusions(store: ThreadStore, query: str, hits: set[str]) -> None:
    await filled(store, "The invoice was paid.", "A late invoice!", "weather: rain or not")

    assert await found(store, query) == hits


@pytest.mark.parametrize("kind", ["memory"])
@pytest.mark.parametrize("query", ["", "  ", "-late", "late or -rain", "?!", "or", '""', "-", "'"])
async def test_a_query_without_words_to_look_for_is_refused(store: ThreadStore, query: str) -> None:
    with pytest.raises(InvalidInput, match="query: has no words to look for"):
        await store.search_messages(query)


@pytest.mark.parametrize("kind", ["memory"])
@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("a\x00b", "NUL"),
        ("\ud800", "Unicode"),
        ("x" * 501, "too long"),
        ("a " * 1_001, "characters"),
        ("a " * 101, "words"),
        (f'"{"a " * 101}"', "words"),
        (7, "not text"),
    ],
)
async def test_what_no_database_can_look_for_is_refused(store: ThreadStore, query: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"query: .*{problem}"):
        await store.search_messages(query)


@pytest.mark.parametrize("kind", ["memory"])
@pytest.mark.parametrize("limit", [0, 201, True, "1"])
async def test_a_limit_that_no_search_has_is_refused(store: ThreadStore, limit: Any) -> None:
    with pytest.raises(InvalidInput, match=r"limit: .*pass 1 to 200"):
        await store.search_messages("fox", limit=limit)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30) | st.text(alphabet="ab \"'()*:^-+|&!<>~{}[]\\/.,@#$%_éÀ日ß\u0130\u200d", max_size=20))
@example("a" * 500)
@example("日" * 500)
@example("NEAR(a b) AND NOT c* ^d col:e {f}")
@example("a & | ! <-> b:*")
@example("'; DROP TABLE messages; --")
async def test_a_query_finds_or_is_refused_and_never_breaks(store: ThreadStore, query: str) -> None:
    if not await store.count():
        await filled(store, "a b ab 日本 éa")

    try:
        hits = await store.search_messages(query)
    except InvalidInput:
        return
    assert len(hits) <= 1


async def test_hits_say_where_they_are_and_show_the_passage(store: ThreadStore) -> None:
    await store.append("t", said("before"), said("the red fox, and a long tail " * 50 + "of words"))

    [hit] = await store.search_messages("FOX")

    assert (hit.thread_id, hit.seq, hit.role) == ("t", 2, "user")
    assert hit.message_id == (await store.get_thread("t")).messages[1].id
    assert "**fox**" in hit.highlight
    assert len(hit.highlight) < 600


async def test_the_best_hit_comes_first(store: ThreadStore) -> None:
    await filled(store, "fox " + "word " * 200, "fox fox fox", "nothing")

    hits = await store.search_messages("fox")

    assert [hit.thread_id for hit in hits] == ["t1", "t0"]
    assert hits[0].rank > hits[1].rank > 0
    assert len(await store.search_messages("fox", limit=1)) == 1


async def test_other_tenants_messages_are_not_found(store: ThreadStore, store_url: str, kind: str) -> None:
    if kind == "memory":
        return
    async with await ThreadStore.create(store_url, tenant="acme") as acme:
        await acme.append("t", said("secret fox"))

        assert await store.search_messages("fox") == []
        assert len(await acme.search_messages("fox")) == 1


async def test_the_beginning_of_a_very_long_message_is_found(store: ThreadStore) -> None:
    middle = "".join(f"w{number} " for number in range(200_000))[: 1_000_000 - 20]
    await store.append("t", said(f"begin-it {middle}"))

    assert [hit.seq for hit in await store.search_messages("begin w77")] == [1]


@pytest.mark.parametrize(
    "text",
    # The first are letters of four bytes each.
    [
        "\U0001d4b6\U0001d4b7-\U0001d4b8\U0001d4b9 " * 15_000,
        "x" * 1_000_000,
        "http://a.example/b?c=d " * 20_000,
        "日" * 1_000_000,
        "- " * 500_000,
    ],
    ids=["hyphens", "one word", "addresses", "cjk", "nothing"],
)
async def test_any_long_text_can_be_stored(store: ThreadStore, text: str) -> None:
    await store.append("t", said(text[:1_000_000]))

    assert (await store.get_thread("t")).messages[0].content == text[:1_000_000]


async def test_accents_make_a_difference_on_postgresql_only(store: ThreadStore, kind: str) -> None:
    await filled(store, "un café noir", "ein Fuß")

    assert await found(store, "CAFÉ") == {"t0"}
    assert await found(store, "cafe") == (set() if kind == "postgresql" else {"t0"})
    assert await found(store, "fuß") == {"t1"}


async def test_text_without_spaces_is_found_by_whole_passages(store: ThreadStore) -> None:
    await filled(store, "今日は天気がいい。散歩に行こう。")

    assert await found(store, "散歩に行こう") == {"t0"}
    assert await found(store, "散歩") == set()


async def test_messages_are_found_after_others_were_deleted(store: ThreadStore, kind: str) -> None:
    for number in range(20):
        await store.save_thread(Thread(f"t{number}", messages=[said(f"word{number} common")]))
    for number in range(0, 20, 2):
        await store.delete_thread(f"t{number}")

    if kind == "sqlite":
        with store.database.engine.connect() as connection:
            connection.connection.driver_connection.execute("VACUUM")  # type: ignore[union-attr]

    assert await found(store, "word7") == {"t7"}
    assert await found(store, "word8") == set()
    assert len(await store.search_messages("common")) == 10


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.parametrize("reads_newest", [True, False])
async def test_of_a_word_that_is_everywhere_the_best_of_the_newest_are_found(
    store: ThreadStore, monkeypatch: pytest.MonkeyPatch, reads_newest: bool
) -> None:
    for name, bound in {"RANKED_MAX": 3, "READ_MAX": 4}.items():
        monkeypatch.setattr(search, name, bound)
    monkeypatch.setattr(search, "_is_common", lambda *_: reads_newest)
    await filled(store, "parcel parcel parcel", "parcel", "parcel parcel", "parcel", "letter")

    hits = await store.search_messages("parcel")

    assert {hit.thread_id for hit in hits} == {"t1", "t2", "t3"}
    assert hits[0].thread_id == "t2"
    # Too few of the newest match: then all are looked through.
    monkeypatch.setattr(search, "RANKED_MAX", 6)
    assert len(await store.search_messages("parcel")) == 4


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_a_word_is_common_by_what_the_database_knows(store: ThreadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "RANKED_MAX", 3)
    monkeypatch.setattr(search, "READ_MAX", 6)
    await filled(store, *["parcel"] * 10, *["letter"] * 2, "card")
    await store.database.run_async(lambda c: c.execute(text("ANALYZE messages")) and None)

    def is_common(word: str) -> Any:
        return store.database.run_async(lambda c: search._is_common(c, func.websearch_to_tsquery("simple", word)))

    assert [await is_common(word) for word in ("parcel", "letter", "card")] == [True, False, False]
