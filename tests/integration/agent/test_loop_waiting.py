"""Runs that wait: what is asked for, what runs once it is decided, and where a crash in between leaves it."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.agent import Agent
from agent.tools.approval import ApprovalRequest
from agent.tools.ask_user import ask_user
from agent.tools.client_tool import ClientTool
from agent.tools.run_context import RunContext
from agent.tools.tool import tool
from conversation.errors import InvalidInput
from conversation.pending_call import Decision, DecisionKind, PendingCall, PendingKind, PendingRequest
from conversation.step import Step
from conversation.turn import Completed, Waiting
from tests.integration.scripted import Memory, Scripted, call, completed, results, run_of, says

NOW = datetime.now(UTC)
APPROVE = Decision(kind=DecisionKind.APPROVE)


def decide(request: PendingRequest, decision: Decision | None = APPROVE) -> PendingCall:
    """The request as it comes back from the store."""
    return PendingCall(
        turn_id="turn",
        call_id=request.call_id,
        tenant="default",
        step_index=request.step_index,
        kind=request.kind,
        name=request.name,
        arguments=request.arguments,
        arguments_digest=request.arguments_digest,
        question=request.question,
        choices=request.choices,
        schema=request.schema,
        requested_at=NOW,
        expires_at=NOW,
        decision=decision,
        decided_by="ada",
        decided_at=NOW,
    )


class Conversation:
    """An agent over a journal, run again and again as a worker would."""

    def __init__(self, agent: Agent, *answers: Any) -> None:
        self.agent, self.model, self.journal = agent, Scripted(*answers), Memory()
        self.pending: list[PendingCall] = []

    async def run(self) -> Any:
        ending = await run_of(self.agent, self.model, self.journal, pending=tuple(self.pending), user="bob").run()
        if isinstance(ending, Waiting):
            await self.journal.record(ending.steps)
        return ending

    async def wait(self) -> Waiting:
        ending = await self.run()
        assert isinstance(ending, Waiting), ending
        return ending

    async def answer(self, ending: Waiting, *decisions: Decision) -> None:
        pairs = zip(ending.pending, decisions or [APPROVE] * len(ending.pending), strict=True)
        self.pending += [decide(request, decision) for request, decision in pairs]

    async def complete(self) -> dict[str | None, Any]:
        ending = await completed(run_of(self.agent, self.model, self.journal, pending=tuple(self.pending)))
        return {name: json.loads(content) for name, content in results(ending).items()}


class Bank:
    """What the tools of these tests did."""

    def __init__(self, needs_approval: Any = True) -> None:
        self.refunds: list[int] = []

        @tool(needs_approval=needs_approval)
        def refund(amount: int) -> str:
            """Pay money back."""
            self.refunds.append(amount)
            return f"refunded {amount}"

        @tool
        def balance() -> int:
            """The balance."""
            self.looked += 1
            return 100

        self.looked = 0
        self.tools = [refund, balance]


async def test_a_call_runs_after_its_approval_and_what_had_finished_is_not_done_again() -> None:
    bank = Bank()
    talk = Conversation(
        Agent(name="a", tools=bank.tools), says("", call("balance", "c1"), call("refund", "c2", amount=5)), says("done")
    )
    ending = await talk.wait()
    (request,) = ending.pending
    assert (request.kind, request.call_id, request.name) == (PendingKind.APPROVAL, "c2", "refund")
    assert json.loads(request.arguments) == {"amount": 5}
    assert (bank.refunds, bank.looked) == ([], 1)
    assert {index: step.state for index, step in talk.journal.steps.items()} == {
        0: "finished",
        1: "finished",
        2: "waiting",
    }

    await talk.answer(ending)
    assert await talk.complete() == {"c1": 100, "c2": "refunded 5"}
    assert (bank.refunds, bank.looked, len(talk.model.requests)) == ([5], 1, 2)


async def test_several_calls_of_one_reply_wait_at_once_and_are_decided_each_in_its_way() -> None:
    bank = Bank()
    calls = [call("refund", f"c{amount}", amount=amount) for amount in (1, 2, 3)]
    talk = Conversation(Agent(name="a", tools=bank.tools), says("", *calls), says("done"))
    ending = await talk.wait()
    assert sorted(request.call_id for request in ending.pending) == ["c1", "c2", "c3"]
    by_id = {
        "c1": APPROVE,
        "c2": Decision(kind=DecisionKind.DENY, reason="too much"),
        "c3": Decision(kind=DecisionKind.EDIT, value='{"amount": 30}'),
    }
    await talk.answer(ending, *(by_id[request.call_id] for request in ending.pending))
    told = await talk.complete()
    assert told["c1"] == "refunded 1"
    assert told["c2"] == {"error": {"type": "Denied", "message": "too much"}}
    assert (told["c3"]["arguments"], told["c3"]["result"]) == ({"amount": 30}, "refunded 30")
    assert sorted(bank.refunds) == [1, 30]


def is_large(request: ApprovalRequest) -> bool:
    return bool(request.arguments["amount"] > 10) or request.user == "mallory"


async def is_large_async(request: ApprovalRequest) -> bool:
    await asyncio.sleep(0)
    return is_large(request)


def fail(request: ApprovalRequest) -> bool:
    raise RuntimeError(request.tool)


@pytest.mark.parametrize("rule", [is_large, is_large_async])
async def test_a_rule_says_which_calls_need_approval(rule: Callable[..., Any]) -> None:
    bank = Bank(rule)
    calls = call("refund", "small", amount=5), call("refund", "large", amount=50)
    talk = Conversation(Agent(name="a", tools=bank.tools), says("", *calls), says("done"))
    ending = await talk.wait()
    assert [request.call_id for request in ending.pending] == ["large"]
    assert bank.refunds == [5]
    await talk.answer(ending)
    assert await talk.complete() == {"small": "refunded 5", "large": "refunded 50"}


async def test_a_rule_that_fails_asks_a_person() -> None:
    bank = Bank(fail)
    talk = Conversation(Agent(name="a", tools=bank.tools), says("", call("refund", "c", amount=5)), says("done"))
    assert [request.call_id for request in (await talk.wait()).pending] == ["c"]
    assert bank.refunds == []


@pytest.mark.parametrize("needs_approval", [True, is_large])
async def test_arguments_that_the_tool_refuses_are_shown_to_nobody(needs_approval: Any) -> None:
    bank = Bank(needs_approval)
    wrong = call("refund", "wrong", amount="a lot")
    talk = Conversation(Agent(name="a", tools=bank.tools), says("", wrong), says("sorry"))
    told = await talk.complete()
    assert told["wrong"]["error"]["type"] == "InvalidArguments"


async def test_a_decision_on_other_arguments_approves_nothing() -> None:
    bank = Bank()
    talk = Conversation(Agent(name="a", tools=bank.tools), says("", call("refund", "c", amount=5)), says("done"))
    ending = await talk.wait()
    (request,) = ending.pending
    other = PendingRequest(
        call_id="c", step_index=request.step_index, kind=request.kind, name="refund", arguments='{"amount": 1}'
    )
    talk.pending = [decide(other)]
    again = await talk.wait()
    assert [request.call_id for request in again.pending] == ["c.2"]
    assert bank.refunds == []


async def test_ids_that_a_model_repeats_are_told_apart() -> None:
    bank = Bank()
    talk = Conversation(
        Agent(name="a", tools=bank.tools),
        says("", call("refund", "c", amount=1)),
        says("", call("refund", "c", amount=2)),
        says("", call("refund", "an id / with all sorts of things", amount=3)),
        says("done"),
    )
    ids = []
    for _ in range(3):
        ending = await talk.wait()
        ids += [request.call_id for request in ending.pending]
        await talk.answer(ending)
    assert ids == ["c", "c.2", "step-5"]
    await talk.complete()
    assert bank.refunds == [1, 2, 3]


async def test_a_tool_asks_the_user_in_the_middle_of_a_call() -> None:
    begun: list[str] = []

    @tool
    async def book(city: str, context: RunContext) -> str:
        """Book a hotel."""
        begun.append(city)
        nights = context.ask("How many nights?", type=int)
        room = context.ask("Which room?", choices=["single", "double"])
        return f"{city}: {nights} nights, {room}"

    talk = Conversation(Agent(name="a", tools=[book]), says("", call("book", "c", city="Bern")), says("booked"))
    ending = await talk.wait()
    (request,) = ending.pending
    assert (request.kind, request.call_id, request.question) == (PendingKind.QUESTION, "c.q0", "How many nights?")
    assert request.schema == {"type": "integer"}
    await talk.answer(ending, Decision(kind=DecisionKind.ANSWER, value=2))
    ending = await talk.wait()
    assert [(each.call_id, each.choices) for each in ending.pending] == [("c.q1", ["single", "double"])]
    await talk.answer(ending, Decision(kind=DecisionKind.ANSWER, value="double"))
    assert await talk.complete() == {"c": "Bern: 2 nights, double"}
    # It began anew with each answer: so a tool asks first, and acts then.
    assert begun == ["Bern"] * 3


async def test_a_plain_function_asks_and_a_user_may_decline() -> None:
    @tool
    def book(context: RunContext) -> str:
        """Book a hotel."""
        try:
            return str(context.ask("How many nights?"))
        except Exception as error:  # noqa: BLE001 - what a tool does that catches everything
            return f"{type(error).__name__}: {error}"

    talk = Conversation(Agent(name="a", tools=[book]), says("", call("book", "c")), says("booked"))
    await talk.answer(await talk.wait(), Decision(kind=DecisionKind.DENY, reason="none of your business"))
    assert await talk.complete() == {"c": "QuestionDeclined: none of your business"}


async def test_the_model_asks_the_user_itself() -> None:
    asked = call("ask_user", "c", question="Red or blue?", choices=["red", "blue"])
    talk = Conversation(Agent(name="a", tools=[ask_user]), says("", asked), says("blue it is"))
    ending = await talk.wait()
    assert [(each.question, each.choices) for each in ending.pending] == [("Red or blue?", ["red", "blue"])]
    await talk.answer(ending, Decision(kind=DecisionKind.ANSWER, value="blue"))
    assert await talk.complete() == {"c": "blue"}


async def test_a_client_runs_its_own_tools() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    locate = ClientTool(name="show_map", description="Show a map.", parameters=schema)
    agent = Agent(name="a", client_tools=[locate])
    talk = Conversation(
        agent, says("", call("show_map", "bad"), call("show_map", "c", city="Bern")), says("there it is")
    )
    ending = await talk.wait()
    assert [(each.kind, each.call_id) for each in ending.pending] == [(PendingKind.CLIENT_TOOL, "c")]
    declared = talk.model.requests[0].tools[0]["function"]
    assert (declared["name"], declared["parameters"]) == ("show_map", schema)
    await talk.answer(ending, Decision(kind=DecisionKind.RESULT, value={"shown": True}))
    told = await talk.complete()
    assert told["bad"]["error"]["type"] == "InvalidArguments"
    assert told["c"] == {"shown": True}


async def test_an_agent_that_goes_on_leaves_the_call_open_for_a_turn_of_its_own() -> None:
    bank = Bank()
    agent = Agent(name="a", tools=bank.tools, when_waiting="go_on")
    talk = Conversation(agent, says("", call("refund", "c", amount=5)), says("I have asked ada"))
    told = await talk.complete()
    assert told["c"]["error"]["type"] == "NotDecided"
    assert [(each.call_id, each.kind) for each in talk.journal.pending] == [("c", PendingKind.APPROVAL)]
    assert bank.refunds == []


async def test_what_a_turn_went_on_without_is_not_what_it_waits_for_later() -> None:
    bank, helper = Bank(), Agent(name="helper", purpose="Look things up.")
    agent = Agent(name="a", tools=[*bank.tools, helper.as_tool(thread=True)], when_waiting="go_on")
    asks_both = says("", call("refund", "c", amount=5)), says("", call("helper", "h", request="where is it?"))
    talk = Conversation(agent, *asks_both)

    ending = await talk.wait()

    assert [(each.call_id, each.kind) for each in ending.pending] == [("h", PendingKind.CHILD)]
    assert [each.call_id for each in talk.journal.pending] == ["c"]


class Died(BaseException):
    """The process is gone."""


class Crashing(Memory):
    """A journal whose process dies at its n-th write, before or after it."""

    def __init__(self, place: int, *, after: bool) -> None:
        super().__init__()
        self.place, self.after, self.writes = place, after, 0

    async def record(self, steps: Sequence[Step], pending: Sequence[PendingRequest] = ()) -> None:
        self.writes += 1
        is_here = self.writes == self.place
        if is_here and not self.after:
            raise Died
        await super().record(steps, pending)
        if is_here:
            raise Died


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("place", range(1, 9))
async def test_a_crash_at_any_write_repeats_no_effect(place: int, after: bool) -> None:
    """The approved call, the one that needs none, and the one that asks: each takes effect at most once."""
    bank = Bank(is_large)
    rooms: list[str] = []

    @tool
    async def book(context: RunContext) -> str:
        """Book a room."""
        rooms.append(context.ask("Which room?"))
        return rooms[-1]

    asked = call("refund", "large", amount=50), call("refund", "small", amount=5), call("book", "room")
    talk = Conversation(Agent(name="a", tools=[*bank.tools, book]), says("", *asked), says("done"))
    talk.journal = Crashing(place, after=after)
    ending: Any = None
    for _ in range(6):
        try:
            ending = await talk.run()
        except Died:
            continue
        if isinstance(ending, Completed):
            break
        known = {each.call_id for each in talk.pending}
        for request in ending.pending:
            assert request.call_id not in known
            value = "blue" if request.kind is PendingKind.QUESTION else None
            kind = DecisionKind.ANSWER if request.kind is PendingKind.QUESTION else DecisionKind.APPROVE
            talk.pending.append(decide(request, Decision(kind=kind, value=value)))
    assert isinstance(ending, Completed)
    assert len(bank.refunds) == len(set(bank.refunds))
    assert len(rooms) <= 1
    told = {name: json.loads(content) for name, content in results(ending).items()}
    for name, expected in {"large": "refunded 50", "small": "refunded 5", "room": "blue"}.items():
        assert told[name] == expected or told[name]["error"]["type"] == "Unknown"
    # A crash before anything was approved loses nothing: the journal says that the call had not begun.
    if place == 1:
        assert told["large"] == "refunded 50"


def test_what_cannot_wait_is_refused_where_it_is_defined() -> None:
    with pytest.raises(InvalidInput, match="needs_approval"):
        tool(needs_approval="yes")(is_large)  # type: ignore[call-overload]
    with pytest.raises(InvalidInput, match="when_waiting"):
        Agent(name="a", when_waiting="later")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="wait_expire_seconds"):
        Agent(name="a", wait_expire_seconds=0)
    with pytest.raises(InvalidInput, match=r"client_tool\.name"):
        ClientTool(name="no name")
    with pytest.raises(InvalidInput, match=r"client_tool\.parameters"):
        ClientTool(name="a", parameters={"type": "array"})
    with pytest.raises(InvalidInput, match="hold two named"):
        Agent(name="a", tools=[ask_user], client_tools=[ClientTool(name="ask_user")])
