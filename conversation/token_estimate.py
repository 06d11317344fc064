"""How many tokens a message is taken for where its provider did not count it.

What stays true: equal messages give equal numbers, in every process and release that reads what
another one stored; `store/history/counters.py` says the same in SQL.
"""

from conversation.message import Message

#: Of English text under most tokenizers.
CHARS_PER_TOKEN = 4
#: What chat formats add around each message: roles and separators.
PER_MESSAGE = 4


def estimated_tokens(message: Message) -> int:
    """By lengths alone: the text and the tool calls of a message, without its files."""
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return PER_MESSAGE + (len(message.content) + calls) // CHARS_PER_TOKEN
