"""The loop: tools at the same time, what goes wrong with them, limits, and a model that is away."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from agent.agent import Agent
from agent.limits import TurnLimits
from agent.loop import Run
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.tools.run_context import RunContext
from agent.tools.tool import tool
from conversation.errors import Fault, LeaseLost, ModelError
from conversation.message import Message, ToolCall, Usage
from conversation.step import Step
from conversation.turn import Failed, RetryLater, TurnError
from tests.integration.scripted import Memory, Scripted, call, completed, failed, results, run_of, says


@tool
async def echo(text: str) -> str:
    """Say it again."""
    await asyncio.sleep(0)
    return text


# Tools


async def test_tools_of_one_reply_run_at_the_same_time() -> None:
    """Each of them waits for all of them."""
    on_loop, in_threads = asyncio.Barrier(3), threading.Barrier(3)

    @tool(timeout_seconds=5)
    async def meet() -> str:
        await on_loop.wait()
        return "met"

    @tool(timeout_seconds=5)
    def meet_in_threads() -> str:
        in_threads.wait(5)
        return "met"

    calls = [call(name, f"{name}-{n}") for name in ("meet", "meet_in_threads") for n in range(3)]
    model = Scripted(says("", *calls), says("done"))

    ending = await completed(run_of(Agent(name="a", tools=[meet, meet_in_threads]), model))

    assert set(results(ending).values()) == {'"met"'}
    # In the order of the calls, whoever was first.
    assert [m.tool_call_id for m in ending.messages if m.role == "tool"] == [c.id for c in calls]


async def test_the_journal_says_how_long_each_call_took() -> None:
    class Slow(Scripted):
        async def complete(self, request: ModelRequest) -> ModelReply:
            await asyncio.sleep(0.03)
            return await super().complete(request)

    @tool
    async def wait() -> str:
        """Wait."""
        await asyncio.sleep(0.03)
        return "waited"

    journal = Memory()
    agent = Agent(name="a", streams=False, tools=[wait])

    ending = await completed(run_of(agent, Slow(says("", call("wait", "c")), says("done")), journal))

    steps = [*journal.steps.values(), *ending.steps]
    assert [step.kind for step in steps] == ["model", "tool", "model"]
    assert [step.name for step in steps if not 0.03 <= step.seconds < 30] == []


async def test_what_goes_wrong_with_a_tool_is_told_to_the_model_and_the_turn_goes_on() -> None:
    @tool
    def broken() -> str:
        raise ValueError("it broke")

    @tool
    async def impatient() -> str:
        raise asyncio.CancelledError

    calls = [
        call("broken", "1"),
        call("impatient", "2"),
        call("echo", "3", wrong="argument"),
        ToolCall("4", "echo", "{no json"),
        call("missing", "5"),
        call("echo", "6", text="fine"),
    ]
    model = Scripted(says("", *calls), says("done"))

    ending = await completed(run_of(Agent(name="a", tools=[broken, impatient, echo]), model))

    kinds = {key: json.loads(text)["error"]["type"] for key, text in results(ending).items() if key != "6"}
    assert kinds == {
        "1": "ValueError",
        "2": "CancelledError",
        "3": "InvalidArguments",
        "4": "InvalidArguments",
        "5": "UnknownTool",
    }
    assert results(ending)["6"] == '"fine"'
    assert [m["content"] for m in model.requests[1].messages if m["role"] == "tool"] == list(results(ending).values())


async def test_calls_without_an_id_or_with_the_same_one_are_told_apart() -> None:
    calls = [call("echo", given, text=f"text {n}") for n, given in enumerate(["x", "x", "", "", "x-1"])]

    ending = await completed(run_of(Agent(name="a", tools=[echo]), Scripted(says("", *calls), says("done"))))

    assert list(results(ending).values()) == [f'"text {n}"' for n in range(5)]
    assert len(results(ending)) == 5


def told(mine: str, context: RunContext) -> str:
    whose = (context.tenant, context.thread_id, context.turn_id, context.user, context.thread_owner, context.call_id)
    return " ".join([mine, *map(str, whose)])


async def test_each_call_has_a_context_of_its_own_however_many_run_on_one_agent() -> None:
    @tool
    async def who(mine: str, context: RunContext) -> str:
        await asyncio.sleep(0.001)
        return told(mine, context)

    @tool
    def who_in_thread(mine: str, context: RunContext) -> str:
        return told(mine, context)

    def ask(request: ModelRequest) -> ModelReply:
        number = request.messages[-1]["content"]
        names = ("who", "who_in_thread")
        return says("", *(call(name, f"{name}-{number}", mine=number) for name in names))

    agent = Agent(name="a", tools=[who, who_in_thread])
    model = Scripted(ask, says("done"))

    async def one(n: int) -> dict[str | None, str]:
        run = run_of(
            agent,
            model,
            id=f"turn-{n}",
            tenant=f"tenant-{n}",
            thread_id=f"thread-{n}",
            user=f"user-{n}",
            thread_owner=f"owner-{n}",
            window=(Message(role="user", content=str(n)),),
        )
        return results(await completed(run))

    for n, found in enumerate(await asyncio.gather(*(one(n) for n in range(50)))):
        names = ("who", "who_in_thread")
        expected = f"{n} tenant-{n} thread-{n} turn-{n} user-{n} owner-{n}"
        assert found == {f"{name}-{n}": f'"{expected} {name}-{n}"' for name in names}


# Limits


async def test_a_turn_that_never_answers_ends_at_its_steps() -> None:
    model = Scripted(lambda request: says("", call("echo", f"c{len(request.messages)}", text="again")))

    ending = await failed(run_of(Agent(name="a", tools=[echo], max_steps=3), model))

    assert ending.error.kind == "step_limit"
    assert [m.role for m in ending.messages] == ["assistant", "tool"] * 3
    assert len(model.requests) == 3
    assert (ending.usage, ending.cost) == (Usage(30, 15), 1.5)


async def test_the_last_step_asks_without_tools_and_runs_none() -> None:
    ran: list[str] = []

    @tool
    def effect(text: str) -> None:
        ran.append(text)

    def ask(request: ModelRequest) -> ModelReply:
        return says("", call("effect", f"c{len(request.messages)}", text=str(len(ran))))

    model, journal = Scripted(ask), Memory()
    ending = await failed(run_of(Agent(name="a", tools=[effect], max_steps=3), model, journal))

    assert (ending.error.kind, ran) == ("step_limit", ["0", "1"])
    assert [len(request.tools) for request in model.requests] == [1, 1, 0]
    assert "last step" in str(model.requests[-1].messages[0]["content"])
    assert "last step" not in str(model.requests[1].messages)
    assert json.loads(ending.messages[-1].content)["error"]["type"] == "StepLimit"
    assert journal.steps[5].state == "failed"


async def test_the_last_step_may_answer() -> None:
    model = Scripted(says("", call("echo", "1", text="x")), says("what I know"))

    ending = await completed(run_of(Agent(name="a", tools=[echo], max_steps=2), model))

    assert ending.messages[-1].content == "what I know"
    assert model.requests[-1].tools == ()


async def test_a_tool_that_fails_the_same_way_is_told_to_the_model_and_then_ends_the_turn() -> None:
    @tool
    def broken(text: str) -> None:
        raise ValueError("no service")

    def ask(request: ModelRequest) -> ModelReply:
        n = len(request.messages)
        return says("", *(call("broken", f"c{n}-{twin}", text=f"{n} {twin}") for twin in range(2)))

    model = Scripted(ask)
    ending = await failed(run_of(Agent(name="a", tools=[broken]), model))

    assert (ending.error.kind, ending.error.fault) == ("tool_failing", Fault.TOOL)
    assert "'broken' failed 5 times in a row in the same way: ValueError" in ending.error.message
    assert "no service" not in ending.error.message
    assert len(model.requests) == 5
    errors = [json.loads(m.content)["error"] for m in ending.messages if m.role == "tool"]
    # Twice in one reply is once: the model saw neither yet.
    assert ["repeated" in error for error in errors] == [False] * 2 + [True] * 8
    assert "5 times" in errors[-1]["repeated"]


@pytest.mark.parametrize("name", ["missing", "echo"])
async def test_calls_that_cannot_be_run_count_as_well(name: str) -> None:
    model = Scripted(lambda request: says("", call(name, f"c{len(request.messages)}", wrong="x")))

    assert (await failed(run_of(Agent(name="a", tools=[echo]), model))).error.kind == "tool_failing"


async def test_a_tool_that_works_in_between_or_fails_otherwise_ends_nothing() -> None:
    asked = [0]

    @tool
    def moody() -> str:
        asked[0] += 1
        if asked[0] % 4 == 0:
            return "fine"
        raise ValueError("no service" if asked[0] < 13 else f"another {asked[0]}")

    answers = [says("", call("moody", f"c{n}")) for n in range(20)]

    await completed(run_of(Agent(name="a", tools=[moody]), Scripted(*answers, says("done"))))


async def test_a_resumed_turn_goes_on_counting_where_it_broke_off() -> None:
    @tool(idempotent=True)
    def broken() -> None:
        raise ValueError("no service")

    answers = [says("", call("broken", f"c{n}")) for n in range(20)]
    agent, journal = Agent(name="a", tools=[broken]), Memory()

    def die(steps: Sequence[Step]) -> None:
        if steps[0].index == 7:
            raise LeaseLost("the process died")

    journal.before = die
    with pytest.raises(LeaseLost):
        await run_of(agent, Scripted(*answers), journal).run()
    journal.before = lambda _: None
    model = Scripted(*answers)

    assert (await failed(run_of(agent, model, journal))).error.kind == "tool_failing"
    assert len(model.requests) == 1


async def test_a_turn_ends_at_its_tokens() -> None:
    model = Scripted(lambda request: says("", call("echo", f"c{len(request.messages)}", text="again")))

    ending = await failed(run_of(Agent(name="a", tools=[echo], max_turn_tokens=30), model))

    assert ending.error.kind == "token_limit"
    assert len(model.requests) == 2


async def test_a_turn_ends_at_its_time_with_its_tools_closed() -> None:
    @tool
    async def slow() -> str:
        await asyncio.sleep(30)
        return "late"

    @tool
    def slow_in_thread() -> str:
        free.wait(5)
        return "late"

    free = threading.Event()
    calls = (call("slow", "1"), call("slow_in_thread", "2"), call("echo", "3", text="quick"))
    agent = Agent(name="a", tools=[slow, slow_in_thread, echo], max_turn_seconds=0.2)

    ending = await failed(run_of(agent, Scripted(says("I look", *calls), says("done"))))
    free.set()

    assert ending.error.kind == "time_limit"
    assert results(ending)["3"] == '"quick"'
    # The tools have the turn's time: they may be cut off by either, a moment apart.
    assert all("error" in json.loads(results(ending)[key]) for key in ("1", "2"))


async def test_a_model_that_hangs_ends_with_the_turns_time() -> None:
    class Hanging(Scripted):
        async def complete(self, request: ModelRequest) -> ModelReply:
            await asyncio.sleep(30)
            raise AssertionError

    ending = await failed(run_of(Agent(name="a", max_turn_seconds=0.1, streams=False), Hanging()))

    assert ending.error.kind == "time_limit"
    assert ending.messages == ()


async def test_a_deadline_sooner_than_the_agents_limit_ends_the_turn() -> None:
    class Talking(Scripted):
        async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
            yield TextDelta("the first ")
            await asyncio.Event().wait()

    ending = await failed(run_of(Agent(name="a"), Talking(), remaining_seconds=0.1))

    assert (ending.error.kind, ending.error.fault) == ("deadline", Fault.PROVIDER)
    assert [(m.content, m.state) for m in ending.messages] == [("the first ", "partial")]
    assert ending.usage.is_estimate


async def test_a_timeout_of_the_models_own_is_not_the_turns() -> None:
    class Slow(Scripted):
        async def complete(self, request: ModelRequest) -> ModelReply:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await run_of(Agent(name="a", streams=False), Slow()).run()


# A model that is away


@pytest.mark.parametrize(("retries", "seconds"), [(0, 5), (1, 10), (3, 40), (998, 300)])
async def test_a_model_that_is_away_puts_the_turn_off_for_longer_each_time(retries: int, seconds: int) -> None:
    away = ModelError("unavailable", "away", retryable=True)
    agent = Agent(name="a", max_turn_attempts=1000)

    waits = {(await put_off(run_of(agent, Scripted(away), retries=retries))) for _ in range(20)}

    assert all(seconds / 2 <= wait <= seconds for wait in waits)
    # Turns that failed together do not come back together.
    assert len(waits) > 1


async def test_only_retries_count_against_the_limit_of_attempts() -> None:
    away = ModelError("unavailable", "away", retryable=True)
    patient = Agent(name="a", max_turn_attempts=3)

    claimed_often = await run_of(patient, Scripted(away), attempt=50, retries=1).run()
    tried_often = await run_of(patient, Scripted(away), attempt=3, retries=2).run()

    assert isinstance(claimed_often, RetryLater)
    assert isinstance(tried_often, Failed)


async def put_off(run: Run) -> float:
    ending = await run.run()
    assert isinstance(ending, RetryLater)
    assert ending.error.fault is Fault.PROVIDER
    return ending.after.total_seconds()


async def test_a_provider_that_asks_for_a_longer_pause_gets_it() -> None:
    away = ModelError("rate_limited", "slow down", retryable=True, retry_after_seconds=120)

    ending = await run_of(Agent(name="a"), Scripted(away)).run()

    assert isinstance(ending, RetryLater)
    assert ending.after.total_seconds() == 120


DAY = 86_400


@pytest.mark.parametrize(
    ("kind", "failing_seconds", "own_seconds", "requested_seconds", "longest"),
    [
        ("unavailable", 0, None, None, 5),
        ("rate_limited", 3600, None, None, 300),
        ("timeout", DAY - 100, None, None, 100),
        ("stream_interrupted", DAY, None, None, None),
        # An agent may say less, or that nothing is to be retried; or more.
        ("unavailable", 59, 60, None, 1),
        ("unavailable", 60, 60, None, None),
        ("unavailable", 0, 0, None, None),
        ("unavailable", 2 * DAY, 3 * DAY, None, 300),
        # What the provider asks for is kept, or the turn is over.
        ("rate_limited", 0, None, 7200, 7200),
        ("rate_limited", 0, 3600, 7200, None),
        ("rate_limited", 0, None, 1e12, None),
    ],
)
async def test_what_passes_by_itself_is_retried_for_a_time(
    kind: str, failing_seconds: float, own_seconds: float | None, requested_seconds: float | None, longest: float | None
) -> None:
    error = ModelError(kind, "away", retryable=True, retry_after_seconds=requested_seconds)
    agent = Agent(name="a", max_turn_retry_seconds=own_seconds)
    retries = 50 if failing_seconds else 0

    ending = await run_of(agent, Scripted(error), retries=retries, failing_seconds=failing_seconds).run()

    if longest is None:
        assert isinstance(ending, Failed)
    else:
        assert isinstance(ending, RetryLater)
        assert longest / 2 <= ending.after.total_seconds() <= longest


@pytest.mark.parametrize(
    ("kind", "default", "own", "attempts"),
    [
        ("unavailable", 0, None, None),
        ("unavailable", 2, None, 2),
        ("unavailable", 2, 4, 4),
        ("x", 0, None, 5),
        ("x", 2, None, 2),
        ("x", 2, 7, 7),
    ],
)
def test_a_number_of_attempts_that_somebody_set_holds_for_any_error(
    kind: str, default: int, own: int | None, attempts: int | None
) -> None:
    error = TurnError("model_error", "x", True, ModelError(kind, "x", retryable=True).fault)
    claimed = run_of(Agent(name="a"), Scripted(says("hi"))).claimed

    delays = [
        TurnLimits(Agent(name="a", max_turn_attempts=own), replace(claimed, retries=n), default, DAY).retry_delay(error)
        for n in range(10)
    ]

    assert (delays.index(None) + 1 if None in delays else None) == attempts


@pytest.mark.parametrize(("failing_seconds", "longest"), [(0, 5), (40, 40), (5000, 300), (DAY, None)])
async def test_a_turn_that_is_put_off_waits_as_long_again_as_it_has_waited(
    failing_seconds: float, longest: float | None
) -> None:
    error = ModelError("unavailable", "not asked", retryable=True, breaker="m:1", is_put_off=True)
    # No attempt was made: their number ends nothing.
    agent = Agent(name="a", max_turn_attempts=1)

    ending = await run_of(agent, Scripted(error), failing_seconds=failing_seconds).run()

    if longest is None:
        assert isinstance(ending, Failed)
    else:
        assert isinstance(ending, RetryLater)
        assert (ending.is_put_off, ending.waits_for) == (True, "m:1")
        assert longest / 2 <= ending.after.total_seconds() <= longest


@pytest.mark.parametrize(("retryable", "retries"), [(False, 0), (True, 4)], ids=["refused", "too often"])
async def test_a_model_that_fails_for_good_fails_the_turn_and_says_nothing_in_it(retryable: bool, retries: int) -> None:
    model = Scripted(says("I look", call("echo", "1", text="found")), ModelError("x", "reason", retryable=retryable))

    ending = await failed(run_of(Agent(name="a", tools=[echo]), model, retries=retries))

    assert (ending.error.kind, ending.error.retryable) == ("model_error", retryable)
    assert [m.content for m in ending.messages] == ["I look", '"found"']
