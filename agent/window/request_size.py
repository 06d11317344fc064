"""The size of a request in estimated tokens: of its messages, and of what stands around them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.window.fitting import size_of

#: Tokens of a picture or sound, about.
MEDIA_TOKENS = 1_000


@dataclass(frozen=True, slots=True)
class RequestSize:
    """The size of a request, in estimated tokens."""

    #: Of system texts, tool declarations and files.
    fixed: int
    messages: int

    @property
    def total(self) -> int:
        return self.fixed + self.messages

    @staticmethod
    def of_fixed(
        system_texts: Sequence[str],
        tools: Sequence[Mapping[str, Any]],
        parts_by_message: Iterable[Sequence[Mapping[str, Any]]],
    ) -> int:
        """The size of what stands around the messages."""
        texts = sum(map(size_of, system_texts))
        declarations = size_of(json.dumps(list(tools), default=str)) if tools else 0
        return texts + declarations + sum(map(RequestSize.of_parts, parts_by_message))

    @staticmethod
    def of_parts(parts: Sequence[Mapping[str, Any]]) -> int:
        """The size of a message's files."""
        return sum(size_of(part["text"]) if part.get("type") == "text" else MEDIA_TOKENS for part in parts)
