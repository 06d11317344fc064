"""Tokens and prices: what an answer cost by its provider's count, and by an estimate where it was broken off."""

from collections.abc import Callable
from typing import Any

from agent.models.protocol import ModelRequest
from agent.models.stream_assembly import ReplyPieces
from conversation.message import Usage
from conversation.token_estimate import CHARS_PER_TOKEN

#: A higher count is none: no provider reads or writes so much at once.
COUNT_MAX = 10**12

#: Finds the price in US dollars of so many tokens, as the chunk that counts them says; None where none is known.
Price = Callable[[Usage, Any], float | None]


def counted_usage(response: Any) -> Usage:
    """The usage that the provider counted; zeros where it did not."""
    usage = getattr(response, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(count(usage, "prompt_tokens"), count(usage, "completion_tokens"), count(details, "cached_tokens"))


def count(counts: Any, name: str) -> int:
    """One count of a provider's; 0 where it is none."""
    value = getattr(counts, name, None)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0
    return int(value) if 0 < value < COUNT_MAX else 0


def spent_in_vain(request: ModelRequest, pieces: ReplyPieces, find_price: Price) -> tuple[Usage, float | None]:
    """The usage and price of an attempt that came to no reply: counted, or else estimated."""
    usage = counted_usage(pieces.usage_chunk)
    if usage.total_tokens:
        return usage, find_price(usage, pieces.usage_chunk)
    calls = "".join(call.arguments for call in pieces.tool_calls)
    usage = estimate_usage(request, f"{pieces.reasoning or ''}{pieces.content}{pieces.refusal}{calls}")
    return usage, find_price(usage, None)


def estimate_usage(request: ModelRequest, partial_text: str) -> Usage:
    """Estimate the usage of a call that was interrupted after `partial_text`: by lengths alone."""
    prompt_chars = sum(_length(message.get("content")) for message in request.messages)
    return Usage(prompt_chars // CHARS_PER_TOKEN, len(partial_text) // CHARS_PER_TOKEN, is_estimate=True)


def _length(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    return sum(len(part.get("text", "")) for part in content or ())
