"""Tokens and prices: what an answer cost by its provider's count, and by an estimate where it was broken off."""

from typing import Any

from agent.models.protocol import ModelRequest
from agent.models.stream_assembly import ReplyPieces
from conversation.message import Usage
from conversation.token_estimate import CHARS_PER_TOKEN


def counted_usage(response: Any) -> Usage:
    """The usage that the provider counted; zeros where it did not."""
    usage = getattr(response, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(
        getattr(usage, "prompt_tokens", None) or 0,
        getattr(usage, "completion_tokens", None) or 0,
        getattr(details, "cached_tokens", None) or 0,
    )


def price(library: Any, model: str, usage: Usage, response: Any = None) -> float | None:
    """The price of so many tokens in US dollars; None where no price is known or nothing was counted."""
    if not usage.total_tokens:
        return None
    try:
        return float(
            library.completion_cost(completion_response=_to_library_response(library, usage, response), model=model)
        )
    except Exception:  # noqa: BLE001  a missing price raises several classes; an answer is worth more
        return None


def spent_in_vain(library: Any, model: str, request: ModelRequest, pieces: ReplyPieces) -> tuple[Usage, float | None]:
    """The usage and price of an attempt that came to no reply: counted, or else estimated."""
    usage = counted_usage(pieces.usage_chunk)
    if usage.total_tokens:
        return usage, price(library, model, usage, pieces.usage_chunk)
    calls = "".join(call.arguments for call in pieces.tool_calls)
    usage = estimate_usage(request, f"{pieces.reasoning or ''}{pieces.content}{pieces.refusal}{calls}")
    return usage, price(library, model, usage)


def estimate_usage(request: ModelRequest, partial_text: str) -> Usage:
    """Estimate the usage of a call that was interrupted after `partial_text`: by lengths alone."""
    prompt_chars = sum(_length(message.get("content")) for message in request.messages)
    return Usage(prompt_chars // CHARS_PER_TOKEN, len(partial_text) // CHARS_PER_TOKEN, is_estimate=True)


def _length(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    return sum(len(part.get("text", "")) for part in content or ())


def _to_library_response(library: Any, usage: Usage, response: Any) -> Any:
    """The response in the form that prices are known for: the library's own."""
    counts: Any = getattr(response, "usage", None)
    if isinstance(response, library.ModelResponse | library.ModelResponseStream):
        return response
    tokens = (
        counts.model_dump()
        if hasattr(counts, "model_dump")
        else {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    )
    return library.ModelResponse(usage=library.Usage(**tokens))
