"""The ways in which a reply ends, and where each leads.

What stays true: every reply ends in one of these ways, whichever provider sent it, streamed or whole;
the table below is the only place where a provider's word for an ending is read.

| ending      | how it is known                                         | where it leads                            |
|-------------|---------------------------------------------------------|-------------------------------------------|
| complete    | text or tool calls, and the provider said that it ended | the reply                                 |
| truncated   | cut at the token limit                                  | the reply, marked; `truncated` of nothing |
| filtered    | the provider's filter stopped it                        | `content_filtered`, not tried again       |
| refused     | the model declined                                      | `content_refused`, not tried again        |
| empty       | neither text nor tool calls                             | asked once more, then `empty_reply`       |
| interrupted | it broke off before the provider said that it ended     | `stream_interrupted`, tried again         |
| oversized   | more text, arguments or calls than any answer needs     | `reply_too_large`, not tried again        |
"""

from enum import StrEnum
from typing import assert_never

from agent.models.protocol import ModelReply
from agent.models.stream_assembly import ReplyPieces
from conversation.errors import ModelError
from conversation.message import Usage
from conversation.step import CUT_AT_LIMIT

#: The kind of error of a model that says nothing.
EMPTY_REPLY = "empty_reply"


class ReplyEnding(StrEnum):
    """The way in which a reply ended."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    FILTERED = "filtered"
    REFUSED = "refused"
    EMPTY = "empty"
    INTERRUPTED = "interrupted"
    OVERSIZED = "oversized"


#: The ending behind a provider's finish reason, in lower case; any other word is a complete reply.
ENDING_OF_REASON = {
    # OpenAI and most others
    "length": ReplyEnding.TRUNCATED,
    "content_filter": ReplyEnding.FILTERED,
    "error": ReplyEnding.INTERRUPTED,
    # Anthropic
    "max_tokens": ReplyEnding.TRUNCATED,
    "model_context_window_exceeded": ReplyEnding.TRUNCATED,
    "refusal": ReplyEnding.REFUSED,
    # Gemini
    "safety": ReplyEnding.FILTERED,
    "recitation": ReplyEnding.FILTERED,
    "blocklist": ReplyEnding.FILTERED,
    "prohibited_content": ReplyEnding.FILTERED,
    "spii": ReplyEnding.FILTERED,
    "language": ReplyEnding.FILTERED,
    "image_safety": ReplyEnding.FILTERED,
    # Mistral, Together, Hugging Face
    "model_length": ReplyEnding.TRUNCATED,
    "max_length": ReplyEnding.TRUNCATED,
    # Bedrock, Cohere
    "guardrail_intervened": ReplyEnding.FILTERED,
    "content_filtered": ReplyEnding.FILTERED,
    "error_toxic": ReplyEnding.FILTERED,
    "error_limit": ReplyEnding.TRUNCATED,
    # DeepSeek, Zhipu, Moonshot
    "insufficient_system_resource": ReplyEnding.INTERRUPTED,
    "sensitive": ReplyEnding.FILTERED,
    "network_error": ReplyEnding.INTERRUPTED,
}


def ending_of(pieces: ReplyPieces, *, has_ended: bool) -> ReplyEnding:
    """The ending of a reply. `has_ended`: its provider said that it is whole, with a reason or without."""
    if pieces.excess is not None:
        return ReplyEnding.OVERSIZED
    ending = _ending_of_reason(pieces)
    if ending is ReplyEnding.INTERRUPTED or not (has_ended or pieces.finish_reason):
        return ReplyEnding.INTERRUPTED
    if ending is not ReplyEnding.COMPLETE or _says_something(pieces):
        return ending
    return ReplyEnding.REFUSED if pieces.refusal else ReplyEnding.EMPTY


def conclude(pieces: ReplyPieces, *, has_ended: bool, model: str, usage: Usage, cost: float | None) -> ModelReply:
    """The reply that pieces make together. Raises `ModelError` where their ending leads to none."""
    match ending_of(pieces, has_ended=has_ended):
        case ReplyEnding.COMPLETE:
            return _reply(pieces, model, "tool_calls" if pieces.tool_calls else "stop", usage, cost)
        case ReplyEnding.TRUNCATED if _says_something(pieces):
            return _reply(pieces, model, CUT_AT_LIMIT, usage, cost)
        case ReplyEnding.TRUNCATED:
            raise ModelError(
                "truncated", f"{model}: cut at the token limit before the first word", retryable=False, is_ours=True
            )
        case ReplyEnding.FILTERED:
            raise _error("content_filtered", model, "the provider filtered the answer", pieces)
        case ReplyEnding.REFUSED:
            raise _error("content_refused", model, "the model refused to answer", pieces)
        case ReplyEnding.EMPTY:
            raise ModelError(EMPTY_REPLY, f"{model}: the model said nothing", retryable=False, is_ours=True)
        case ReplyEnding.INTERRUPTED:
            raise ModelError("stream_interrupted", f"{model}: the answer broke off", retryable=True, is_ours=True)
        case ReplyEnding.OVERSIZED:
            raise ModelError(
                "reply_too_large", f"{model}: the answer has {pieces.excess}", retryable=False, is_ours=True
            )
        case ending:
            assert_never(ending)


def _says_something(pieces: ReplyPieces) -> bool:
    return bool(pieces.content.strip() or pieces.tool_calls)


def _ending_of_reason(pieces: ReplyPieces) -> ReplyEnding:
    reasons = [reason.lower() for reason in (pieces.native_finish_reason, pieces.finish_reason) if reason]
    endings = (ENDING_OF_REASON[reason] for reason in reasons if reason in ENDING_OF_REASON)
    return next(endings, ReplyEnding.COMPLETE)


def _reply(pieces: ReplyPieces, model: str, finish_reason: str, usage: Usage, cost: float | None) -> ModelReply:
    return ModelReply(
        content=pieces.content,
        tool_calls=pieces.tool_calls,
        reasoning=pieces.reasoning,
        model=model,
        finish_reason=finish_reason,
        usage=usage,
        cost=cost,
    )


def _error(kind: str, model: str, problem: str, pieces: ReplyPieces) -> ModelError:
    return ModelError(
        kind, f"{model}: {problem}", retryable=False, is_ours=True, provider_text=pieces.refusal or pieces.content
    )
