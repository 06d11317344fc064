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
LABEL = """That is the label of order **FH-20418**, sent to Maren Holt on 11 March. Two things on it matter:

- The barcode is whole, so the depot can scan it again.
- The weight, `1.2 kg`, is that of **one** flask: the second one was never in the parcel."""
STOCK = "It is. A pair of insoles for it is 19.50."


@tool(idempotent=True)
def get_order(order_id: str) -> dict[str, object]:
    """An order of the shop."""
    return {"order_id": order_id, "status": "delivered", "lines": [{"item": "FLASK-S", "quantity": 2, "cents": 1950}]}


@tool(needs_approval=True)
def refund(order_id: str, cents: int) -> str:
    """Pay for a line of an order."""
    return f"{cents} cents of {order_id} are on their way back"


class Clerk(RecallModel):
    """Looks at the order first, answers what the picture shows, and refunds where somebody approves."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        """Answer by how the newest message begins."""
        newest = request.messages[-1]
        said = str(newest["content"]) if newest["role"] == "user" else ""
        if "label" in said or "refund" in said:
            name, line = ("get_order", "") if "label" in said else ("refund", ', "cents": 1950')
            call = ToolCall(id="call_1", name=name, arguments=f'{{"order_id": "FH-20418"{line}}}')
            yield ModelReply(tool_calls=(call,), model="clerk", finish_reason="tool_calls")
            return
        text = STOCK if said else LABEL
        for word in re.findall(r"\S+\s*", text):
            await asyncio.sleep(WORD_SECONDS)
            yield TextDelta(word)
        yield ModelReply(content=text, model="clerk")


register(Agent(name="clerk", model=Clerk(), tools=[get_order, refund]))
