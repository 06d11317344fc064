"""A model that follows a script, a journal in memory, and what holds for every run of the loop."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.agent import Agent
from agent.dependencies import RunDependencies
from agent.events import Event
from agent.loop import Run
from agent.models.protocol import Model, ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.tools.thread_pool import ToolThreads
from conversation.errors import ModelError
from conversation.history import check_next, open_calls
from conversation.message import Message, ToolCall, Usage
from conversation.pending_call import PendingRequest
from conversation.step import Step, input_step
from conversation.turn import ClaimedTurn, Completed, Failed, FinalEnding, Lease

SPENT = Usage(prompt_tokens=10, completion_tokens=5)
Answer = ModelReply | ModelError | Callable[[ModelRequest], ModelReply]


def says(text: str, *calls: ToolCall) -> ModelReply:
    return ModelReply(content=text, tool_calls=calls, model="scripted", usage=SPENT, cost=0.5)


def call(name: str, call_id: str, **arguments: Any) -> ToolCall:
    return ToolCall(call_id, name, json.dumps(arguments))


class Scripted:
    """Gives its answers in order; the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = answers
        self.requests: list[ModelRequest] = []

    def _next(self, request: ModelRequest) -> ModelReply:
        self.requests.append(request)
        # By what was said, not by how often it was asked: a resumed run asks fewer times.
        said = sum(1 for message in request.messages if message["role"] == "assistant")
        answer = self.answers[min(said, len(self.answers) - 1)]
        if isinstance(answer, ModelError):
            raise answer
        return answer if isinstance(answer, ModelReply) else answer(request)

    async def complete(self, request: ModelRequest) -> ModelReply:
        await asyncio.sleep(0)
        return self._next(request)

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        reply = self._next(request)
        for word in reply.content.split(" "):
            await asyncio.sleep(0)
            yield TextDelta(f"{word} ")
        yield reply


@dataclass
class Memory:
    """A journal as the store keeps it: a final step stays as it is."""

    steps: dict[int, Step] = field(default_factory=dict)
    before: Callable[[Sequence[Step]], None] = lambda _: None
    pending: list[PendingRequest] = field(default_factory=list)
    #: Messages that wait to be told to the turn.
    told: list[Message] = field(default_factory=list)

    async def record(self, steps: Sequence[Step], pending: Sequence[PendingRequest] = ()) -> bool:
        await asyncio.sleep(0)
        self.pending += pending
        self.before(steps)
        for step in steps:
            known = self.steps.get(step.index)
            if known is None or not known.is_final:
                self.steps[step.index] = step
        await asyncio.sleep(0)
        return bool(self.told)

    async def take_messages(self, index: int) -> list[Step]:
        await asyncio.sleep(0)
        taken, self.told = [input_step(index + place, each) for place, each in enumerate(self.told)], []
        self.steps |= {step.index: step for step in taken}
        return taken


class NoFiles:
    async def build_parts(self, tenant: str, messages: Sequence[Message], *view: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {}


THREADS = ToolThreads(8)


def run_of(
    agent: Agent,
    model: Model,
    journal: Memory | None = None,
    *,
    emit: Callable[[Event], None] | None = None,
    mcp_allow_networks: tuple[str, ...] = (),
    model_name: str = "scripted",
    keeps_provider_errors: bool = False,
    attachments: Any = None,
    **claimed: Any,
) -> Run:
    journal = journal or Memory()
    turn: dict[str, Any] = {
        "lease": Lease(thread_key=1, worker="w", fencing_token=1),
        "id": "turn",
        "tenant": "default",
        "thread_id": "thread",
        "agent": agent.name,
        "attempt": 2 if journal.steps else 1,
        "window": (Message(role="user", content="go"),),
        "steps": dict(journal.steps),
    }
    hands = RunDependencies(
        model=model,
        model_name=model_name,
        journal=journal,
        attachments=attachments or NoFiles(),
        tool_threads=THREADS,
        emit=emit,
        mcp_allow_networks=mcp_allow_networks,
        keeps_provider_errors=keeps_provider_errors,
    )
    return Run(agent, ClaimedTurn(**turn | claimed), hands)


def assert_well_formed(messages: Sequence[Message]) -> None:
    history: list[Message] = [Message(role="user", content="go")]
    for message in messages:
        check_next(history, message)
        history.append(message)
    assert open_calls(history) == {}


def results(ended: FinalEnding) -> dict[str | None, str]:
    return {m.tool_call_id: m.content for m in ended.messages if m.role == "tool"}


async def completed(run: Run) -> Completed:
    ending = await run.run()
    assert isinstance(ending, Completed), ending
    assert_well_formed(ending.messages)
    return ending


async def failed(run: Run) -> Failed:
    ending = await run.run()
    assert isinstance(ending, Failed), ending
    assert_well_formed(ending.messages)
    return ending
