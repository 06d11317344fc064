"""Agents whose tools wait for a person while another agent waits for them: the turn goes on in their middle."""

import json
from typing import Any

import pytest

from agent.agent import Agent
from conversation.pending_call import Decision, DecisionKind, PendingKind
from tests.integration.agent.test_loop_waiting import APPROVE, Bank, Conversation
from tests.integration.scripted import Scripted, call, says


def desk(bank: Bank, name: str, **options: Any) -> Agent:
    asks = says("", call("refund", "c1", amount=5), call("balance", "c2"))
    return Agent(name=name, model=Scripted(asks, says(f"{name} paid")), tools=bank.tools, **options)


@pytest.mark.parametrize("when_waiting", ["block", "go_on"])
async def test_what_a_called_agent_needs_approval_for_the_whole_turn_waits_for(when_waiting: Any) -> None:
    """Also where it would go on by itself: nobody could take up later what another agent asked for."""
    bank = Bank()
    agents = [desk(bank, "first", when_waiting=when_waiting), desk(bank, "second", when_waiting=when_waiting)]
    boss = Agent(name="boss", tools=[agent.as_tool() for agent in agents])
    calls = [call(agent.name, f"b{n}", request="pay") for n, agent in enumerate(agents)]
    talk = Conversation(boss, says("", *calls), says("done"))

    ending = await talk.wait()

    # Both number their calls alike; what is asked for has names of its own.
    assert len({request.call_id for request in ending.pending}) == 2
    assert {(request.kind, request.name) for request in ending.pending} == {(PendingKind.APPROVAL, "refund")}
    assert (bank.refunds, bank.looked) == ([], 2)
    deny = Decision(kind=DecisionKind.DENY, reason="too much")
    await talk.answer(ending, APPROVE, deny)
    results = await talk.complete()
    assert results == {"b0": "first paid", "b1": "second paid"}
    # What had finished was not done again, and only the one that was approved was done.
    assert (len(bank.refunds), bank.looked) == (1, 2)
    outcomes = [step for step in talk.journal.steps.values() if step.name == "refund"]
    assert sorted(step.state for step in outcomes) == ["failed", "finished"]


async def test_a_turn_that_waits_for_an_agent_in_a_thread_of_its_own_names_what_it_is_to_be_sent() -> None:
    helper = Agent(name="helper", max_turn_seconds=1)
    boss = Agent(name="boss", tools=[helper.as_tool(thread=True)])
    wrong = call("helper", "c2", request=" ")
    talk = Conversation(boss, says("", call("helper", "c1", request="look"), wrong), says("done"))

    ending = await talk.wait()

    (request,) = ending.pending
    assert request.child is not None
    assert (request.kind, request.child.agent, request.child.content) == (PendingKind.CHILD, "helper", "look")
    assert (request.child.depth, request.child.user) == (1, "bob")
    value = {"turn_id": request.child.turn_id, "state": "failed", "error": {"kind": "deadline", "message": "late"}}
    await talk.answer(ending, Decision(kind=DecisionKind.RESULT, value=value))
    results = await talk.complete()
    assert results["c1"]["error"]["type"] == "AgentFailed"
    assert "deadline: late" in results["c1"]["error"]["message"]
    assert results["c2"]["error"]["type"] == "InvalidArguments"
    assert json.dumps(results)
    # Another process serves it: it is no part of what the model gets of this one.
    assert boss.subagents == ()
