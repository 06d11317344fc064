"""The name of whoever asks for something that happens to a turn, as they give it."""

from conversation.errors import InvalidInput
from conversation.validation import check_text

#: Characters of a requester's name.
REQUESTER_MAX_CHARS = 200


def check_requester(by: str | None) -> str | None:
    """The name of who asks for a cancel: a line of 1 to 200 characters that can be printed; None for no name."""
    if by is None:
        return None
    name = check_text("by", by, max_chars=REQUESTER_MAX_CHARS)
    if not name.strip() or not name.isprintable():
        raise InvalidInput("by", "is empty, or has characters that cannot be printed", "pass a name, in one line")
    return name
