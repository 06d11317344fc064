"""The estimate of a message's tokens, for where its provider did not count them.

What stays true: equal messages give equal numbers, in every process and release that reads what
another one stored; `store/history/counters.py` says the same in SQL.
"""

from conversation.message import Message

#: Of English text under most tokenizers.
CHARS_PER_TOKEN = 4
#: What chat formats add around each message: roles and separators.
TOKENS_PER_MESSAGE = 4


def estimate_tokens(message: Message) -> int:
    """Estimate the tokens of a message by the lengths of its text and tool calls, without its files."""
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return TOKENS_PER_MESSAGE + (len(message.content) + calls) // CHARS_PER_TOKEN
