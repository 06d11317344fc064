"""The agent on the picture of the chat page: it says what is written here, word by word."""

import asyncio
import re
from collections.abc import AsyncIterator

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.offline.model import RecallModel
from agent.registry import register
from agent.tools.tool import tool
from conversation.message import ToolCall

#: Seconds between two words.
WORD_SECONDS = 0.04
#: Of the last answer, so that it is seen as it is written.
SLOW_SECONDS = 0.6
LABEL = """That is the label of order **FH-20418**, sent to Maren Holt on 11 March. Two things on it matter:

- The barcode is whole, so the depot can scan it again.
- The weight, `1.2 kg`, is that of **one** flask: the second one was never in the parcel."""
REFUND = """I have refunded 19.50 for the flask that was missing. It will be on the card by"""


@tool(idempotent=True)
def get_order(order_id: str) -> dict[str, object]:
    """An order of the shop."""
    return {"order_id": order_id, "status": "delivered", "lines": [{"item": "FLASK-S", "quantity": 2, "cents": 1950}]}


class Clerk(RecallModel):
    """Looks at the order first, and answers what the picture shows."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        """Answer by how the newest message begins."""
        newest = request.messages[-1]
        if newest["role"] == "user" and "label" in str(newest["content"]):
            call = ToolCall(id="call_1", name="get_order", arguments='{"order_id": "FH-20418"}')
            yield ModelReply(tool_calls=(call,), model="clerk", finish_reason="tool_calls")
            return
        is_refund = newest["role"] == "user"
        text = REFUND if is_refund else LABEL
        for word in re.findall(r"\S+\s*", text):
            await asyncio.sleep(SLOW_SECONDS if is_refund and "refund" in str(newest["content"]) else WORD_SECONDS)
            yield TextDelta(word)
        yield ModelReply(content=text, model="clerk")


register(Agent(name="clerk", model=Clerk(), tools=[get_order]))
