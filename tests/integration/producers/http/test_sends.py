"""Sending over HTTP: once, into one's own threads, with one's own files, as JSON or as a form."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from conversation.ids import new_id
from store import tables
from tests.integration.producers.http.site import PNG, SHA256, Site

DOT = ("dot.png", PNG, "image/png")


@pytest.fixture
def thread(site: Site) -> str:
    thread_id: str = site.make_thread("ada")["id"]
    return thread_id


def post(site: Site, who: str, thread: str, key: str | None = None, **options: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return site.ask(who, "POST", f"/threads/{thread}/messages", headers=headers, **options)


def count_turns(site: Site, thread: str) -> int:
    of_thread = tables.turns.join(tables.threads)
    statement = select(func.count()).select_from(of_thread).where(tables.threads.c.id == thread)
    return site.database.run(lambda connection: int(connection.execute(statement).scalar_one()))


def test_the_same_key_with_the_same_message_is_one_turn_and_one_answer(site: Site, thread: str) -> None:
    first = post(site, "ada", thread, "k-1", json={"content": "once"})
    site.answer(thread)
    later = post(site, "ada", thread, "k-1", json={"content": "once"})
    quoted = post(site, "ada", thread, '"k-1"', json={"content": "once"})
    other = post(site, "ada", thread, "k-1", json={"content": "twice"})
    of_another_thread = post(site, "ada", site.make_thread("ada")["id"], "k-1", json={"content": "once"})
    of_the_tenant = post(site, "acme", thread, "k-1", json={"content": "as another"})

    assert later.content == first.content == quoted.content
    assert [each.headers.get("Idempotency-Replayed") for each in (first, later)] == [None, "true"]
    assert first.headers["Location"] == f"/v1/turns/{first.json()['turn']['id']}"
    assert (other.status_code, other.json()["field"]) == (422, "Idempotency-Key")
    # A key is a word of its client's own.
    assert [each.status_code for each in (of_another_thread, of_the_tenant)] == [202, 202]
    assert count_turns(site, thread) == 2


def test_of_many_sends_with_one_key_at_once_one_makes_a_turn(site: Site, thread: str) -> None:
    async def send_all() -> list[httpx.Response]:
        headers = {"Authorization": "Bearer ada", "Idempotency-Key": "at-once"}
        path = f"/v1/threads/{thread}/messages"
        sends = (site.client.post(path, json={"content": "hello"}, headers=headers) for _ in range(8))
        return await asyncio.gather(*sends)

    answers = site.runner.run(send_all())

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert count_turns(site, thread) == 1


def test_a_message_makes_a_thread_only_where_it_is_asked_to(site: Site) -> None:
    thread = new_id()

    assert post(site, "ada", thread, json={"content": "hello"}).status_code == 404
    made = post(site, "ada", thread, json={"content": "hello"}, params={"create": "true"})

    assert made.status_code == 202
    assert site.ask("acme", "GET", f"/threads/{thread}").json()["user"] == "ada"
    assert post(site, "bob", thread, json={"content": "mine"}, params={"create": "true"}).status_code == 404
    refused = post(site, "ada", new := new_id(), json={"content": "x", "agent": "nobody"}, params={"create": "true"})
    assert refused.status_code == 400
    assert site.ask("acme", "GET", f"/threads/{new}").status_code == 404


def test_of_two_users_who_send_to_a_new_thread_at_once_it_is_ones_own(site: Site) -> None:
    async def race(thread: str) -> list[int]:
        path, json_body = f"/v1/threads/{thread}/messages?create=true", {"content": "it is mine"}
        sends = (
            site.client.post(path, json=json_body, headers={"Authorization": f"Bearer {who}"})
            for who in ("ada", "bob") * 2
        )
        return [answer.status_code for answer in await asyncio.gather(*sends)]

    for _ in range(5):
        ada, bob, ada_again, bob_again = site.runner.run(race(new_id()))
        assert {(ada, bob), (ada_again, bob_again)} in ({(202, 404)}, {(404, 202)})


@pytest.mark.parametrize("owner", ["bob", None])
def test_no_user_gets_at_a_thread_of_another_or_of_nobody_by_sending(site: Site, owner: str | None) -> None:
    thread = site.make_thread("acme", user=owner)["id"]

    for params in ({}, {"create": "true"}):
        assert post(site, "ada", thread, json={"content": "hello"}, params=params).status_code == 404
        files = {"files": DOT}
        assert post(site, "ada", thread, data={"content": "x"}, files=files, params=params).status_code == 404
    assert site.ask("acme", "GET", f"/threads/{thread}").json()["user"] == owner
    assert count_turns(site, thread) == 0


def test_a_form_says_what_json_says(site: Site, thread: str) -> None:
    fields = {
        "content": "see both",
        "agent": "other",
        "metadata": json.dumps({"a": [1]}),
        "priority": "3",
        "not_before": "2020-01-01T00:00:00Z",
    }
    files = [("files", DOT), ("files", ("notes.txt", b"some words", "text/plain"))]

    answer = post(site, "ada", thread, data=fields, files=files)
    pending = site.ask("ada", "GET", f"/threads/{thread}/messages").json()["pending"]

    assert answer.status_code == 202, answer.text
    assert answer.json()["turn"]["agent"] == "other"
    assert [(said["content"], said["metadata"], said["seq"]) for said in pending] == [("see both", {"a": [1]}, None)]
    assert [file["filename"] for file in pending[0]["attachments"]] == ["dot.png", "notes.txt"]
    assert pending[0]["attachments"][0]["sha256"] == SHA256


@pytest.mark.parametrize(
    ("options", "status", "field"),
    [
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "body"),
        ({"content": b"\xff", "headers": {"Content-Type": "application/json"}}, 400, "body"),
        ({"content": b'{"content":"\\ud800"}', "headers": {"Content-Type": "application/json"}}, 400, "body"),
        ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 400, "body"),
        ({"json": {"content": "a\0b"}}, 400, "content"),
        ({"json": {"content": "x" * 1_000_001}}, 400, "content"),
        ({"json": {"content": [{"type": "file", "file": {"filename": "absent"}}]}}, 400, "content"),
        ({"json": {"content": "x", "attachments": [{"sha256": "x"}]}}, 400, "attachments.0.sha256"),
        ({"content": b"hello", "headers": {"Content-Type": "text/plain"}}, 415, None),
        ({"data": {"colour": "red"}, "files": {"files": DOT}}, 400, "colour"),
        ({"data": {"metadata": "{"}, "files": {"files": DOT}}, 400, "metadata"),
        ({"data": {"content": ["a", "b"]}, "files": {"files": DOT}}, 400, "content"),
        ({"files": {"picture": DOT}}, 400, "picture"),
        ({"files": {"files": ("a.exe", b"MZ" + b"\0" * 200, "application/octet-stream")}}, 422, None),
        ({"files": {"files": ("a.png", b"no picture", "image/png")}}, 422, None),
        ({"files": [("files", (f"{n}.txt", b"x")) for n in range(21)]}, 400, "attachments"),
        ({"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400, "content"),
        ({"content": b"", "headers": {"Content-Type": "multipart/form-data"}}, 400, "body"),
    ],
)
def test_a_message_that_cannot_be_taken_is_refused_by_its_field(
    site: Site, thread: str, options: dict[str, Any], status: int, field: str | None
) -> None:
    answer = site.ask("ada", "POST", f"/threads/{thread}/messages", **options)

    assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text
    assert count_turns(site, thread) == 0


def test_a_file_is_attached_by_its_hash_by_who_put_it_or_has_it_in_the_thread(site: Site, thread: str) -> None:
    content = f"a file of {thread}".encode()
    stored = site.ask("ada", "POST", "/files", files={"file": ("a.txt", content, "text/plain")}).json()
    by_hash = {"content": "see", "attachments": [{"sha256": stored["sha256"]}]}

    assert post(site, "bob", site.make_thread("bob")["id"], json=by_hash).status_code == 400
    assert post(site, "rival", site.make_thread("rival")["id"], json=by_hash).status_code == 400
    assert post(site, "ada", thread, json=by_hash | {"content": [{"type": "text", "text": "parts"}]}).status_code == 202
    # Whoever may send there may send it again there, and nowhere else.
    shared = site.make_thread("acme", user="bob")["id"]
    assert post(site, "acme", shared, json=by_hash).status_code == 202
    assert post(site, "bob", shared, json=by_hash).status_code == 202
    assert post(site, "bob", site.make_thread("bob")["id"], json=by_hash).status_code == 400
    renamed = {"content": "see", "attachments": [{"sha256": stored["sha256"], "filename": "b.txt"}]}
    assert post(site, "ada", thread, json=renamed).status_code == 202
    names = [
        [file["filename"] for file in said["attachments"]]
        for said in site.ask("ada", "GET", f"/threads/{thread}/messages").json()["pending"]
    ]
    assert names == [["a.txt"], ["b.txt"]]
