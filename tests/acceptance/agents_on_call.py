"""Agents of the night in `docs/how-to/on-call.md`: one that works, one with a bug, one whose provider is away."""

from dataclasses import replace

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest
from agent.offline.model import RecallModel
from agent.registry import register
from agent.tools.run_context import RunContext
from agent.tools.tool import tool
from conversation.errors import ModelError
from conversation.message import Usage
from tests.acceptance.gates import GATE_SECONDS, note, opened


@tool(timeout_seconds=GATE_SECONDS)
async def hold(gate: str, context: RunContext) -> str:
    """Wait for a gate."""
    note("hold begins", context)
    await opened(gate)
    return "held"


class PricedModel(RecallModel):
    """Answers as `offline/recall` does, at the price of a model that costs something."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        reply = await super().complete(request)
        return replace(reply, model="openai/gpt-5-mini", usage=Usage(820, 64), cost=0.000333)


class AwayModel(RecallModel):
    """Is away."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        raise ModelError("unavailable", "the provider answered 503", retryable=True)


class BuggyModel(RecallModel):
    """Has a bug, which quotes what was said."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        raise KeyError(request.messages[-1]["content"])


register(Agent(name="support", model=PricedModel(), streams=False, tools=[hold]))
register(Agent(name="translator", model=AwayModel(), streams=False))
register(Agent(name="billing", model=BuggyModel(), streams=False))
