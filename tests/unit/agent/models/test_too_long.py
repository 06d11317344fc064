"""A conversation that is too long is told by each provider's words, and other errors are not taken for it."""

import pytest

from agent.models.provider_errors import model_error
from agent.models.too_long import is_too_long, max_tokens_in

#: Words of providers, with the tokens that they say the model takes.
TOO_LONG = {
    "OpenAI": (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 15034 tokens.",
        8192,
    ),
    "OpenAI, of messages": ("Please reduce the length of the messages.", None),
    "OpenAI, responses": ("Your input exceeds the context window of this model. Please adjust your input.", None),
    "Anthropic": ("prompt is too long: 210000 tokens > 200000 maximum", 200000),
    "Anthropic, with the answer": (
        "input length and `max_tokens` exceed context limit: 199000 + 8000 > 200000, decrease input length",
        None,
    ),
    "Gemini": ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 1048576),
    "Gemini, new": ("The input token count exceeds the maximum number of tokens allowed 1048575.", 1048575),
    "Bedrock": ("Input is too long for requested model.", None),
    "Bedrock, Titan": (
        "400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: 9000",
        8192,
    ),
    "Mistral": (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        None,
    ),
    "Groq": ("Please reduce the length of the messages or completion.", None),
    "Groq, a minute": (
        "Request too large for model `x` in organization `o` on tokens per minute (TPM): Limit 6000, Requested 9000",
        6000,
    ),
    "Cohere": ("too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 9000", None),
    "Moonshot": ("Invalid request: Your request exceeded model token limit: 8192", 8192),
    "DeepSeek": ("This model's maximum context length is 65536 tokens. However, you requested 70000 tokens", 65536),
    "xAI": ("This model's maximum prompt length is 131072 but the request contains 150000 tokens.", 131072),
    "OpenRouter": ("This endpoint's maximum context length is 32768 tokens. However, you requested about 40000", 32768),
    "vLLM": ("The decoder prompt (length 9000) is longer than the maximum model length of 4096.", None),
    "llama.cpp": ("the request exceeds the available context size (4096 tokens), try increasing it", None),
    "Ollama": ("the input length exceeds the context length", None),
    "LM Studio": ("The number of tokens to keep from the initial prompt is greater than the context length.", None),
    "Together": ("`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000 `inputs` tokens", None),
    "Cerebras": ("Please reduce the length of the messages. Current length is 9000 while limit is 8192", 8192),
    "Qwen": ("Range of input length should be [1, 30720]", 30720),
    "Zhipu": ("Prompt exceeds max length", None),
    "MiniMax": ("invalid params, context window exceeds limit (2013)", None),
    "Copilot": ("prompt token count of 70000 exceeds the limit of 64000", 64000),
    "a proxy": ("413 Request Entity Too Large", None),
}
OTHERS = [
    "Rate limit reached for gpt-4 on tokens per min (TPM): Limit 10000, Used 9000, Requested 2000.",
    "Too many tokens per day, please wait before trying again.",
    "Invalid 'messages[3].tool_calls[0].id': string too long. Expected a string with maximum length 40",
    "max_tokens is too large: 5000. This model supports at most 4096 completion tokens",
    "The model `gpt-9` does not exist",
    "Invalid type for 'messages[0].content': expected a string",
    "Bad Request",
]


class ProviderError(Exception):
    status_code = 400


@pytest.mark.parametrize("name", TOO_LONG)
def test_each_provider_s_words_for_too_long_are_known(name):
    text, max_tokens = TOO_LONG[name]

    error = model_error(ProviderError(text), model="m", parameters={})

    assert (error.kind, error.retryable) == ("context_length", False)
    if max_tokens is not None:
        assert error.max_tokens == max_tokens


@pytest.mark.parametrize("text", OTHERS)
def test_other_errors_are_not_taken_for_it(text):
    assert not is_too_long(text, 429 if "per" in text else 400)


def test_a_request_too_large_for_a_minute_s_limit_is_never_tried_as_it_is():
    error = ProviderError(TOO_LONG["Groq, a minute"][0])
    error.status_code = 429

    assert model_error(error, model="m", parameters={}).kind == "context_length"


def test_a_number_that_is_no_limit_is_not_taken_for_one():
    assert max_tokens_in("Input is too long for requested model.") is None
