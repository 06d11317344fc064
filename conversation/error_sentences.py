"""A turn's error as logs and Flower may tell it: words of ours alone.

What stays true: nothing that a user, a model, a tool or a provider wrote is in it. The message of a `TurnError` may
quote them, so it stays in the database; here its kind has a sentence, and what is not known has none.
"""

import re
from collections.abc import Mapping

from conversation.turn import TurnError

#: By the kind of a turn's error.
SENTENCES: Mapping[str, str] = {
    "abandoned": "the process that ran it for itself is gone",
    "agent_error": "code of an agent, a model or ours raised",
    "deadline": "it had not ended by its deadline",
    "exhausted": "processes ran out of threads, memory, descriptors or disk under it",
    "file_store_unavailable": "the file store stayed away",
    "model_error": "the model gave no answer",
    "poison": "processes died under it, or its runs broke off again and again",
    "step_limit": "the model asked for more calls than an agent's turn may have",
    "time_limit": "it took longer than an agent's turn may take",
    "token_limit": "it used more tokens than an agent's turn may use",
    "tool_failing": "a tool failed in the same way again and again",
    "tool_server_unavailable": "an MCP server that its agent cannot do without stayed away",
    "truncated": "the model's tool calls were cut at its token limit, again after it was told",
    "unreadable": "what is stored of its thread cannot be read back",
    "waiting_expired": "nobody decided in time what it waited for",
}
#: By the kind of a model's error, which a turn's message begins with.
MODEL_SENTENCES: Mapping[str, str] = {
    "content_filtered": "the provider's rules forbid the conversation, or the answer",
    "content_refused": "the model declined to answer",
    "context_length": "the conversation is longer than the model takes",
    "empty_reply": "the model said nothing, twice",
    "insufficient_quota": "the account has no credit",
    "not_found": "there is no such model, or its address is wrong",
    "rate_limited": "the provider's limit was reached",
    "refused": "the provider refused the request",
    "reply_too_large": "the model wrote more than any answer needs",
    "stream_interrupted": "the answer broke off",
    "timeout": "the provider did not answer in time",
    "truncated": "the answer was cut at its token limit before the first word",
    "unauthorized": "the provider refused the key, or there is none",
    "unavailable": "the provider cannot be reached, or is down",
    "unexpected": "the library that asks the provider broke",
}
#: Names of types as code has them; one that was made at run time may be anything.
_TYPE_NAME = re.compile(r"[A-Za-z_][\w.<>]{0,199}", re.ASCII)
_MODEL_ERROR = "model_error"
_AGENT_ERROR = "agent_error"


def model_kind_of(error: TurnError) -> str | None:
    """The kind of the model's error that ended a turn; None for another error, and for an unknown kind."""
    kind = error.message.partition(":")[0] if error.kind == _MODEL_ERROR else ""
    return kind if kind in MODEL_SENTENCES else None


def exception_name_of(error: TurnError) -> str | None:
    """The type of the exception that ended a turn, with its module; None for another error."""
    is_named = error.kind == _AGENT_ERROR and _TYPE_NAME.fullmatch(error.message)
    return error.message if is_named else None


def sentence_of(error: TurnError) -> str:
    """A sentence on what ended a turn; "" for a kind that has none."""
    model_kind = model_kind_of(error)
    return MODEL_SENTENCES[model_kind] if model_kind else SENTENCES.get(error.kind, "")


def describe(error: TurnError) -> str:
    """An error in a line: its kind, whose fault it is, and a sentence."""
    model_kind, exception_name = model_kind_of(error), exception_name_of(error)
    kind = f"{error.kind} {model_kind}" if model_kind else error.kind
    words = [f"{kind} (fault: {error.fault})", sentence_of(error), exception_name or ""]
    return ": ".join(word for word in words if word)
