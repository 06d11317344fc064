"""Branches over HTTP: another answer, a changed message, the choice between them, and whoever may not."""

import pytest

from tests.integration.producers.http.site import Site


@pytest.fixture
def thread(site: Site) -> str:
    """A thread of ada's, with an answered question."""
    thread: str = site.make_thread("ada")["id"]
    site.send("ada", thread, "first")
    site.answer(thread)
    return thread


def branches(site: Site, thread: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = site.ask("ada", "GET", f"/threads/{thread}/branches").json()["branches"]
    return found


def contents(site: Site, thread: str, **parameters: str) -> list[str]:
    page = site.ask("ada", "GET", f"/threads/{thread}/messages", params=parameters).json()
    return [message["content"].partition(" to ")[0] for message in page["messages"]]


def test_an_answer_is_asked_for_again_and_the_old_one_chosen(site: Site, thread: str) -> None:
    sent = site.ask("ada", "POST", f"/threads/{thread}/regenerate", json={})

    assert (sent.status_code, sent.json()["turn"]["thread_id"]) == (202, thread)
    main, again = branches(site, thread)
    assert sent.json()["turn"]["branch"] == again["id"]
    assert (main["is_chosen"], again["is_chosen"], again["origin"]) == (False, True, "regenerate")
    assert contents(site, thread) == ["first"]
    site.answer(f"{thread}/{again['id']}")
    assert contents(site, thread) == ["first", "an answer"]
    turn = site.ask("ada", "GET", sent.headers["Location"].removeprefix("/v1")).json()
    assert turn["state"] == "completed"

    chosen = site.ask("ada", "POST", f"/threads/{thread}/branches/main/choose")

    assert (chosen.status_code, chosen.json()["is_chosen"]) == (200, True)
    view = site.ask("ada", "GET", f"/threads/{thread}").json()
    events = site.ask("ada", "GET", f"/threads/{thread}/events", params={"after": 1, "wait": 0}).json()["events"]
    assert [(event["type"], event["branch"]) for event in events] == [("thread.switched", "main")]
    assert view["last_event_id"] == events[0]["id"]


def test_a_changed_message_begins_a_branch(site: Site, thread: str) -> None:
    listed = site.ask("ada", "GET", f"/threads/{thread}/messages").json()["messages"]
    path = f"/threads/{thread}/messages/{listed[0]['id']}/edit"

    edited = site.ask("ada", "POST", path, json={"content": "changed"})

    assert edited.status_code == 202
    site.answer(f"{thread}/{branches(site, thread)[1]['id']}")
    assert contents(site, thread) == ["changed", "an answer"]
    assert contents(site, thread, branch="main") == ["first", "an answer"]
    answer_id = listed[1]["id"]
    refused = site.ask("ada", "POST", f"/threads/{thread}/messages/{answer_id}/edit", json={"content": "x"})
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (404, "message-not-found")


def test_branches_are_made_named_compared_and_deleted(site: Site, thread: str) -> None:
    made = site.ask("ada", "POST", f"/threads/{thread}/branches", json={"name": "short", "at": 1})
    branch = made.json()["id"]
    path = f"/threads/{thread}/branches/{branch}"

    assert (made.status_code, made.headers["Location"]) == (201, f"/v1{path}")
    message = {"json": {"content": "there"}, "params": {"branch": branch}}
    sent = site.ask("ada", "POST", f"/threads/{thread}/messages", **message).json()["turn"]
    read = site.ask("ada", "GET", f"/turns/{sent['id']}").json()
    assert (sent["thread_id"], sent["branch"], read["branch"]) == (thread, branch, branch)
    site.answer(f"{thread}/{branch}")
    compared = site.ask("ada", "GET", f"{path}/compare", params={"with": "main"}).json()
    assert (compared["shared_to_seq"], len(compared["ours"]), len(compared["theirs"])) == (1, 2, 1)
    assert site.ask("ada", "PATCH", path, json={"name": None}).json()["name"] is None
    assert site.ask("ada", "DELETE", path).status_code == 204
    assert site.ask("ada", "DELETE", path).status_code == 404
    assert [each["id"] for each in branches(site, thread)] == ["main"]


def test_no_stranger_knows_of_branches(site: Site, thread: str) -> None:
    for who in ("bob", "rival"):
        assert site.ask(who, "GET", f"/threads/{thread}/branches").status_code == 404
        assert site.ask(who, "POST", f"/threads/{thread}/regenerate", json={}).status_code == 404
        assert site.ask(who, "POST", f"/threads/{thread}/branches/main/choose").status_code == 404
    assert site.ask("only-read", "POST", f"/threads/{thread}/branches", json={}).status_code == 403
    assert len(branches(site, thread)) == 1


def test_the_same_key_makes_one_branch(site: Site, thread: str) -> None:
    headers = {"Idempotency-Key": '"again"'}

    sent = [site.ask("ada", "POST", f"/threads/{thread}/regenerate", json={}, headers=headers) for _ in range(2)]

    assert sent[0].json() == sent[1].json()
    assert len(branches(site, thread)) == 2
