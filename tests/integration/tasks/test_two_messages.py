"""Two messages at once through a real run: what the model reads, and what is stored."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from agent.agent import Agent
from agent.tools.thread_pool import ToolThreads
from agent.tools.tool import tool
from conversation.ids import new_id
from conversation.message import Message
from conversation.when_busy import WhenBusy
from store.database.engine import Database
from store.settings import load
from store.turns import cancel, inbox
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from store.turns.turn_store import TurnStore
from tasks.runner import Runner
from tests.integration.scripted import NoFiles, Scripted, call, says
from tests.integration.tasks.test_runner import WAKE_UP, Process


def send(process: Process, content: str, when_busy: WhenBusy) -> str:
    message = Message(role="user", content=content)
    request = SendRequest(
        turn_id=new_id(), tenant="default", thread_id="t", message=message, agent="a", when_busy=when_busy
    )
    return process.database.run(inbox.accept, request, mark_notified=False).turn_id


def runner_of(process: Process, model: Scripted, act: Callable[[], object]) -> Runner:
    """A runner of an agent during whose tool call something happens."""

    @tool
    def look() -> str:
        act()
        return "found"

    agent = Agent(name="a", model=model, tools=[look])
    return Runner(
        settings=load(),
        agents={"a": agent},
        claim_request=ClaimRequest(worker=process.worker, agents={"a": "1"}),
        turn_store=TurnStore(process.database),
        active_runs=process.running,
        attachments=NoFiles(),
        tool_threads=ToolThreads(2),
        publish_turn_ended=process.announced.append,
    )


@pytest.fixture
async def process(database: Database) -> Any:
    opened = Process(database)
    opened.register()
    yield opened
    await database.close_async()


async def test_a_message_that_comes_while_a_tool_runs_is_read_with_the_next_model_call(process: Process) -> None:
    sent = [process.send("one")]
    model = Scripted(says("I look", call("look", "c")), says("done"))

    await runner_of(process, model, lambda: sent.append(send(process, "two", WhenBusy.STEER))).run_thread(WAKE_UP)

    assert [each["content"] for each in model.requests[1].messages if each["role"] == "user"] == ["one", "two"]
    assert process.history() == ["one", "I look", '"found"', "two", "done"]
    assert process.turn(sent[1]).merged_into == sent[0]
    assert process.announced == [sent[0]]


async def test_a_message_that_rolls_back_is_answered_as_if_nothing_had_been_said_but_with_what_was_done(
    process: Process,
) -> None:
    sent = [process.send("one")]
    model = Scripted(says("I look", call("look", "c")), says("done"), says("re two"))

    def roll_back() -> None:
        sent.append(send(process, "two", WhenBusy.ROLLBACK))
        # The heartbeat, or a signal, has the run stopped.
        (asked,) = process.database.run(partial(cancel.list_requested, turn_ids=sent))
        process.running.cancel(asked)

    await runner_of(process, model, roll_back).run_thread(WAKE_UP)

    system, *others = model.requests[-1].messages
    assert [each["content"] for each in others] == ["two"]
    assert "look" in system["content"]
    first = process.turn(sent[0])
    assert (first.state, first.rolled_back, first.interrupted_by) == ("cancelled", True, sent[1])
