"""The runner between the store and the loop: what it does when somebody comes in between."""

import asyncio
import errno
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from sqlalchemy import select, update
from structlog.testing import capture_logs

from agent.agent import Agent
from agent.models.protocol import ModelReply
from agent.tools.thread_pool import ToolThreads
from conversation.errors import FileStoreUnavailable, ModelError, ToolServerUnavailable
from conversation.exhaustion import Resource
from conversation.ids import new_id
from conversation.message import Message, Usage
from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE, WakeUp
from conversation.turn import Ending, Failed
from conversation.water_marks import WaterMarks
from store import tables
from store.database.engine import Database
from store.settings import load
from store.summaries import due as summary_dues
from store.turns import inbox, workers
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from store.turns.settle import SettleOutcome
from store.turns.turn_store import TurnStore
from tasks import maintenance
from tasks.active_runs import ActiveRuns
from tasks.runner import Runner
from tasks.turn_events import TurnEvents
from tests.integration.scripted import NoFiles, Scripted, call, says
from tests.unit.conversation.test_exhaustion import chained

WAKE_UP = WakeUp(tenant="default", thread_id="t", turn_id=new_id())


def quote(request: Any) -> ModelReply:
    return says(f"re {request.messages[-1]['content']}")


def breaks(request: Any) -> ModelReply:
    raise RuntimeError(request.messages[-1]["content"])


@dataclass
class Process:
    """A worker's process as far as its runner sees it."""

    database: Database
    model: Scripted = field(default_factory=lambda: Scripted(quote))
    running: ActiveRuns = field(default_factory=ActiveRuns)
    announced: list[str] = field(default_factory=list)
    worker: str = field(default_factory=new_id)

    def register(self) -> None:
        entry = {"host": "here", "pid": 1, "serves": {"a": "1"}, "lease_duration_seconds": 60}
        self.database.run(workers.register, **entry, worker=self.worker)

    def send(self, content: str) -> str:
        message = Message(role="user", content=content)
        request = SendRequest(turn_id=new_id(), tenant="default", thread_id="t", message=message, agent="a")
        return self.database.run(inbox.accept, request, mark_notified=False).turn_id

    def runner(self, *, runs_quarantine: bool = False) -> Runner:
        return Runner(
            settings=load(),
            agents={"a": Agent(name="a", model=self.model)},
            claim_request=ClaimRequest(worker=self.worker, runs_quarantine=runs_quarantine, agents={"a": "1"}),
            turn_store=TurnStore(self.database),
            active_runs=self.running,
            attachments=NoFiles(),
            tool_threads=ToolThreads(2),
            publish_turn_ended=self.announced.append,
        )

    def turn(self, turn_id: str) -> Any:
        return self.database.run(lambda c: c.execute(select(tables.turns).where(tables.turns.c.id == turn_id)).one())

    def owners(self) -> list[str | None]:
        return self.database.run(lambda c: list(c.execute(select(tables.threads.c.lease_owner)).scalars()))

    def history(self) -> list[str]:
        said = select(tables.messages.c.content).order_by(tables.messages.c.seq)
        return self.database.run(lambda c: list(c.execute(said).scalars()))


@pytest.fixture
async def process(database: Database) -> AsyncIterator[Process]:
    opened = Process(database)
    opened.register()
    yield opened
    await database.close_async()


async def test_one_wake_up_answers_all_that_is_due_and_lets_go(process: Process) -> None:
    sent = [process.send(text) for text in ("one", "two", "three")]

    await process.runner().run_thread(WAKE_UP)

    assert process.history() == ["one", "re one", "two", "re two", "three", "re three"]
    assert process.announced == sent
    assert process.owners() == [None]


async def test_who_runs_quarantine_leaves_the_rest_of_the_thread_to_others(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[WakeUp] = []
    monkeypatch.setattr("tasks.runner.publish_wake_up", published.append)
    suspect, behind = process.send("one"), process.send("two")

    await process.runner(runs_quarantine=True).run_thread(WAKE_UP)

    assert process.announced == [suspect]
    assert process.owners() == [None]
    assert [(wake_up.turn_id, wake_up.queue) for wake_up in published] == [(behind, TURNS_QUEUE)]


async def test_a_turn_that_is_claimed_when_the_grace_is_over_is_handed_back(process: Process) -> None:
    turn = process.send("one")
    with process.database.engine.connect() as other:
        other.execute(select(tables.threads).with_for_update())
        answering = asyncio.create_task(process.runner().run_thread(WAKE_UP))
        await asyncio.sleep(0.2)
        process.running.is_stopping = True
        process.running.stop_all()
        other.rollback()
    await answering

    row = process.turn(turn)
    assert (row.state, row.attempt, row.crashes) == ("queued", 1, 0)
    assert process.owners() == [None]
    assert process.model.requests == []


async def test_an_agent_that_breaks_one_turn_does_not_hold_up_the_next(process: Process) -> None:
    def breaks_once(request: Any) -> ModelReply:
        return breaks(request) if len(process.model.requests) == 1 else quote(request)

    process.model = Scripted(breaks_once)
    broken = process.send("one")
    process.send("two")

    await process.runner().run_thread(WAKE_UP)

    assert process.turn(broken).error_kind == "agent_error"
    assert process.history() == ["one", "two", "re two"]
    assert process.owners() == [None]


async def test_what_was_said_before_an_agent_broke_is_kept(process: Process) -> None:
    process.model = Scripted(says("I look", call("missing", "1")), breaks)
    broken = process.send("one")

    await process.runner().run_thread(WAKE_UP)

    assert process.history()[:2] == ["one", "I look"]
    assert len(process.history()) == 3
    assert Usage(**process.turn(broken).usage) == Usage(10, 5)


async def test_an_end_that_cannot_be_stored_fails_the_turn(process: Process) -> None:
    """Else it would be run again, and asked for again, for ever."""
    process.model = Scripted(ModelReply(content="fine", model="m", finish_reason="st\x00op"))
    turn = process.send("one")

    await process.runner().run_thread(WAKE_UP)

    assert process.turn(turn).state == "failed"
    assert process.turn(turn).error_kind == "agent_error"
    assert process.owners() == [None]


async def test_what_was_said_before_an_end_that_cannot_be_stored_is_kept(process: Process) -> None:
    """Else what its tools did would be done again, and what steered it would be lost."""
    unstorable = ModelReply(content="fine", model="m", finish_reason="st\x00op")
    process.model = Scripted(says("I look", call("missing", "1")), unstorable)
    turn = process.send("one")

    await process.runner().run_thread(WAKE_UP)

    assert process.turn(turn).error_kind == "agent_error"
    assert process.history()[:2] == ["one", "I look"]
    assert len(process.history()) == 3
    assert process.owners() == [None]


async def test_a_cancellation_that_nobody_asked_for_fails_the_turn(process: Process) -> None:
    def cancels(request: Any) -> ModelReply:
        raise asyncio.CancelledError

    process.model = Scripted(cancels)
    turn = process.send("one")

    await process.runner().run_thread(WAKE_UP)

    assert process.turn(turn).error_kind == "agent_error"


class Own(BaseException):
    """An exception that no `except Exception` catches."""


@pytest.mark.parametrize(
    ("error", "resource"),
    [
        (RuntimeError("can't start new thread"), Resource.THREADS),
        (MemoryError(), Resource.MEMORY),
        (OSError(errno.EMFILE, "Too many open files"), Resource.DESCRIPTORS),
        (chained(OSError(errno.EMFILE, "x"), FileStoreUnavailable("away"), is_hidden=True), Resource.DESCRIPTORS),
        (chained(RuntimeError("can't start new thread"), ToolServerUnavailable("away")), Resource.THREADS),
        (chained(MemoryError(), ModelError("unavailable", "away", retryable=True)), Resource.MEMORY),
    ],
)
async def test_a_turn_whose_process_lacks_something_is_found_guilty_alone(
    process: Process, monkeypatch: pytest.MonkeyPatch, error: BaseException, resource: Resource
) -> None:
    """It is handed back, at once, without a word of a bug: twice from among others, and once from where it is alone."""
    published: list[WakeUp] = []
    monkeypatch.setattr("tasks.runner.publish_wake_up", published.append)
    lacks: list[Resource] = []

    def lack(_: Any) -> ModelReply:
        raise error

    process.model = Scripted(lack)
    turn = process.send("one")
    for attempt in (1, 2):
        await replace(process.runner(), on_exhaustion=lacks.append).run_thread(WAKE_UP)
        row = process.turn(turn)
        assert (row.state, row.attempt, row.crashes, row.interruptions) == ("queued", attempt, attempt, 0)
        assert (row.error_kind, row.error_fault, row.retry_at) == ("exhausted", "operator", None)
        assert published.pop().queue == TURNS_QUEUE
    await process.runner().run_thread(WAKE_UP)
    assert published.pop().queue == QUARANTINE_QUEUE
    for _ in range(2):
        await replace(process.runner(runs_quarantine=True), on_exhaustion=lacks.append).run_thread(WAKE_UP)

    row = process.turn(turn)
    assert (row.state, row.crashes, row.error_kind, row.error_fault) == ("failed", 3, "exhausted", "tool")
    assert lacks == [resource] * 3
    assert process.owners() == [None]


async def test_a_full_disk_puts_a_turn_off_and_ends_no_process(process: Process) -> None:
    def lack(_: Any) -> ModelReply:
        raise OSError(errno.ENOSPC, "No space left on device")

    process.model, lacks = Scripted(lack), []
    turn = process.send("one")
    await replace(process.runner(), on_exhaustion=lacks.append).run_thread(WAKE_UP)

    row = process.turn(turn)
    assert (row.state, row.crashes, row.retries, row.error_kind) == ("queued", 0, 1, "exhausted")
    assert row.retry_at is not None
    assert lacks == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, Own])
async def test_whatever_an_agent_raises_fails_its_turn_alone(process: Process, error: type[BaseException]) -> None:
    def breaks_once(request: Any) -> ModelReply:
        if len(process.model.requests) == 1:
            raise error
        return quote(request)

    process.model = Scripted(breaks_once)
    broken = process.send("one")
    process.send("two")

    await process.runner().run_thread(WAKE_UP)

    assert process.turn(broken).error_kind == "agent_error"
    assert process.history() == ["one", "two", "re two"]
    assert process.owners() == [None]


async def test_a_run_that_cannot_even_be_made_fails_its_turn(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("tasks.runner.model_for", refuse)
    turn = process.send("one")
    runner = process.runner()

    await replace(runner, agents={"a": Agent(name="a")}).run_thread(WAKE_UP)

    assert process.turn(turn).error_kind == "agent_error"
    assert process.owners() == [None]


async def test_a_second_wake_up_begins_no_second_run_of_a_turn_whose_claim_a_failover_forgot(process: Process) -> None:
    """It would get the same token for the same worker: both could write, and do each effect."""

    class Forgotten(Scripted):
        async def stream(self, request: Any) -> AsyncIterator[Any]:
            with process.database.engine.begin() as connection:
                connection.execute(update(tables.threads).values(lease_owner=None, fencing_token=0))
                connection.execute(update(tables.turns).values(state="queued", attempt=0))
            await process.runner().run_thread(WAKE_UP)
            async for piece in super().stream(request):
                yield piece

    process.model = Forgotten(quote)
    turn = process.send("one")

    await process.runner().run_thread(WAKE_UP)

    assert len(process.model.requests) == 1
    assert process.turn(turn).state == "queued"
    assert process.owners() == [None]


async def test_a_turn_is_not_run_again_whose_end_is_being_committed_while_its_claim_was_forgotten(
    process: Process,
) -> None:
    """The next claim gets the same token for the same worker: the end that is on its way is that turn's."""

    class Forgotten(TurnStore):
        async def settle(self, *arguments: Any, **options: Any) -> SettleOutcome:
            if len(process.model.requests) == 1:
                with process.database.engine.begin() as connection:
                    connection.execute(update(tables.threads).values(lease_owner=None, fencing_token=0))
                    connection.execute(update(tables.turns).values(state="queued", attempt=0))
                await process.runner().run_thread(WAKE_UP)
            return await super().settle(*arguments, **options)

    turn = process.send("one")

    await replace(process.runner(), turn_store=Forgotten(process.database)).run_thread(WAKE_UP)

    assert len(process.model.requests) == 1
    assert process.turn(turn).state == "completed"
    assert process.history() == ["one", "re one"]
    assert process.owners() == [None]


async def test_a_lease_that_was_lost_ends_the_work_on_the_thread_quietly(process: Process) -> None:
    def overtaken(request: Any) -> ModelReply:
        process.database.run(lambda c: c.execute(update(tables.threads).values(fencing_token=99)))
        return quote(request)

    process.model = Scripted(overtaken)
    turn = process.send("one")
    process.send("two")

    await process.runner().run_thread(WAKE_UP)

    assert process.turn(turn).state == "running"
    assert process.history() == ["one"]
    assert process.announced == []


# The wake-up for a summary


async def notified_by(process: Process, monkeypatch: pytest.MonkeyPatch, *contents: str, **marks: int) -> list[str]:
    """What happened, in order: turns that ended, wake-ups for summaries."""
    happened: list[str] = []
    monkeypatch.setattr("tasks.runner.request_summaries", lambda *, expires_seconds: happened.append("notified"))
    for content in contents:
        process.send(content)
    runner = process.runner()
    agents = {"a": replace(runner.agents["a"], summarize_keep_messages=1, **marks)}
    runner = replace(runner, agents=agents, publish_turn_ended=lambda _: happened.append("ended"))
    await runner.run_thread(WAKE_UP)
    return happened


async def test_a_turn_that_passes_a_high_mark_notifies_for_a_summary_when_nobody_waits_any_more(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = await notified_by(process, monkeypatch, "one", "two", "three", summarize_after_messages=4)

    assert happened == ["ended"] * 3 + ["notified"]
    assert process.owners() == [None]


async def test_a_mark_in_tokens_notifies_as_well(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"summarize_after_messages": 0, "summarize_after_tokens": 9, "summarize_keep_tokens": 1}

    assert await notified_by(process, monkeypatch, "one", **few) == ["ended", "notified"]


async def test_below_the_marks_nobody_notifies(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await notified_by(process, monkeypatch, "one", summarize_after_messages=3) == ["ended"]


async def test_nobody_notifies_for_a_summary_that_is_put_off(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    process.send("first")
    await process.runner().run_thread(WAKE_UP)
    marks = WaterMarks(high_messages=2, high_tokens=0, low_messages=1, low_tokens=0)
    (due,) = process.database.run(summary_dues.reserve_due, marks={}, other_marks=marks, limit=1)
    assert process.database.run(summary_dues.note_failure, due=due) == 1

    assert await notified_by(process, monkeypatch, "one", summarize_after_messages=2) == ["ended"]


async def test_a_wake_up_for_a_summary_that_cannot_be_notified_harms_no_turn(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr("tasks.celery_app.app.send_task", away)
    process.send("one")
    runner = process.runner()
    agents = {"a": replace(runner.agents["a"], summarize_after_messages=2, summarize_keep_messages=1)}

    await replace(runner, agents=agents).run_thread(WAKE_UP)

    assert process.history() == ["one", "re one"]


async def test_a_turn_that_the_sweep_ends_is_logged_and_shown_as_one_that_ran(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = process.send("one")
    over = datetime.now(UTC) - timedelta(seconds=1)
    process.database.run(lambda c: c.execute(update(tables.turns).values(deadline=over)))
    shown: list[tuple[str, Ending]] = []
    monkeypatch.setattr(maintenance, "_database", lambda: process.database)
    monkeypatch.setattr(TurnEvents, "show_ended", lambda _, turn, ending: shown.append((turn.id, ending)))

    with capture_logs() as lines:
        assert maintenance._end_overdue_turns(10) == 1
        assert maintenance._end_overdue_turns(10) == 0

    ((shown_turn, ending),) = shown
    assert isinstance(ending, Failed)
    assert (shown_turn, ending.error.kind) == (turn, "deadline")
    assert [(line["event"], line["log_level"], line["kind"]) for line in lines] == [("turn_ended", "error", "deadline")]
