"""Turns that wait for agents in threads of their own, run by a worker: on each database and on both roads."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from agent.agent import Agent
from agent.tools.thread_pool import ToolThreads
from conversation.errors import ModelError
from conversation.ids import new_id
from conversation.message import Message
from conversation.pending_call import DecisionKind
from conversation.task_contract import WakeUp
from store import tables
from store.database.column_types import clock
from store.database.engine import Database
from store.erasure.subject import Subject, load_thread_keys
from store.retention.delete_thread import delete_thread
from store.settings import load
from store.threads.listing import ThreadFilter
from store.threads.thread_views import list_views
from store.turns import cancel, inbox, pending_calls, records, workers
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRuns
from tasks.runner import Runner
from tests.integration.scripted import NoFiles, Scripted, call, says


@pytest.fixture(params=["postgresql", "postgresql-plain", "sqlite"])
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "database_url")
    database = Database(load(database_url=url), use_functions=request.param != "postgresql-plain")
    yield database
    database.close()


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Workers:
    """Worker processes over one database, which take wake-ups one after the other."""

    database: Database
    agents: dict[str, Agent]
    published: list[WakeUp] = field(default_factory=list)
    worker: str = field(default_factory=new_id)

    def register(self) -> None:
        serves = {name: agent.version for name, agent in self.agents.items()}
        entry = {"host": "here", "pid": 1, "serves": serves, "lease_duration_seconds": 60}
        self.database.run(workers.register, **entry, worker=self.worker)

    def runner(self) -> Runner:
        serves = {name: agent.version for name, agent in self.agents.items()}
        return Runner(
            settings=load(),
            agents=self.agents,
            claim_request=ClaimRequest(worker=self.worker, agents=serves),
            turn_store=TurnStore(self.database),
            active_runs=ActiveRuns(),
            attachments=NoFiles(),
            tool_threads=ToolThreads(2),
            publish_turn_ended=lambda _: None,
        )

    def send(self, content: str = "go") -> str:
        message = Message(role="user", content=content)
        request = SendRequest(
            turn_id=new_id(), tenant="default", thread_id="t", message=message, agent="boss", user="ann"
        )
        return self.database.run(inbox.accept, request).turn_id

    async def wake(self, thread_id: str = "t") -> None:
        await self.runner().run_thread(WakeUp(tenant="default", thread_id=thread_id, turn_id=new_id()))

    async def settle_all(self) -> None:
        """Take wake-ups until there are none."""
        await self.wake()
        while self.published:
            await self.runner().run_thread(self.published.pop(0))

    def turn(self, turn_id: str) -> Any:
        return self.database.run(lambda c: c.execute(select(tables.turns).where(tables.turns.c.id == turn_id)).one())

    def children(self) -> list[Any]:
        statement = select(tables.turns, tables.threads.c.id.label("thread_id"), tables.threads.c.owner)
        statement = statement.join(tables.threads).where(tables.turns.c.parent_turn_id.is_not(None))
        return self.database.run(lambda c: list(c.execute(statement.order_by(tables.turns.c.arrival_seq))))

    def history(self, thread_id: str = "t") -> list[str]:
        said = select(tables.messages.c.content).join(tables.threads).where(tables.threads.c.id == thread_id)
        return self.database.run(lambda c: list(c.execute(said.order_by(tables.messages.c.seq)).scalars()))

    def decided(self, turn_id: str) -> list[DecisionKind | None]:
        calls = self.database.run(pending_calls.load, turn_id=turn_id)
        return [None if each.decision is None else each.decision.kind for each in calls]


@pytest.fixture
async def stage(any_database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workers]:
    helper = Agent(name="helper", model=Scripted(lambda request: says(f"re {request.messages[-1]['content']}")))
    asks = says("I ask", call("helper", "c1", request="one"), call("helper", "c2", request="two"))
    boss = Agent(name="boss", tools=[helper.as_tool(thread=True)], model=Scripted(asks, says("done")))
    opened = Workers(any_database, {"boss": boss, "helper": helper})
    monkeypatch.setattr("tasks.runner.publish_wake_up", opened.published.append)
    opened.register()
    yield opened
    await any_database.close_async()


async def test_a_turn_waits_for_its_agents_without_a_worker_and_goes_on_with_their_answers(stage: Workers) -> None:
    turn = stage.send()

    await stage.wake()

    children = stage.children()
    assert (stage.turn(turn).state, [child.state for child in children]) == ("waiting", ["queued"] * 2)
    assert [(c.agent, c.parent_turn_id, c.parent_call_id, c.depth) for c in children] == [
        ("helper", turn, "c1", 1),
        ("helper", turn, "c2", 1),
    ]
    assert [child.owner for child in children] == ["ann"] * 2
    assert {wake_up.turn_id for wake_up in stage.published} == {child.id for child in children}
    # One answer is not enough.
    await stage.runner().run_thread(stage.published.pop(0))
    assert stage.turn(turn).state == "waiting"
    await stage.settle_all()
    assert stage.turn(turn).state == "completed"
    assert stage.history() == ["go", "I ask", '"re one"', '"re two"', "done"]
    assert [stage.history(child.thread_id) for child in children] == [["one", "re one"], ["two", "re two"]]
    # What an agent spent in a turn of its own stands there.
    assert stage.database.run(records.read, turn_id=turn).cost == 1.0


async def test_a_child_that_fails_or_is_cancelled_is_a_failure_of_the_call(stage: Workers) -> None:
    refuses = ModelError("content_filter", "no", retryable=False)
    stage.agents["helper"] = Agent(name="helper", model=Scripted(refuses))
    turn = stage.send()
    await stage.wake()
    failing, cancelled = stage.children()
    stage.published.clear()

    stage.database.run(cancel.request_cancel, cancelled.id)
    await stage.wake(failing.thread_id)
    await stage.settle_all()

    assert stage.turn(turn).state == "completed"
    results = stage.history()[2:4]
    assert "AgentFailed" in results[0]
    assert "model_error" in results[0]
    assert "cancelled" in results[1]


async def test_who_cancels_a_turn_cancels_those_that_it_waits_for(stage: Workers) -> None:
    turn = stage.send()
    await stage.wake()
    stage.published.clear()
    first, second = stage.children()
    await stage.wake(first.thread_id)

    stage.database.run(cancel.request_cancel, turn)
    await stage.settle_all()
    await stage.wake(second.thread_id)

    assert stage.turn(turn).state == "cancelled"
    assert [child.state for child in stage.children()] == ["completed", "cancelled"]
    assert stage.decided(turn) == [DecisionKind.RESULT, DecisionKind.CLOSED]
    # It was told nothing any more: it stays as it is.
    await stage.settle_all()
    assert stage.turn(turn).state == "cancelled"


async def test_a_wait_that_is_over_ends_the_turn_and_those_that_it_waited_for(stage: Workers) -> None:
    turn = stage.send()
    await stage.wake()
    over = update(tables.turns).where(tables.turns.c.id == turn).values(wait_expires_at=clock(plus_seconds=-1))
    stage.database.run(lambda c: c.execute(over) and None)

    await stage.wake()

    assert (stage.turn(turn).state, stage.turn(turn).error_kind) == ("failed", "waiting_expired")
    assert all(child.cancel_requested_at is not None for child in stage.children())


async def test_the_end_of_a_child_is_told_once_whenever_its_process_dies(
    stage: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two statements of the child's end, and after its commit: before, nothing of it is stored."""
    turn = stage.send()
    await stage.wake()
    child, _ = stage.children()

    def die(*_: Any, **__: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("store.turns.settle.tell_parent", die)
        with pytest.raises((Crash, BaseExceptionGroup)):
            await stage.wake(child.thread_id)
    assert (stage.children()[0].state, stage.decided(turn)) == ("running", [None, None])
    # The worker is dead, and another one goes on.
    stage.database.run(lambda c: c.execute(delete(tables.workers)) and None)
    stage.worker = new_id()
    stage.register()
    await stage.wake(child.thread_id)
    assert stage.decided(turn) == [DecisionKind.RESULT, None]
    # The wake-ups were lost: the turn is found by its row all the same.
    stage.published.clear()
    await stage.wake(stage.children()[1].thread_id)
    assert (stage.turn(turn).state, stage.decided(turn)) == ("queued", [DecisionKind.RESULT] * 2)
    await stage.wake()
    assert stage.history()[-1] == "done"


async def test_a_process_that_dies_before_its_turn_waits_leaves_no_child(
    stage: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = stage.send()

    def die(*_: Any, **__: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("store.turns.settle.start_children", die)
        with pytest.raises((Crash, BaseExceptionGroup)):
            await stage.wake()
    assert (stage.turn(turn).state, stage.children()) == ("running", [])
    stage.database.run(lambda c: c.execute(delete(tables.workers)) and None)
    stage.worker = new_id()
    stage.register()

    await stage.settle_all()

    assert len(stage.children()) == 2
    assert stage.history()[-1] == "done"


async def test_children_that_end_at_once_queue_their_parent_once(stage: Workers) -> None:
    turn = stage.send()
    await stage.wake()
    stage.published.clear()

    await asyncio.gather(*(stage.wake(child.thread_id) for child in stage.children()))

    assert [wake_up.turn_id for wake_up in stage.published] == [turn]
    await stage.settle_all()
    assert stage.history() == ["go", "I ask", '"re one"', '"re two"', "done"]


async def test_depth_is_counted_through_threads(stage: Workers) -> None:
    helper = stage.agents["helper"]
    middle = Agent(
        name="middle",
        tools=[helper.as_tool(thread=True)],
        model=Scripted(says("", call("helper", "c", request="deep")), says("mid")),
        max_depth=1,
    )
    asks = says("", call("middle", "c", request="go"))
    boss = Agent(name="boss", tools=[middle.as_tool(thread=True)], model=Scripted(asks, says("done")))
    stage.agents |= {"middle": middle, "boss": boss}
    stage.register()
    stage.send()

    await stage.settle_all()

    (child,) = stage.children()
    assert "TooDeep" in stage.history(child.thread_id)[2]
    assert stage.history()[-1] == "done"


async def test_threads_of_children_belong_to_the_thread_that_asked(stage: Workers) -> None:
    stage.send()
    await stage.settle_all()
    children = [child.thread_id for child in stage.children()]
    tenant = ThreadFilter(tenant="default")

    assert [view.id for view in stage.database.run(list_views, tenant, limit=10)] == ["t"]
    subject = Subject(tenant="default", thread_id="t")
    assert len(stage.database.run(load_thread_keys, subject, after=0, limit=10)) == 1 + len(children)
    assert stage.database.run(delete_thread, "default", "t")
    left = select(tables.threads.c.id)
    assert stage.database.run(lambda c: list(c.execute(left).scalars())) == []
