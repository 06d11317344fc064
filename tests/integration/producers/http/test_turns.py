"""Turns over HTTP: waiting, stopping, trying again, and what they cost."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from conversation.turn import Failed, TurnError
from store.turns import records
from tests.integration.producers.http.site import Site


def test_a_wait_ends_with_the_turn_or_with_its_time(site: Site) -> None:
    thread = site.make_thread("ada")["id"]
    turn = site.send("ada", thread)["id"]

    early = site.ask("ada", "GET", f"/turns/{turn}", params={"wait": 0.05}).json()

    async def wait_meanwhile() -> tuple[float, list[str]]:
        headers, began = {"Authorization": "Bearer ada"}, time.monotonic()
        path = f"/v1/turns/{turn}?wait=25"
        waits = [asyncio.create_task(site.client.get(path, headers=headers)) for _ in range(3)]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(site.answer, thread)
        answers = [answer.json() for answer in await asyncio.gather(*waits)]
        return time.monotonic() - began, [answer["messages"][0]["content"] for answer in answers]

    seconds, contents = site.runner.run(wait_meanwhile())

    assert (early["state"], early["position"], early["messages"]) == ("queued", 0, None)
    assert contents == [f"an answer to {turn}"] * 3
    assert seconds < 20


def test_a_turn_tells_its_place_and_its_end(site: Site) -> None:
    thread = site.make_thread("ada")["id"]
    turns = [site.send("ada", thread, str(n))["id"] for n in range(3)]
    claimed = site.claim(thread)
    error = TurnError("model_error", "the model is away", retryable=True)
    answers = [site.ask("ada", "GET", f"/turns/{turn}").json() for turn in turns]
    site.settle(claimed, Failed(error=error))
    failed = site.ask("ada", "GET", f"/turns/{turns[0]}").json()
    listed = site.ask("ada", "GET", f"/threads/{thread}/turns", params={"limit": 2}).json()

    assert [(each["state"], each["position"]) for each in answers] == [("running", None), ("queued", 1), ("queued", 2)]
    assert (failed["state"], failed["error"]["kind"], failed["messages"]) == ("failed", "model_error", [])
    assert [each["id"] for each in listed["turns"]] == turns[:0:-1]
    rest = site.ask("ada", "GET", f"/threads/{thread}/turns", params={"cursor": listed["next_cursor"]}).json()
    assert [each["id"] for each in rest["turns"]] == turns[:1]


def test_who_stops_a_turn_is_written_down_and_it_can_go_on(site: Site) -> None:
    thread = site.make_thread("ada")["id"]
    turn = site.send("ada", thread)["id"]

    stopped = site.ask("ada", "POST", f"/turns/{turn}/cancel").json()["turn"]
    record = site.database.run(records.read, turn_id=turn)
    again = site.ask("ada", "POST", f"/turns/{turn}/requeue", json={"agent": "other"})
    unknown = site.ask("ada", "POST", f"/turns/{turn}/requeue", json={"agent": "nobody"})

    assert (stopped["state"], record.cancel_requested_by) == ("cancelled", "ada")
    assert (again.json()["turn"]["state"], again.json()["turn"]["agent"]) == ("queued", "other")
    assert again.headers["Location"] == f"/v1/turns/{again.json()['turn']['id']}"
    assert unknown.status_code == 400
    site.answer(thread)
    assert site.ask("ada", "POST", f"/turns/{turn}/requeue").status_code == 409


def test_a_send_is_answered_with_its_events_where_they_are_asked_for(site: Site) -> None:
    thread = site.make_thread("ada")["id"]
    headers = {"Authorization": "Bearer ada", "Accept": "text/event-stream"}

    async def send() -> tuple[str, str]:
        path, json_body = f"/v1/threads/{thread}/messages", {"content": "hello"}
        sending = asyncio.create_task(site.client.post(path, json=json_body, headers=headers))
        await asyncio.to_thread(site.wait_for_turn, thread)
        await asyncio.to_thread(site.answer, thread)
        answer = await sending
        return answer.headers["content-type"], answer.text

    content_type, text = site.runner.run(send())

    assert content_type.startswith("text/event-stream")
    assert "event: turn.started\n" in text
    assert f'"an answer to {site.ask_turns(thread)[0]}"' in text
    assert "event: turn.ended\n" in text


def test_usage_is_the_tenants_for_its_operators_and_each_users_for_them(site: Site) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    threads = {user: site.make_thread("acme", user=user)["id"] for user in ("ada", "bob")}
    for thread in threads.values():
        site.send("acme", thread)
        site.answer(thread)
    params = {"since": began.isoformat(), "by": "user"}

    whole = {each["key"]: each["cost"] for each in site.ask("acme", "GET", "/usage", params=params).json()["usage"]}
    own = site.ask("ada-reads", "GET", "/usage", params=params).json()["usage"]

    assert whole["ada"] >= 0.25 <= whole["bob"]
    assert [each["key"] for each in own] == ["ada"]
    assert own[0]["prompt_tokens"] >= 7
    assert site.ask("rival", "GET", "/usage", params=params).json()["usage"] == []
    agents = site.ask("acme", "GET", "/usage", params=params | {"by": "agent"}).json()["usage"]
    assert {each["key"] for each in agents} >= {"assistant"}
