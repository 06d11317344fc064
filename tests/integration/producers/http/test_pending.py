"""What turns wait for, over HTTP: seen by whose it is, decided once, and in force at once."""

from conversation.pending_call import PendingKind, digest_of
from conversation.turn import ClaimedTurn, Completed
from store.turns import records
from tests.integration.producers.http.routes import make_undecided
from tests.integration.producers.http.site import Site

DIGEST = digest_of("refund", '{"amount": 20}')


def test_a_call_is_shown_with_what_would_run_and_decided_by_name(site: Site) -> None:
    turn = make_undecided(site)
    (call,) = site.ask("ada", "GET", f"/turns/{turn}/pending").json()["pending"]
    (listed,) = site.ask("ada", "GET", "/pending").json()["pending"]
    state = site.ask("ada", "GET", f"/turns/{turn}").json()["state"]

    assert (state, call) == ("waiting", listed)
    assert (call["kind"], call["name"], call["arguments"], call["digest"]) == (
        "approval",
        "refund",
        {"amount": 20},
        DIGEST,
    )

    wrong = site.ask("ada", "POST", f"/turns/{turn}/pending/call-1", json={"decision": "approve", "digest": "0" * 64})
    decided = site.ask("ada", "POST", f"/turns/{turn}/pending/call-1", json={"decision": "approve", "digest": DIGEST})
    again = site.ask("ada", "POST", f"/turns/{turn}/pending/call-1", json={"decision": "approve"})
    other = site.ask("ada", "POST", f"/turns/{turn}/pending/call-1", json={"decision": "deny"})

    assert (wrong.status_code, wrong.json()["type"].rpartition(":")[2]) == (409, "digest-mismatch")
    assert (decided.status_code, again.status_code, other.status_code) == (200, 200, 409)
    assert other.json()["type"].rpartition(":")[2] == "already-decided"
    assert (decided.json()["call"]["decision"], decided.json()["call"]["decided_by"]) == ("approve", "ada")
    record = site.database.run(records.read, turn_id=turn)
    assert record.state == "queued"
    claimed = site.claim(record.thread_id)
    assert isinstance(claimed, ClaimedTurn)
    assert [each.decision and each.decision.kind for each in claimed.pending] == ["approve"]
    site.settle(claimed, Completed())
    assert site.ask("ada", "GET", f"/turns/{turn}/pending").json() == {"pending": []}


def test_a_turn_of_another_user_waits_for_nobody_else(site: Site) -> None:
    turn = make_undecided(site)
    assert site.ask("bob", "GET", "/pending").json()["pending"] == []
    assert site.ask("bob", "GET", f"/turns/{turn}/pending").status_code == 404
    assert site.ask("bob", "POST", f"/turns/{turn}/pending/call-1", json={"decision": "approve"}).status_code == 404
    assert site.ask("ada", "POST", f"/turns/{turn}/pending/call-2", json={"decision": "approve"}).status_code == 404


def test_answers_results_and_edits_are_checked(site: Site) -> None:
    asked = make_undecided(site, PendingKind.QUESTION, question="Which?", choices=["a", "b"], schema={"type": "string"})
    path = f"/turns/{asked}/pending/call-1"
    refused = [
        site.ask("ada", "POST", path, json=body).status_code
        for body in ({"decision": "approve"}, {"decision": "answer", "value": "c"}, {"decision": "answer"})
    ]
    assert refused == [400, 400, 400]
    assert site.ask("ada", "POST", path, json={"decision": "answer", "value": "b"}).status_code == 200

    asked = make_undecided(site, PendingKind.CLIENT_TOOL)
    answer = site.ask("ada", "POST", f"/turns/{asked}/pending/call-1", json={"decision": "result", "content": {"a": 1}})
    assert answer.json()["call"]["decision"] == "result"

    asked = make_undecided(site)
    edit = {"decision": "edit", "arguments": {"amount": 10}}
    assert site.ask("ada", "POST", f"/turns/{asked}/pending/call-1", json=edit).status_code == 200


def test_a_list_of_calls_goes_on_page_by_page(site: Site) -> None:
    turns = [make_undecided(site) for _ in range(3)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = site.ask("ada", "GET", "/pending", params={"limit": 2, "user": "ada"} | cursor).json()
        seen += [call["turn_id"] for call in page["pending"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert seen[-3:] == turns
    assert len(seen) == len(set(seen))
    assert site.ask("ada", "GET", "/pending", params={"user": "bob"}).json()["pending"] == []


def test_a_key_that_may_only_read_decides_nothing_and_one_of_no_user_decides_under_its_own_name(site: Site) -> None:
    turn = make_undecided(site)
    path, decision = f"/turns/{turn}/pending/call-1", {"json": {"decision": "approve"}}

    assert site.ask("ada-reads", "POST", path, **decision).status_code == 403
    decided = site.ask("acme", "POST", path, **decision)

    assert decided.json()["call"]["decided_by"] == "key-acme"
