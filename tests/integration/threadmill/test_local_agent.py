"""Library calls: one rule for all who work on a thread, whoever they are and however they end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from agent.models.protocol import ModelReply, ModelRequest, TextDelta
from conversation.errors import DatabaseRefused, ModelError
from store import tables
from store.turns.claims import NothingDue
from store.turns.settle import SettleOutcome
from store.turns.turn_store import TurnStore
from tests.integration.threadmill.library_stage import (
    FakeModel,
    Worker,
    calls_look,
    echo,
    look,
    opened,
    said,
    states,
    user,
)
from threadmill import (
    Agent,
    MessageAdded,
    ReplyBegun,
    RunContext,
    Thread,
    ThreadStore,
    ToolFinished,
    ToolStarted,
    TurnFailed,
    TurnFinished,
    Usage,
)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "sqlite://"
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "database_url"))


@pytest.fixture
async def store(store_url: str, tmp_path: Path) -> AsyncIterator[ThreadStore]:
    async with await opened(store_url, tmp_path) as store:
        yield store


@pytest.fixture
async def worker(store: ThreadStore) -> Worker:
    made = Worker(store)
    await made.begins()
    return made


async def test_a_call_waits_for_the_worker_that_holds_its_thread(store: ThreadStore, worker: Worker) -> None:
    await worker.is_sent("t", "first")
    claimed = await worker.claims("t")
    agent = Agent(name="caller", model=FakeModel(), thread_store=store)

    call = asyncio.create_task(agent.go(Thread(id="t", messages=[user("second")])))
    await asyncio.sleep(0.3)
    assert not call.done()
    settled = await worker.answers(claimed, "worker's answer")
    result = await call

    assert settled.next_turn_id is None
    assert result.content == "answer to second"
    assert await said(store) == ["first", "worker's answer", "second", "answer to second"]
    assert await states(store) == [("completed", None), ("completed", None)]


async def test_a_tool_knows_who_asks_and_whose_thread_it_is(store: ThreadStore) -> None:
    told: list[tuple[str | None, str | None]] = []

    def look(run: RunContext) -> str:
        """Look."""
        told.append((run.user, run.thread_owner))
        return "seen"

    agent = Agent(name="caller", model=FakeModel(calls_look), tools=[look], thread_store=store)
    thread = Thread(id="t")
    for asking in (None, "ann", None, "bob"):
        thread.add_message(user("look"))
        await agent.go(thread, user=asking)

    assert told == [(None, None), ("ann", "ann"), ("ann", "ann"), ("bob", "ann")]
    assert thread.user == "ann"
    certificate = await store.erase(user="bob")
    assert certificate["counts"] == {"shared_turns": 1, "shared_messages": 1}
    assert (await store.erase(user="ann"))["counts"]["threads"] == 1
    assert await store.count() == 0


async def test_a_worker_leaves_a_callers_turn_alone(store: ThreadStore, worker: Worker) -> None:
    model = FakeModel(hangs_at=1)
    agent = Agent(name="caller", model=model, thread_store=store)

    call = asyncio.create_task(agent.go(Thread(id="t", messages=[user("mine")])))
    await model.asked.wait()
    await worker.is_sent("t", "for the worker")
    assert isinstance(await worker.claims("t"), NothingDue)
    model.let_go.set()
    await call

    claimed = await worker.claims("t")
    assert claimed.window[-1].content == "for the worker"
    await worker.answers(claimed, "done")
    assert await said(store) == ["mine", "answer to mine", "for the worker", "done"]


async def test_a_worker_does_not_take_a_turn_that_still_waits(store: ThreadStore, worker: Worker) -> None:
    await worker.is_sent("t", "first")
    claimed = await worker.claims("t")
    agent = Agent(name="caller", model=FakeModel(), thread_store=store)
    call = asyncio.create_task(agent.go(Thread(id="t", messages=[user("second")])))
    await asyncio.sleep(0.1)

    await worker.answers(claimed, "worker's answer")
    found = await worker.claims("t")

    assert isinstance(found, NothingDue)
    assert (await call).content == "answer to second"


async def test_a_cancelled_call_keeps_the_question_and_the_steps_that_finished(store: ThreadStore) -> None:
    model = FakeModel(calls_look, hangs_at=2)
    agent = Agent(name="caller", model=model, tools=[look], thread_store=store)
    thread = Thread(id="t", messages=[user("look")])
    call = asyncio.create_task(agent.go(thread))
    await model.asked.wait()

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    stored = (await store.get_thread("t")).messages
    assert [(m.role, m.content) for m in stored] == [("user", "look"), ("assistant", ""), ("tool", '"seen"')]
    assert await states(store) == [("cancelled", None)]
    model.hangs_at = None
    thread.add_message(user("and now?"))
    await agent.go(thread)
    assert [m["role"] for m in model.requests[2].messages] == ["user", "assistant", "tool", "user"]


async def test_a_call_that_is_cancelled_while_it_waits_keeps_the_question_and_frees_the_thread(
    store: ThreadStore, worker: Worker
) -> None:
    await worker.is_sent("t", "first")
    claimed = await worker.claims("t")
    agent = Agent(name="caller", model=FakeModel(), thread_store=store)
    thread = Thread(id="t", messages=[user("second")])
    call = asyncio.create_task(agent.go(thread))
    await asyncio.sleep(0.2)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await worker.answers(claimed, "worker's answer")

    assert sorted(await said(store)) == ["first", "second", "worker's answer"]
    assert thread.messages[0].seq is not None
    assert await states(store) == [("completed", None), ("cancelled", None)]
    thread.add_message(user("third"))
    assert (await agent.go(thread)).content == "answer to third"


async def test_a_call_that_is_cancelled_while_its_answer_is_stored_has_stored_it(
    store: ThreadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    storing, settle = asyncio.Event(), TurnStore.settle

    async def slow(*args: Any, **options: Any) -> SettleOutcome:
        storing.set()
        await asyncio.sleep(0.2)
        return await settle(*args, **options)

    monkeypatch.setattr(TurnStore, "settle", slow)
    agent = Agent(name="caller", model=FakeModel(), thread_store=store)
    call = asyncio.create_task(agent.go(Thread(id="t", messages=[user("hello")])))
    await storing.wait()

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert await said(store) == ["hello", "answer to hello"]
    assert await states(store) == [("completed", None)]


@pytest.mark.parametrize("after_seconds", [0, 0.001, 0.003, 0.006, 0.01, 0.02, 0.04])
async def test_a_call_can_be_cancelled_at_any_moment_and_made_again(store: ThreadStore, after_seconds: float) -> None:
    model = FakeModel()
    agent = Agent(name="caller", model=model, thread_store=store)
    thread = Thread(id="t", messages=[user("hello")])

    call = asyncio.create_task(agent.go(thread))
    await asyncio.sleep(after_seconds)
    call.cancel()
    await asyncio.wait([call])
    await asyncio.wait_for(agent.go(thread), 10)

    contents = await said(store)
    assert contents[0] == "hello"
    assert contents.count("hello") == 1
    assert "answer to hello" in contents
    assert {state for state, _ in await states(store)} <= {"completed", "cancelled"}


async def test_a_model_that_fails_leaves_the_question(store: ThreadStore) -> None:
    def fail(request: ModelRequest) -> ModelReply:
        raise ModelError("rate_limited", "'hello' is too much", retryable=True)

    model = FakeModel(fail)
    agent = Agent(name="caller", model=model, thread_store=store)
    thread = Thread(id="t", messages=[user("hello")])

    with pytest.raises(TurnFailed, match="rate_limited: the provider's limit was reached") as failed:
        await agent.go(thread)

    assert failed.value.kind == "model_error"
    assert await said(store) == ["hello"]
    assert await states(store) == [("failed", "model_error")]
    model.answer = echo
    assert (await agent.go(thread)).content == "answer to hello"


async def test_a_bug_in_a_model_ends_the_turn_and_reaches_the_caller(store: ThreadStore) -> None:
    def broken(request: ModelRequest) -> ModelReply:
        raise RuntimeError("a bug")

    agent = Agent(name="caller", model=FakeModel(broken), thread_store=store)
    thread = Thread(id="t", messages=[user("hello")])

    with pytest.raises(RuntimeError, match="a bug"):
        await agent.go(thread)

    assert await said(store) == ["hello"]
    assert await states(store) == [("failed", "agent_error")]
    thread.add_message(user("again"))
    again = Agent(name="caller", model=FakeModel(), thread_store=store)
    assert (await again.go(thread)).content == "answer to again"


async def test_what_was_said_before_an_agent_broke_is_kept_with_its_usage_and_its_cost(store: ThreadStore) -> None:
    def breaks_after_a_look(request: ModelRequest) -> ModelReply:
        if request.messages[-1]["role"] == "tool":
            raise RuntimeError("a bug")
        return replace(calls_look(request), content="I look", usage=Usage(10, 5), cost=0.5)

    agent = Agent(name="caller", model=FakeModel(breaks_after_a_look), tools=[look], thread_store=store)
    thread = Thread(id="t", messages=[user("hello")])

    with pytest.raises(RuntimeError, match="a bug"):
        await agent.go(thread)

    assert await said(store) == ["hello", "I look", '"seen"']
    assert [message.content for message in thread.messages] == ["hello", "I look", '"seen"']
    spent = select(tables.turns.c.error_kind, tables.turns.c.usage, tables.turns.c.cost)
    (turn,) = await store.database.run_async(lambda c: c.execute(spent).all())
    assert turn.error_kind == "agent_error"
    assert Usage(**turn.usage).prompt_tokens >= 10
    assert turn.cost == 0.5


async def test_an_end_that_cannot_be_stored_fails_the_turn_and_frees_the_thread(store: ThreadStore) -> None:
    def unstorable(request: ModelRequest) -> ModelReply:
        no_json: Any = b"stop"
        return ModelReply(content="fine", model="m", finish_reason=no_json)

    agent = Agent(name="caller", model=FakeModel(unstorable), thread_store=store)
    thread = Thread(id="t", messages=[user("hello")])

    with pytest.raises((DatabaseRefused, TypeError), match="not JSON serializable"):
        await agent.go(thread)

    assert await states(store) == [("failed", "agent_error")]
    thread.add_message(user("again"))
    again = Agent(name="caller", model=FakeModel(), thread_store=store)
    assert (await again.go(thread)).content == "answer to again"


async def test_a_stream_tells_what_happens_in_order(store: ThreadStore) -> None:
    agent = Agent(name="caller", model=FakeModel(calls_look), tools=[look], thread_store=store)
    thread = Thread(id="t", messages=[user("look")])

    events = [event async for event in agent.stream(thread)]

    kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
    asked = [ReplyBegun, MessageAdded, ToolStarted, ToolFinished, MessageAdded]
    assert kinds == [*asked, ReplyBegun, MessageAdded, TurnFinished]
    deltas = [event.text for event in events if isinstance(event, TextDelta) and event.text.strip()]
    assert "".join(deltas).strip() == 'I have "seen"'
    assert events[-1].result.content == 'I have "seen"'  # type: ignore[union-attr]
    assert [message.role for message in thread.messages] == ["user", "assistant", "tool", "assistant"]
    assert len(await said(store)) == 4


async def test_a_stream_that_nobody_reads_on_stops_its_turn(store: ThreadStore) -> None:
    model = FakeModel(calls_look, hangs_at=2)
    agent = Agent(name="caller", model=model, tools=[look], thread_store=store)
    stream = agent.stream(Thread(id="t", messages=[user("look")]))

    async for event in stream:
        if isinstance(event, ToolFinished):
            break
    await stream.aclose()  # type: ignore[attr-defined]

    assert await states(store) == [("cancelled", None)]
    assert await said(store) == ["look", "", '"seen"']


async def test_a_stream_raises_what_ended_its_turn(store: ThreadStore) -> None:
    def fail(request: ModelRequest) -> ModelReply:
        raise ModelError("refused", "no", retryable=False, is_ours=True)

    agent = Agent(name="caller", model=FakeModel(fail), thread_store=store)

    with pytest.raises(TurnFailed, match="refused: no"):
        async for _ in agent.stream(Thread(id="t", messages=[user("hello")])):
            pass


async def test_calls_at_once_on_one_thread_run_one_after_the_other(store: ThreadStore) -> None:
    agent = Agent(name="caller", model=FakeModel(), thread_store=store)

    async def ask(number: int) -> str:
        return (await agent.go(Thread(id="t", messages=[user(f"question {number}")]))).content

    answers = await asyncio.gather(*(ask(number) for number in range(12)))

    assert answers == [f"answer to question {number}" for number in range(12)]
    stored = await said(store)
    assert stored[1::2] == [f"answer to {question}" for question in stored[0::2]]
    assert len(stored) == 24


async def test_one_object_that_is_asked_twice_at_once_says_its_question_once(store: ThreadStore) -> None:
    agent = Agent(name="caller", model=FakeModel(), thread_store=store)
    thread = Thread(id="t", messages=[user("hello")])

    await asyncio.gather(agent.go(thread), agent.go(thread))

    assert (await said(store)).count("hello") == 1
    assert [state for state, _ in await states(store)] == ["completed", "completed"]


async def test_a_thread_out_of_a_listing_can_go_on(store: ThreadStore) -> None:
    model = FakeModel()
    agent = Agent(name="caller", model=model, thread_store=store)
    await store.append("t", user("old"))
    (listed,) = await store.list_threads()

    listed.add_message(user("new"))
    await agent.go(listed)

    assert [m["content"] for m in model.requests[0].messages] == ["old", "new"]


async def test_nothing_is_left_of_the_callers_presence(store: ThreadStore) -> None:
    agent = Agent(name="caller", model=FakeModel(), thread_store=store)
    threads = [Thread(id=f"t-{number}", messages=[user("hello")]) for number in range(5)]

    await asyncio.gather(*(agent.go(thread) for thread in threads))

    left = await store.database.run_async(lambda c: c.execute(select(tables.workers.c.id)).all())
    assert left == []
