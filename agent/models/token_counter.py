"""Counting a message's tokens by the tokenizer of the model that shall read it.

What stays true: a stored message never changes, so it is counted once a process. Attached files
are not counted: providers price images by rules of their own.
"""

from dataclasses import dataclass
from functools import lru_cache

from agent.models.protocol import RECALL_MODEL
from conversation.message import Message
from conversation.token_estimate import TOKENS_PER_MESSAGE

#: Counts that a process remembers: a few megabytes.
REMEMBERED_COUNTS = 65_536


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """The counter for one model. The first count loads a tokenizer: call it off the event loop."""

    model_name: str

    def count(self, message: Message) -> int:
        """Count the tokens of a message: of its text and its tool calls."""
        return TOKENS_PER_MESSAGE + _count(self.model_name, message.id, _text(message))


def _text(message: Message) -> str:
    return "\n".join((message.content, *(f"{call.name} {call.arguments}" for call in message.tool_calls)))


@lru_cache(maxsize=REMEMBERED_COUNTS)
def _count(model_name: str, _message_id: str, text: str) -> int:
    if model_name == RECALL_MODEL:
        return len(text.split())
    from agent.models.litellm_model import load

    load()
    import litellm

    return len(litellm.encode(model=model_name, text=text))
