"""The clients against the gateway itself, with keys, rows and a worker, behind a proxy that loses answers and cuts."""

import asyncio
import base64
import json
import random
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import async_playwright
from sqlalchemy import func, select
from threadmill_client import (
    AsyncThreadmill,
    Conflict,
    Forbidden,
    InvalidRequest,
    MessageDelta,
    MessageDone,
    MessageRestarted,
    NotFound,
    PreconditionFailed,
    Threadmill,
    ThreadSwitched,
    TurnEnded,
    TurnStarted,
    TurnWaiting,
    UnknownEvent,
)
from threadmill_client.events import Event

from agent.tools.tool import tool
from conversation.task_contract import WakeUp
from examples.client import ask
from producers.http import sse
from producers.http.app import create_gateway
from producers.producer import Producer
from store import tables
from store.keys.key_rows import KeyRequest, create_key
from store.keys.key_text import make_key
from store.settings import load
from tasks.runner import Runner
from tests.integration.clients.losing_proxy import LosingProxy
from tests.integration.clients.test_typescript_client import compile_package, run_node
from tests.integration.streams.test_faults import open_worker

IN_THE_PAGE = """
async ([url, key]) => {
  const { Threadmill } = await import("/index.js");
  const client = new Threadmill(url, key);
  const thread = await client.createThread({ title: "Parcel" });
  const file = await client.uploadFile(new Blob(["Hello"]), { filename: "note.txt" });
  const turn = await client.sendMessage(thread.id, "Where is it?", { attachments: [file] });
  const numbers = [];
  for await (const event of client.turnEvents(turn.id)) if (event.id !== null) numbers.push(event.id);
  const { etag } = await client.getThread(thread.id);
  const changed = await client.updateThread(thread.id, { title: null }, { etag });
  const bytes = await client.downloadFile(thread.id, file.sha256);
  const refusal = await client.getThread("missing").catch((error) => error.status);
  return { etag, numbers, title: changed.title, text: new TextDecoder().decode(bytes), refusal };
}
"""


@tool(needs_approval=lambda call: call.user == "careful")
def look() -> str:
    """Look."""
    return "seen"


@dataclass
class World:
    """A gateway behind a proxy, and what is stored."""

    producer: Producer
    proxy: LosingProxy

    def make_key(self, user: str | None = None, *scopes: Any) -> str:
        key = make_key()
        request = KeyRequest(tenant="acme", user=user, scopes=scopes or ("read", "write", "operate"))
        self.producer.database.run(create_key, request, key)
        return key.text

    def count(self, table: Any) -> int:
        counted: int = self.producer.database.run(lambda c: c.execute(select(func.count()).select_from(table)).scalar())
        return counted


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """A server of the page of a shop, whose files are in `shop`."""

    class Shop(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Shop, directory=str(tmp_path / "shop"))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
async def world(
    database_url: str, valkey_url: str, tmp_path: Path, origin: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    # Seconds pass between two connections otherwise.
    monkeypatch.setattr(sse, "FIRST_FRAME", b":\nretry: 10\n\n")
    settings = load(
        database_url=database_url,
        broker_url=valkey_url,
        file_store_url=str(tmp_path / "files"),
        default_agent="a",
        gateway_cors_origins=origin,
        webhook_encryption_keys=base64.b64encode(b"0" * 32).decode(),
    )
    producer = Producer(settings)
    async with (
        LosingProxy(0) as proxy,
        open_worker(settings, random.Random(1), look) as runner,
        serving(create_gateway(settings), proxy),
        at_work(runner, producer),
    ):
        yield World(producer, proxy)
    await producer.close_async()


@asynccontextmanager
async def serving(app: FastAPI, proxy: LosingProxy) -> AsyncIterator[None]:
    """A server behind a proxy, on this loop, which opens and closes what its gateway has."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy.port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        yield
        proxy.cut()
        server.should_exit = True
        await running


@asynccontextmanager
async def at_work(runner: Runner, producer: Producer) -> AsyncIterator[None]:
    """A worker that looks for turns by itself."""
    threads, turns = tables.threads, tables.turns
    due = (
        select(threads.c.id, turns.c.id)
        .join(threads, threads.c.key == turns.c.thread_key)
        .where(turns.c.state == "queued", turns.c.not_before.is_(None))
    )

    async def work() -> None:
        while True:
            for thread_id, turn_id in producer.database.run(lambda c: [tuple(row) for row in c.execute(due)]):
                await runner.run_thread(WakeUp(tenant="acme", thread_id=thread_id, turn_id=str(turn_id)))
            await asyncio.sleep(0.02)

    working = asyncio.create_task(work())
    yield
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working


def check_turn(events: list[Event]) -> str:
    """Check that a turn's events are whole and in order; returns what was said last."""
    numbers = [event.number for event in events if event.number is not None]
    assert numbers == sorted(set(numbers))
    assert not [event for event in events if isinstance(event, UnknownEvent)]
    assert isinstance(events[-1], TurnEnded)
    open_texts: dict[str, str] = {}
    texts: list[str] = []
    for event in events:
        match event:
            case TurnStarted():
                open_texts.clear()
            case MessageRestarted():
                open_texts[event.message_id] = ""
            case MessageDelta():
                open_texts[event.message_id] = open_texts.get(event.message_id, "") + event.text
            case MessageDone():
                assert event.message.content.startswith(open_texts.pop(event.message.id, ""))
                texts.append(event.message.content)
    return texts[-1]


async def test_an_answer_that_is_lost_and_a_stream_that_is_cut_change_nothing(world: World) -> None:
    proxy = world.proxy
    async with AsyncThreadmill(proxy.address, world.make_key()) as client:
        proxy.lose(2)
        thread = await client.create_thread(title="Parcel", metadata={"plan": "pro"}, user="ada")
        proxy.lose(2)
        turn = await client.send_message(thread.id, "Where is it?")
        proxy.lose(1)
        copy = await client.fork_thread(thread.id)
        proxy.size = 2500
        proxy.cut()
        events = [event async for event in client.turn_events(turn.id)]
        connections = proxy.connections
        proxy.size = None

        last = check_turn(events)
        over = await client.wait_for_turn(turn.id)
        assert connections > 5
        assert (over.state, over.content) == ("completed", last)
        assert [message.role for message in over.messages] == ["assistant", "tool", "assistant"]
        assert [event async for event in client.turn_events(turn.id, after=events[-1].cursor)] == []
        assert {thread.id, copy.id} == {each.id async for each in client.list_threads(page_size=1)}
        assert (world.count(tables.turns), world.count(tables.threads)) == (1, 2)
        proxy.lose(1)
        await client.delete_thread(copy.id)


async def test_each_verb_does_what_it_says(world: World, tmp_path: Path) -> None:
    await asyncio.to_thread(walk, world, tmp_path)


def walk(world: World, folder: Path) -> None:
    with Threadmill(world.proxy.address, world.make_key()) as client:
        client.create_thread("t", title="Parcel", user="ada")
        with pytest.raises(Conflict):
            client.create_thread("t")
        write_and_read(client)
        send_files(client, folder)
        branch_off(client)
        decide_calls(client)
        plan_and_tell(client)
        let_others_tell(client, world.proxy.address)
        control_turns(client)
        check_refusals(client, world)


def write_and_read(client: Threadmill) -> None:
    thread = client.get_thread("t")
    changed = client.update_thread("t", title=None, metadata={"plan": "pro"}, etag=thread.etag)
    assert (changed.title, changed.metadata) == (None, {"plan": "pro"})
    with pytest.raises(PreconditionFailed):
        client.update_thread("t", title="Theirs", etag=thread.etag)
    assert [each.id for each in client.list_threads(user="ada", metadata={"plan": "pro"})] == ["t"]
    client.write_context("t", "place", "The user writes from Lisbon.")
    assert client.read_context("t")["place"].content == "The user writes from Lisbon."
    client.delete_context("t", "place")
    assert client.read_context("t") == {}
    assert client.list_summaries("t") == ()
    assert client.create_stream_token("t").expires_at is not None


def send_files(client: Threadmill, folder: Path) -> None:
    small = client.upload_file(b"Hello", filename="note.txt")
    large = client.upload_file(b"word " * 300_000, filename="large.txt")
    turn = client.send_message("t", "Read these", attachments=[small, large], metadata={"order": 1}, priority=3)
    over = client.wait_for_turn(turn.id, timeout_seconds=60)
    assert over.state == "completed"
    newest, *_ = client.list_messages("t", order="desc", page_size=2)
    first = next(iter(client.list_messages("t")))
    assert (first.role, [file.filename for file in first.attachments]) == ("user", ["note.txt", "large.txt"])
    assert (newest.content, newest.event_id) == (
        over.content,
        client.get_thread("t").last_event_id - 1,
    ) or newest.event_id
    assert client.download_file("t", small.sha256) == b"Hello"
    assert client.save_file("t", large.sha256, folder / "large.txt").stat().st_size == large.size
    assert [each.id for each in client.list_turns("t")] == [turn.id]
    (found,) = client.search_threads("Read")
    assert (found.id, found.snippets[0].role) == ("t", "user")
    assert client.read_usage(by="agent")[0].turns == 1
    replayed = list(client.turn_events(turn.id))
    assert check_turn(replayed) == over.content
    # What a page has read goes on behind it.
    followed = client.thread_events("t", after=first.event_id or 0)
    assert next(followed).number == next(
        event.number for event in replayed if (event.number or 0) > (first.event_id or 0)
    )
    followed.close()


def branch_off(client: Threadmill) -> None:
    question = next(iter(client.list_messages("t")))
    again = client.wait_for_turn(client.regenerate("t").id)
    main, other = client.list_branches("t")
    compared = client.compare_branches("t", main.id, other.id)
    assert (main.is_chosen, other.is_chosen, other.origin, other.parent) == (False, True, "regenerate", "main")
    assert again.branch == other.id
    assert (len(compared.ours), compared.theirs) == (3, again.messages)
    assert client.rename_branch("t", other.id, "shorter").name == "shorter"
    before = client.get_thread("t").last_event_id
    assert client.choose_branch("t", "main").is_chosen
    followed = client.thread_events("t", after=before)
    switch = next(followed)
    assert isinstance(switch, ThreadSwitched)
    assert switch.branch == "main"
    followed.close()
    edited = client.edit_message("t", question.id, "Read them")
    assert client.wait_for_turn(edited.id).state == "completed"
    first = next(iter(client.list_messages("t")))
    assert (first.content, len(first.attachments)) == ("Read them", 2)
    made = client.make_branch("t", at=first.id, name="asked")
    assert [message.id for message in client.list_messages("t", branch=made.id)] == [first.id]
    client.delete_branch("t", made.id)
    client.choose_branch("t", "main")
    assert [branch.origin for branch in client.list_branches("t")] == [None, "regenerate", "edit"]


def decide_calls(client: Threadmill) -> None:
    turn = client.send_message("t", "Look, but ask", user="careful", when_busy="reject")
    asked = next(event for event in client.turn_events(turn.id) if isinstance(event, TurnWaiting))
    (call,) = client.read_pending(turn.id)
    assert (client.get_turn(turn.id).state, asked.calls, [*client.list_pending()]) == ("waiting", (call,), [call])
    assert (call.kind, call.name, call.arguments) == ("approval", "look", {})
    with pytest.raises(Conflict):
        client.approve_call(turn.id, call.call_id, digest="0" * 64)
    denied = client.deny_call(turn.id, call.call_id, "not now", digest=call.digest)
    assert (denied.decision, denied.reason) == ("deny", "not now")
    with pytest.raises(Conflict):
        client.approve_call(turn.id, call.call_id)
    over = client.wait_for_turn(turn.id, timeout_seconds=60)
    assert (over.state, "not now" in over.messages[1].content) == ("completed", True)
    handed = client.update_thread("t", agent="a", when_busy="merge")
    assert (handed.agent, handed.when_busy) == ("a", "merge")
    assert client.update_thread("t", agent=None, when_busy=None).when_busy is None


def plan_and_tell(client: Threadmill) -> None:
    schedule = client.create_schedule("late?", cron="0 9 * * *", thread_id="t", time_zone="Europe/Berlin", name="late")
    assert [each.id for each in client.list_schedules(thread_id="t")] == [schedule.id]
    changed = client.update_schedule(schedule.id, cron="30 8 * * *", content="how late?", name=None)
    assert (changed.cron, changed.content, changed.name, changed.thread_id) == ("30 8 * * *", "how late?", None, "t")
    assert client.pause_schedule(schedule.id).state == "paused"
    assert client.resume_schedule(schedule.id).next_at == changed.next_at
    run = client.run_schedule(schedule.id)
    assert client.wait_for_turn(run.id, timeout_seconds=60).schedule_id == schedule.id
    assert [turn.id for turn in client.list_schedule_turns(schedule.id)] == [run.id]
    client.delete_schedule(schedule.id)
    with pytest.raises(NotFound):
        client.get_schedule(schedule.id)
    made = client.create_webhook("https://example.org/hooks", kinds=["turn.failed"], name="billing")
    changed = client.update_webhook(made.webhook.id, kinds=None, enabled=False)
    assert (changed.kinds, changed.state, client.list_webhooks()) == (None, "disabled", (changed,))
    assert client.rotate_webhook_secret(changed.id, grace_seconds=0).secret != made.secret
    assert [*client.list_webhook_deliveries(changed.id, state="dead")] == []
    assert client.replay_dead_webhook_deliveries(changed.id) == 0
    client.delete_webhook(changed.id)


def let_others_tell(client: Threadmill, address: str) -> None:
    mapping = {"thread_id": "shop-{/order}", "text": "{/event}", "idempotency_key": "{/id}"}
    made = client.create_inbound_source("shop", mapping, scheme="token", header="X-Token", only={"/event": ["late"]})
    source = made.source

    def post(secret: str, **event: str) -> httpx.Response:
        return httpx.post(
            address + source.path, json={"event": "late", "order": 7} | event, headers={"X-Token": secret}
        )

    turn = client.wait_for_turn(post(made.secret, id="1").json()["turn_id"], timeout_seconds=60)
    assert (turn.state, turn.thread_id) == ("completed", "shop-7")
    assert post(made.secret, id="2", event="paid").json()["turn_id"] is None
    rotated = client.rotate_inbound_source_secret(source.id, grace_seconds=60)
    assert [post(secret, id="3").status_code for secret in (made.secret, rotated.secret)] == [202, 202]
    client.rotate_inbound_source_secret(source.id, grace_seconds=0, secret="of the sender's own")
    assert [post(secret, id="4").status_code for secret in (rotated.secret, "of the sender's own")] == [401, 202]
    disabled = client.update_inbound_source(source.id, enabled=False)
    assert (disabled.state, post("of the sender's own", id="5").status_code) == ("disabled", 404)
    assert client.list_inbound_sources() == (client.get_inbound_source(source.id),) == (disabled,)
    client.delete_inbound_source(source.id)
    with pytest.raises(NotFound):
        client.get_inbound_source(source.id)


def control_turns(client: Threadmill) -> None:
    turn = client.send_message("t", "Later", not_before=_tomorrow())
    assert client.get_turn(turn.id).state == "queued"
    client.cancel_turn(turn.id)
    events = list(client.turn_events(turn.id))
    assert [event.kind for event in events][-1] == "turn.ended"
    assert list(client.turn_events(turn.id, after=events[-1].cursor)) == []
    again = client.requeue_turn(turn.id)
    assert client.wait_for_turn(again.id).state == "completed"


def check_refusals(client: Threadmill, world: World) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.send_message("t", "Hi", priority=99)
    assert (caught.value.field, caught.value.request_id is None) == ("priority", False)
    with Threadmill(world.proxy.address, world.make_key("bob", "read")) as other:
        with pytest.raises(NotFound):
            other.get_thread("t")
        with pytest.raises(NotFound):
            next(other.thread_events("t"))
        with pytest.raises(Forbidden):
            other.create_thread("mine")
    client.delete_thread("t")
    with pytest.raises(NotFound):
        client.delete_thread("t")


def _tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


@pytest.mark.soak
async def test_a_user_follows_all_threads(world: World) -> None:
    async with AsyncThreadmill(world.proxy.address, world.make_key("ada")) as client:
        stream = client.user_events()
        first = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.2)
        turns = [await client.send_message(thread_id, "Hi", create=True) for thread_id in ("a", "b")]
        events = [await first]
        world.proxy.size = 5000
        world.proxy.cut()
        while sum(isinstance(event, TurnEnded) for event in events) < 2:
            events.append(await anext(stream))
        await stream.aclose()

    for turn in turns:
        check_turn([event for event in events if event.turn_id == turn.id])


@pytest.mark.soak
async def test_the_example_asks_and_writes(world: World) -> None:
    def play() -> None:
        with Threadmill(world.proxy.address, world.make_key("ada")) as client:
            answer = ask.ask(client, "parcels", "Where is my parcel?", order="4711")
            assert ask.ask(client, "parcels", "Where is my parcel?", order="4711") == answer
            (turn,) = client.list_turns("parcels")
            assert list(ask.write(client, turn.id))[-1] == answer

    await asyncio.to_thread(play)


@pytest.mark.soak
async def test_node_talks_to_it_as_well(world: World, tmp_path: Path) -> None:
    given = tmp_path / "given.json"
    keys = {"key": world.make_key("ada"), "operator": world.make_key()}
    given.write_text(json.dumps({"url": world.proxy.address, **keys}))

    await asyncio.to_thread(run_node, "--test", "--no-warnings", "tests/inbound.test.js", GIVEN=str(given))
    assert world.count(tables.turns) == 4
    world.proxy.size = 9000
    await asyncio.to_thread(run_node, "--test", "--no-warnings", "tests/gateway.test.js", GIVEN=str(given))

    assert world.count(tables.turns) == 4 + 3


@pytest.mark.soak
async def test_a_page_of_another_origin_talks_to_it_as_well(world: World, tmp_path: Path, origin: str) -> None:
    await asyncio.to_thread(compile_package, tmp_path / "shop")
    (tmp_path / "shop" / "index.html").write_text("<!doctype html><title>Shop</title>")
    world.proxy.size = 9000

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        await page.goto(origin)
        outcome = await page.evaluate(IN_THE_PAGE, [world.proxy.address, world.make_key("ada")])
        await browser.close()

    assert outcome["numbers"] == sorted(set(outcome["numbers"])), complaints
    assert len(outcome["numbers"]) > 20
    assert (outcome["title"], outcome["text"], outcome["refusal"]) == (None, "Hello", 404)
