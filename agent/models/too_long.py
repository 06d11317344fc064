"""How each provider says that a conversation is longer than its model takes.

What stays true: an error that says so is told from every other one, whatever its status: it is never
tried again as it is, and always with less.
"""

import re

#: One line a provider, in the words of its errors.
_WORDS = (
    r"context_length_exceeded|context_window_exceeded|context_length|exceed_context_size_error",  # codes
    r"maximum context length|max(?:imum)? context (?:limit|window)|context[ -]length(?: is| of)? (?:exceeded|limit)",
    r"reduce the length of (?:the|your) (?:messages|prompt|input)",  # OpenAI, Groq, vLLM
    r"prompt is too long|exceed(?:s|ed)? (?:the )?(?:model'?s? )?(?:maximum )?context",  # Anthropic, Ollama, MiniMax
    r"context window exceeds limit|exceeds? the (?:model'?s? )?(?:available |maximum )?context (?:size|window|length)",
    r"token count.{0,60}exceeds|exceeds the maximum number of (?:input )?tokens",  # Gemini, Copilot
    r"input tokens exceed|exceeds the (?:max|maximum) (?:input )?(?:tokens?|length)",  # Gemini, Zhipu
    r"input is too long|too many (?:input )?tokens|too many total text bytes",  # Bedrock, Cohere
    r"too large for model|exceeded model token limit|exceeds? (?:the )?(?:model )?token limit",  # Mistral, Moonshot
    r"maximum prompt length|prompt (?:is )?(?:too large|longer than)|(?:prompt|input) length.{0,80}exceeds?",  # xAI
    r"longer than the (?:model'?s? )?(?:maximum )?(?:context|model) length|greater than the context length",  # vLLM
    r"`?inputs`? tokens \+ `?max_new_tokens`? must be|maximum input length is",  # Hugging Face, Databricks
    r"current length is \d+ while limit is|range of input length should be|prompt exceeds max length",  # Cerebras, Qwen
    r"string too long\. expected a string with maximum length",  # OpenAI, of one message
    r"request_too_large|request too large for|request entity too large",  # Anthropic, Groq, proxies
)
_TOO_LONG = re.compile("|".join(_WORDS), re.IGNORECASE)
#: Errors of other fields that use the same words.
_OTHER_FIELD = re.compile(
    r"invalid '(?:user|messages\[\d+\]\.(?:name|tool_call))|tool_call_id|max_tokens is too large", re.IGNORECASE
)
#: What only a refusal of a request says; a limit of tokens a minute that frees itself is none.
_IS_PASSING = re.compile(r"tokens per (?:min|day)|too many tokens per|TPM", re.IGNORECASE)
_LIMITS = (
    r"(?:context|prompt|input)[ -](?:length|limit|window|size)[^\d]{0,30}(\d[\d,]{2,})",
    r"(?:maximum|max|limit)[^\d]{0,40}(\d[\d,]{2,})",
    r"> ?(\d[\d,]{2,}) maximum",
    r"while limit is (\d[\d,]{2,})",
    r"should be \[\d+, ?(\d[\d,]{2,})\]",
)


def is_too_long(text: str, status: object = None) -> bool:
    """Whether a provider's error says that the conversation is too long."""
    if not _TOO_LONG.search(text) or _OTHER_FIELD.search(text):
        return False
    # A request larger than what an account may send in a minute never passes; one that came too early does.
    return not (status == 429 and _IS_PASSING.search(text)) or "request too large" in text.lower()


def max_tokens_in(text: str) -> int | None:
    """The tokens that a model takes, as its provider says in an error; None where it does not."""
    for pattern in _LIMITS:
        match = re.search(pattern, text, re.IGNORECASE)
        if match:
            return int(match[1].replace(",", ""))
    return None
