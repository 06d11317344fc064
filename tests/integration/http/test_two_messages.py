"""Two messages at once over HTTP: a policy with a send or for a thread, and turns shown as what answers them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from store.database.engine import Database
from store.settings import Settings
from store.turns import cancel
from tests.integration.producers.backend import register_agent
from tests.integration.store.turns.busy_scene import BusyScene
from tests.unit.http.gateways import client_of, make_gateway


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway, and a client of one user of it."""
    gateway = make_gateway(settings)
    async with gateway.router.lifespan_context(gateway), client_of(gateway, name="default/anna") as client:
        yield client


async def test_a_message_to_a_busy_thread_is_refused_with_the_turn_that_comes_first(
    settings: Settings, database: Database
) -> None:
    register_agent(database)
    async with opened(settings) as client:
        first = (await client.post("/v1/threads/t/messages?create=true", json={"content": "one"})).json()["turn"]
        changed = await client.patch("/v1/threads/t", json={"when_busy": "reject"})
        refused = await client.post("/v1/threads/t/messages", json={"content": "two"})
        taken = await client.post("/v1/threads/t/messages", json={"content": "two", "when_busy": "enqueue"})
        back = await client.patch("/v1/threads/t", json={"when_busy": None})

    assert changed.json()["when_busy"] == "reject"
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:threadmill:problem:thread-busy")
    assert (refused.json()["turn_id"], refused.json()["retryable"]) == (first["id"], True)
    assert taken.status_code == 202
    assert back.json()["when_busy"] is None


async def test_a_merged_turn_is_shown_as_that_which_answers_it(settings: Settings, database: Database) -> None:
    register_agent(database)
    scene = BusyScene(database)
    async with opened(settings) as client:
        where = f"/v1/threads/{scene.thread}/messages"
        sent = [
            (await client.post(f"{where}?create=true", json={"content": text, "when_busy": "merge"})).json()["turn"][
                "id"
            ]
            for text in ("one", "two")
        ]
        claimed = scene.claim_turn()
        running = (await client.get(f"/v1/turns/{sent[1]}")).json()
        scene.end(claimed)
        over = (await client.get(f"/v1/turns/{sent[1]}")).json()
        listed = (await client.get(f"/v1/threads/{scene.thread}/turns")).json()["turns"]

    assert (running["id"], running["state"], running["merged_into"]) == (sent[1], "running", sent[0])
    assert (over["state"], over["messages"][0]["content"], over["cost"]) == ("completed", "to one and two", None)
    assert [turn["state"] for turn in listed] == ["merged", "completed"]


async def test_who_cancels_a_merged_turn_cancels_that_which_answers_it(settings: Settings, database: Database) -> None:
    scene = BusyScene(database)
    sent = [scene.send(text, "merge", user="anna") for text in ("one", "two")]  # type: ignore[arg-type]
    scene.claim_turn()
    async with opened(settings) as client:
        answer = await client.post(f"/v1/turns/{sent[1]}/cancel")

    assert answer.status_code == 202
    assert database.run(cancel.list_requested, sent) == [sent[0]]
