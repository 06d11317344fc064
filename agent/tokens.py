"""Counting a message's tokens by the tokenizer of the model that shall read it.

What stays true: a stored message never changes, so it is counted once a process. Attached files
are not counted: providers price images by rules of their own.
"""

from dataclasses import dataclass
from functools import lru_cache

from agent.recall import RECALL_MODEL
from conversation.message import Message

#: What chat formats add around each message: roles and separators.
PER_MESSAGE = 4
#: Counts that a process remembers: a few megabytes.
REMEMBERED = 65_536


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts for one model. Its first count loads a tokenizer: call it off the event loop."""

    model_name: str

    def of(self, message: Message) -> int:
        """The tokens of a message: its text and its tool calls."""
        return PER_MESSAGE + _count(self.model_name, message.id, _text(message))


def _text(message: Message) -> str:
    return "\n".join((message.content, *(f"{call.name} {call.arguments}" for call in message.tool_calls)))


@lru_cache(maxsize=REMEMBERED)
def _count(model_name: str, _message_id: str, text: str) -> int:
    if model_name == RECALL_MODEL:
        return len(text.split())
    from agent.litellm_model import load

    load()
    import litellm

    return len(litellm.encode(model=model_name, text=text))
