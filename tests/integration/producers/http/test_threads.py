"""Threads over HTTP: versions, pages, search, forks, odd ids, and what is under legal hold."""

from itertools import chain
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import update

from conversation.events import number_of_end
from conversation.ids import new_id
from conversation.message import Message
from conversation.summary import NewSummary
from conversation.turn import Cancelled
from conversation.water_marks import WaterMarks
from store import tables
from store.summaries.repository import load_draft, put
from tests.integration.producers.http.site import Site


def test_a_thread_is_handed_over_to_an_agent_and_given_back(site: Site) -> None:
    thread = site.make_thread("ada")["id"]
    tag = site.ask("ada", "GET", f"/threads/{thread}").headers["ETag"]

    handed_over = site.ask("ada", "PATCH", f"/threads/{thread}", json={"agent": "billing"})

    assert (handed_over.status_code, handed_over.json()["agent"]) == (200, "billing")
    assert handed_over.headers["ETag"] != tag
    kept = site.ask("ada", "PATCH", f"/threads/{thread}", json={"title": "Invoice"})
    assert kept.json()["agent"] == "billing"
    given_back = site.ask("ada", "PATCH", f"/threads/{thread}", json={"agent": None})
    assert given_back.json()["agent"] is None
    assert site.ask("ada", "PATCH", f"/threads/{thread}", json={"agent": ""}).status_code == 400


def test_a_change_is_made_to_the_version_that_its_writer_saw(site: Site) -> None:
    path = f"/threads/{site.make_thread('ada', title='first', metadata={'a': 1, 'b': 2})['id']}"
    tag = site.ask("ada", "GET", path).headers["ETag"]

    def change(if_match: str | None, **changes: Any) -> tuple[int, str | None]:
        headers = {} if if_match is None else {"If-Match": if_match}
        answer = site.ask("ada", "PATCH", path, json=changes, headers=headers)
        return answer.status_code, answer.headers.get("ETag")

    status, newer = change(tag, title="second")
    assert (status, newer != tag) == (200, True)
    assert change(tag, title="third")[0] == 412
    assert change(f"W/{newer}", title="third")[0] == 412
    assert change("nonsense", title="third")[0] == 412
    assert change(f'"other", {newer}')[0:2] == (200, newer)
    # A message is no change of what can be changed.
    site.send("ada", path.removeprefix("/threads/"))
    assert site.ask("ada", "GET", path).headers["ETag"] == newer
    status, newest = change(newer, metadata={"a": None, "c": [3]})
    assert (status, newest != newer) == (200, True)
    assert change("*", title=None)[0] == 200
    thread = site.ask("ada", "GET", path).json()
    assert (thread["title"], thread["metadata"]) == (None, {"b": 2, "c": [3]})
    # Another owner is another version, whoever gave the thread away.
    before = site.ask("acme", "GET", path).headers["ETag"]
    of_thread = tables.threads.c.id == thread["id"]
    site.database.run(lambda c: c.execute(update(tables.threads).where(of_thread).values(owner="bob")) and None)
    assert site.ask("acme", "GET", path).headers["ETag"] != before


def test_a_thread_is_made_once(site: Site) -> None:
    thread = new_id()
    made = site.ask("ada", "POST", "/threads", json={"id": thread})

    assert (made.status_code, made.headers["Location"]) == (201, f"/v1/threads/{thread}")
    for who in ("ada", "bob", "acme"):
        again = site.ask(who, "POST", "/threads", json={"id": thread})
        assert (again.status_code, again.json()["field"]) == (409, "id")
        assert (
            site.ask(who, "POST", f"/threads/{site.make_thread(who)['id']}/fork", json={"id": thread}).status_code
            == 409
        )
    assert site.ask("rival", "POST", "/threads", json={"id": thread}).status_code == 201
    assert site.ask("bob", "POST", "/threads", json={}).json()["user"] == "bob"
    assert site.ask("acme", "POST", "/threads", json={"metadata": {"user": "cleo"}}).json()["user"] == "cleo"


@pytest.mark.parametrize(
    "odd", ["a%b", "a%2Fb", "100%", "ü-日本", "a?b#c", "a&b=c", "x;y", "messages", "a+b@c:d~", "..."]
)
def test_odd_ids_are_ids_like_others(site: Site, odd: str) -> None:
    thread = f"{odd}{new_id()}" if odd != "messages" else odd
    made = site.ask("ada", "POST", "/threads", json={"id": thread})
    path = f"/threads/{quote(thread, safe='')}"

    assert made.headers["Location"] == f"/v1{path}"
    assert site.ask("ada", "GET", made.headers["Location"].removeprefix("/v1")).json()["id"] == thread
    assert site.ask("ada", "POST", f"{path}/messages", json={"content": "x"}).json()["turn"]["thread_id"] == thread
    key = quote(odd, safe="")
    assert site.ask("ada", "PUT", f"{path}/context/{key}", json={"content": "x"}).json()["key"] == odd
    assert site.ask("ada", "DELETE", f"{path}/context/{key}").status_code == 204
    assert site.ask("acme", "DELETE", path).status_code == 204


@pytest.mark.parametrize(
    "path", ["%2e", "%2e%2e", "a%20b", "a%5Cb", "a%00", "%C0%AF", "%E2%80%AE", "a%CC%81", "x" * 300]
)
def test_what_is_no_id_is_refused_or_not_there(site: Site, path: str) -> None:
    for end in ("", "/messages", "/turns", "/context", "/summaries", "/files/" + "0" * 64):
        assert site.ask("ada", "GET", f"/threads/{path}{end}").status_code in (400, 404), end
    assert site.ask("ada", "GET", f"/threads/a%2F{path}/messages").status_code == 404
    for turn in (path, "1", "00000000-0000-0000-0000-000000000000"):
        assert site.ask("ada", "GET", f"/turns/{turn}").status_code in (400, 404)


def test_events_of_what_is_no_user_are_refused_before_a_stream_begins(site: Site) -> None:
    for user in ("", "a b", "a\0", "x" * 300):
        assert site.ask("acme", "GET", "/events", params={"user": user}).json()["field"] == "user"


def list_ids(site: Site, who: str, path: str, name: str, **params: Any) -> list[list[str]]:
    """The ids of all pages."""
    pages = []
    while True:
        answer = site.ask(who, "GET", path, params=params)
        assert answer.status_code == 200, answer.text
        pages.append([each["id"] for each in answer.json()[name]])
        if (cursor := answer.json()["next_cursor"]) is None:
            return pages
        params["cursor"] = cursor


def test_threads_are_listed_by_pages_and_filters(site: Site) -> None:
    user = new_id()
    made = [
        site.make_thread("acme", user=user, title=f"Parcel {n}", metadata={"plan": ["free", "pro"][n % 2]})["id"]
        for n in range(5)
    ]
    site.ask("acme", "PATCH", f"/threads/{made[0]}", json={"title": "Refund"})

    assert list_ids(site, "acme", "/threads", "threads", user=user, limit=2) == [made[:2:-1], made[2:0:-1], made[:1]]
    assert list_ids(site, "acme", "/threads", "threads", user=user, order="updated", limit=9)[0][0] == made[0]
    assert list_ids(site, "acme", "/threads", "threads", user=user, title="parcel") == [made[:0:-1]]
    assert list_ids(site, "acme", "/threads", "threads", user=user, metadata='{"plan":"pro"}') == [[made[3], made[1]]]
    assert list_ids(site, "rival", "/threads", "threads", user=user) == [[]]
    assert made[0] not in [*chain(*list_ids(site, "ada", "/threads", "threads", limit=200))]


def test_a_search_finds_ones_own_threads_with_snippets(site: Site) -> None:
    word = f"w{new_id().replace('-', '')}"
    threads = {who: site.make_thread(who, title="Search")["id"] for who in ("ada", "bob", "rival")}
    for who, thread in threads.items():
        tenant = "rival" if who == "rival" else "acme"
        site.append(thread, [Message(role="user", content=f"the {word} of {who}")], tenant)

    found = site.ask("ada", "GET", "/threads", params={"q": word}).json()
    of_tenant = site.ask("acme", "GET", "/threads", params={"q": word, "title": "sear"}).json()

    assert [each["id"] for each in found["threads"]] == [threads["ada"]]
    assert [each["highlight"] for each in found["threads"][0]["snippets"]] == [f"**{word}**"]
    assert {each["id"] for each in of_tenant["threads"]} == {threads["ada"], threads["bob"]}
    assert site.ask("ada", "GET", "/threads", params={"q": word, "title": "nothing"}).json()["threads"] == []
    assert site.ask("ada", "GET", "/threads", params={"q": word, "cursor": "x"}).json()["field"] == "cursor"
    for no_query in ("", "-", "x" * 2000, "a\0b"):
        assert site.ask("ada", "GET", "/threads", params={"q": no_query}).json()["field"] == "q"


def test_messages_are_listed_both_ways_each_with_its_event(site: Site) -> None:
    thread = site.make_thread("ada")["id"]
    site.append(thread, [Message(role="user", content=f"earlier {n}") for n in range(3)])
    for _ in range(2):
        site.send("ada", thread)
        site.answer(thread)
    site.append(thread, [Message(role="user", content="later")])
    path = f"/threads/{thread}/messages"

    upwards = list_ids(site, "ada", path, "messages", limit=3)
    downwards = list_ids(site, "ada", path, "messages", limit=3, order="desc")
    whole = site.ask("ada", "GET", path).json()
    numbers = [message["event_id"] for message in whole["messages"]]
    last_event_id = site.ask("ada", "GET", f"/threads/{thread}").json()["last_event_id"]

    assert [len(page) for page in upwards] == [len(page) for page in downwards] == [3, 3, 2]
    assert [*chain(*upwards)] == [*chain(*downwards)][::-1] == [message["id"] for message in whole["messages"]]
    assert [message["seq"] for message in whole["messages"]] == [*range(1, 9)]
    assert numbers == sorted(set(numbers))
    assert last_event_id == numbers[-1]
    by_page = {}
    for order in ("asc", "desc"):
        answer = site.ask("ada", "GET", path, params={"order": order, "limit": 2}).json()
        by_page |= {message["id"]: message["event_id"] for message in answer["messages"]}
    assert by_page.items() <= {message["id"]: message["event_id"] for message in whole["messages"]}.items()
    # What retention hides is on no page.
    of_thread = tables.threads.c.id == thread
    hide = update(tables.threads).where(of_thread).values(history_starts_after=6)
    site.database.run(lambda c: c.execute(hide) and None)
    assert list_ids(site, "ada", path, "messages") == [[*chain(*upwards)][6:]]
    assert site.ask("ada", "GET", f"/threads/{thread}").json()["messages"] == 2


def test_a_page_of_long_messages_ends_sooner(site: Site) -> None:
    thread = site.make_thread("ada")["id"]
    said = [Message(role="user", content=f"{n}" + "é" * 999_999) for n in range(5)]
    site.append(thread, said)

    for order, expected in (("asc", said), ("desc", said[::-1])):
        pages = list_ids(site, "ada", f"/threads/{thread}/messages", "messages", order=order)
        assert [len(page) for page in pages] == [3, 2]
        assert [*chain(*pages)] == [message.id for message in expected]


def test_what_waits_is_shown_where_the_history_ends(site: Site) -> None:
    thread = site.make_thread("ada")["id"]
    path = f"/threads/{thread}/messages"
    first = site.send("ada", thread, "first")
    second = site.send("ada", thread, "second")
    claimed = site.claim(thread)
    running = site.ask("ada", "GET", f"/threads/{thread}").json()
    page = site.ask("ada", "GET", path).json()

    assert running["running_turn"] == first["id"]
    # From there on, the events of the turn that runs come whole.
    assert 0 < page["messages"][0]["event_id"] - running["last_event_id"] < 2**13 + 2
    assert [said["content"] for said in page["messages"]] == ["first"]
    assert [(said["content"], said["turn_id"]) for said in page["pending"]] == [("second", second["id"])]
    assert site.ask("ada", "GET", path, params={"order": "desc"}).json()["pending"] == page["pending"]
    site.settle(claimed)
    site.settle(site.claim(thread), Cancelled())
    over = site.ask("ada", "GET", f"/threads/{thread}").json()
    assert (over["running_turn"], over["last_event_id"]) == (None, number_of_end(claimed.lease.fencing_token + 1))
    assert site.ask("ada", "GET", path).json()["pending"] == []


def test_a_fork_is_a_thread_of_the_same_user(site: Site) -> None:
    thread = site.make_thread("ada", title="Parcel")["id"]
    for _ in range(2):
        site.send("ada", thread)
        site.answer(thread)

    fork = site.ask("ada", "POST", f"/threads/{thread}/fork", json={"at": 2})

    assert fork.json() | {"title": "Parcel", "user": "ada", "messages": 2} == fork.json()
    assert fork.headers["Location"] == f"/v1/threads/{fork.json()['id']}"
    assert site.ask("bob", "GET", f"/threads/{fork.json()['id']}").status_code == 404
    assert site.ask("ada", "POST", f"/threads/{thread}/fork", json={"at": 5}).json()["field"] == "at"


def test_nothing_of_a_thread_under_legal_hold_is_deleted(site: Site) -> None:
    thread = site.make_thread("ada")["id"]
    context = f"/threads/{thread}/context/place"
    site.ask("ada", "PUT", context, json={"content": "Lisbon"})
    hold = update(tables.threads).where(tables.threads.c.id == thread).values(legal_hold=True)
    site.database.run(lambda c: c.execute(hold) and None)

    assert [site.ask("ada", "DELETE", path).status_code for path in (context, f"/threads/{thread}")] == [409, 409]
    assert [each["content"] for each in site.ask("ada", "GET", f"/threads/{thread}/context").json()["context"]] == [
        "Lisbon"
    ]


def test_context_is_what_a_save_would_write(site: Site) -> None:
    thread = site.make_thread("ada")["id"]
    path = f"/threads/{thread}/context"

    def version() -> int:
        statement = tables.threads.select().where(tables.threads.c.id == thread)
        return site.database.run(lambda c: int(c.execute(statement).one().context_version))

    for key, text in [("b", "one"), ("a", "two"), ("b", "three")]:
        site.ask("ada", "PUT", f"{path}/{key}", json={"content": text})
    before = version()
    again = site.ask("ada", "PUT", f"{path}/b", json={"content": "three"})

    assert (before, version()) == (3, 3)
    listed = site.ask("ada", "GET", path).json()["context"]
    assert [(each["key"], each["content"]) for each in listed] == [("a", "two"), ("b", "three")]
    assert again.json() == listed[1]
    site.send("ada", thread)
    assert set(site.claim(thread).context) == {"two", "three"}
    assert [site.ask("ada", "DELETE", f"{path}/b").status_code for _ in range(2)] == [204, 404]


def test_the_newest_summaries_are_listed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.http.summaries.SUMMARIES_MAX", 2)
    thread = site.make_thread("ada")["id"]
    marks = WaterMarks(high_messages=2, high_tokens=0, low_messages=1, low_tokens=0)
    for number in range(3):
        site.append(thread, [Message(role=role, content="x") for role in ("user", "assistant", "user", "assistant")])
        draft = site.database.run(load_draft, "acme", thread, marks=marks)
        assert draft is not None
        site.database.run(put, draft, NewSummary(content=f"summary {number}", model="m"))

    listed = site.ask("ada", "GET", f"/threads/{thread}/summaries").json()["summaries"]

    assert [each["content"] for each in listed] == ["summary 2", "summary 1"]


def test_context_is_bounded_by_keys_and_by_length(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.threads.thread_context.KEYS_MAX", 2)
    monkeypatch.setattr("store.threads.thread_context.CHARS_MAX", 10)
    path = f"/threads/{site.make_thread('ada')['id']}/context"

    def write(key: str, text: str) -> tuple[int, str | None]:
        answer = site.ask("ada", "PUT", f"{path}/{key}", json={"content": text})
        return answer.status_code, answer.json().get("field")

    assert write("a", "12345") == (200, None)
    assert write("b", "123456") == (400, "content")
    assert write("b", "12345") == (200, None)
    assert write("a", "123456") == (400, "content")
    assert write("c", "1") == (400, "key")
    # What a save has made longer is made shorter.
    monkeypatch.setattr("store.threads.thread_context.CHARS_MAX", 1)
    assert write("a", "1234") == (200, None)
