"""The cursor of a user's stream: up to where its viewer has seen the events of all of the user's threads.

What stays true: a cursor is one word of at most 2,000 letters, digits and dashes; a text that is none of ours is
refused with `InvalidInput`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from conversation.errors import InvalidInput

#: Threads that a cursor tells of.
CURSOR_THREADS_MAX = 50
CURSOR_MAX_CHARS = 2000
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: A moment in microseconds, then threads and numbers; all in hexadecimal.
_CURSOR = re.compile(r"u([0-9a-f]{1,16})((?:-[0-9a-f]{12}[0-9a-f]{1,14})*)")
_NAME_CHARS = 12


@dataclass(frozen=True, slots=True)
class UserCursor:
    """A moment of the database, and the numbers of those threads in which something happened around it."""

    #: All that was committed by then was seen, but for the threads that have a number here.
    moment: datetime
    #: By what `name_thread` calls them.
    numbers: Mapping[str, int] = field(default_factory=dict)

    def write(self) -> str:
        """The cursor as text."""
        numbers = list(self.numbers.items())[:CURSOR_THREADS_MAX]
        microseconds = (self.moment - _EPOCH) // _MICROSECOND
        return f"u{max(0, microseconds):x}" + "".join(f"-{name}{number:x}" for name, number in numbers)


def read_user_cursor(text: object) -> UserCursor:
    """Read a cursor. Raises `InvalidInput`."""
    match = _CURSOR.fullmatch(text) if isinstance(text, str) and str.__len__(text) <= CURSOR_MAX_CHARS else None
    try:
        if match is not None:
            entries = match[2].split("-")[1:]
            numbers = {entry[:_NAME_CHARS]: int(entry[_NAME_CHARS:], 16) for entry in entries}
            return UserCursor(_EPOCH + int(match[1], 16) * _MICROSECOND, numbers)
    except OverflowError:
        pass
    raise InvalidInput("cursor", "is none of ours", "pass the cursor of the last event that was seen, or none")


def name_thread(thread_id: str) -> str:
    """The name of a thread in a cursor."""
    return hashlib.sha256(thread_id.encode()).hexdigest()[:_NAME_CHARS]
