"""A worker and turns that wait: it holds nothing meanwhile, and goes on when somebody has decided."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from agent.agent import Agent
from agent.tools.tool import tool
from conversation.events import MessageDone, TurnWaiting
from conversation.pending_call import Decision
from store.turns import decisions, event_rows
from store.turns.pending_listing import list_pending
from tests.integration.scripted import Scripted, call, says
from tests.integration.tasks.test_runner import WAKE_UP, Process, process  # noqa: F401 - a fixture


def make_agent(refunds: list[int], **options: Any) -> Agent:
    @tool(needs_approval=True)
    def refund(amount: int) -> int:
        """Pay money back."""
        refunds.append(amount)
        return amount

    model = Scripted(says("", call("refund", "c", amount=5)), says("it is done"))
    return Agent(name="a", model=model, tools=[refund], **options)


@pytest.mark.parametrize("policy", ["block", "go_on"])
async def test_a_turn_waits_without_a_worker_and_runs_what_was_approved(process: Process, policy: Any) -> None:  # noqa: F811
    refunds: list[int] = []
    runner = replace(process.runner(), agents={"a": make_agent(refunds, when_waiting=policy)})
    turn_id = process.send("money back")
    await runner.run_thread(WAKE_UP)

    state = {"block": "waiting", "go_on": "completed"}[policy]
    assert (process.turn(turn_id).state, process.owners(), refunds) == (state, [None], [])
    page = process.database.run(event_rows.read_thread_events, "default", "t")
    assert [isinstance(notice, TurnWaiting) for notice in page.notices] == ([True] if policy == "block" else [])
    (pending,) = process.database.run(partial(list_pending, tenant="default"))
    decide = partial(decisions.decide, turn_id=turn_id, call_id=pending.call_id, decision=Decision.approve(), by="ada")
    wake_up = process.database.run(decide).wake_up
    assert wake_up is not None
    await runner.run_thread(wake_up)

    assert refunds == [5]
    assert process.turn(wake_up.turn_id).state == "completed"
    assert (process.history()[-1], process.owners()) == ("it is done", [None])
    # Each message has its number, and numbers rise in the order of the history.
    events = process.database.run(event_rows.read_thread_events, "default", "t").events
    shown = [event for event in events if isinstance(event, MessageDone)]
    assert [event.message.content for event in shown] == process.history()
    assert [event.number for event in events] == sorted({event.number or 0 for event in events})
