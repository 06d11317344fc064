"""Agents whose turns end in every way, for the pictures of Flower."""

from typing import Any

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest
from agent.offline.model import RecallModel
from agent.registry import register
from conversation.errors import ModelError


class Refused(RecallModel):
    """A model whose provider refuses, or is away."""

    def __init__(self, kind: str, *, retryable: bool = False) -> None:
        super().__init__()
        self._kind, self._retryable = kind, retryable

    async def complete(self, _: ModelRequest) -> ModelReply:
        """Raise what the provider's answer is translated to."""
        raise ModelError(self._kind, "see the table of kinds", retryable=self._retryable)


class Pricing(RecallModel):
    """A model of one's own, with a mistake in it."""

    async def complete(self, _: ModelRequest) -> ModelReply:
        """Answer with a price."""
        return price_of({"order": "4711"})


def price_of(order: dict[str, Any]) -> ModelReply:
    """The price of an order, for which the wrong key is asked."""
    return ModelReply(content=order["price"], model="pricing", finish_reason="stop")


register(Agent(name="support", purpose="Help customers."))
register(Agent(name="pricing", model=Pricing(), streams=False))
register(Agent(name="translator", model=Refused("unauthorized"), streams=False))
register(Agent(name="planner", model=Refused("unavailable", retryable=True), streams=False))
