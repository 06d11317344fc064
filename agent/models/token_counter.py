"""Counting a message's tokens by the tokenizer that litellm takes for every model.

What stays true: litellm is not imported for it. A text is counted once a process, and not kept for that.
Attached files are not counted: providers price images by rules of their own.
"""

import os
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib import import_module
from typing import Any

from agent.models.model_list import find_litellm
from agent.models.protocol import RECALL_MODEL
from conversation.message import Message
from conversation.token_estimate import TOKENS_PER_MESSAGE

#: Counts that a process remembers, by the hash of what was counted: a few megabytes, whatever the texts.
REMEMBERED_COUNTS = 32_768

_counts: dict[tuple[bool, bytes], int] = {}


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """The counter for one model. The first count loads a tokenizer: call it off the event loop."""

    model_name: str

    def count(self, message: Message) -> int:
        """Count the tokens of a message: of its text and its tool calls."""
        return TOKENS_PER_MESSAGE + _count(self.model_name, _text(message))


def _text(message: Message) -> str:
    return "\n".join((message.content, *(f"{call.name} {call.arguments}" for call in message.tool_calls)))


def _count(model_name: str, text: str) -> int:
    key = model_name == RECALL_MODEL, blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    count = _counts.get(key)
    if count is None:
        if len(_counts) >= REMEMBERED_COUNTS:
            _counts.clear()  # in one step, since threads share it
        count = _counts[key] = _tokenize(model_name, text)
    return count


def _tokenize(model_name: str, text: str) -> int:
    if model_name == RECALL_MODEL:
        return len(text.split())
    return len(_load_encoding().encode(text, disallowed_special=()))


@cache
def _load_encoding() -> Any:
    """The encoding by which litellm counts for every model, out of the file that litellm ships: no network is asked."""
    folder = os.environ.get("CUSTOM_TIKTOKEN_CACHE_DIR") or find_litellm() / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    return import_module("tiktoken").get_encoding("cl100k_base")
