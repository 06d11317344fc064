"""The newest durable events of a feed: those that its followers have in common.

What stays true: all events of the rows with numbers above `begins_after`, as far as they were read, are here, in their
order; how many there are is bounded; none is of a branch that is chosen no more.
"""

from collections.abc import Iterable

from conversation.events import MessageDone, ThreadEvent

#: Events that a feed keeps, and characters of their messages: whoever is further behind reads rows.
TAIL_EVENTS, TAIL_CHARS = 64, 500_000


class Tail:
    """The end of a log."""

    def __init__(self, begins_after: int) -> None:
        self.begins_after = begins_after
        #: The number up to which rows were read.
        self.read_to = begins_after
        self._events: list[ThreadEvent] = []
        self._chars = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, events: Iterable[ThreadEvent]) -> None:
        """Add events that were read, but for those that are here."""
        for event in events:
            if event.number is not None and event.number > self.read_to:
                self._events.append(event)
                self._chars += _chars_of(event)
                self.read_to = event.number
        while len(self._events) > TAIL_EVENTS or (self._chars > TAIL_CHARS and len(self._events) > 1):
            oldest = self._events.pop(0)
            self._chars -= _chars_of(oldest)
            self.begins_after = oldest.number or self.begins_after

    def forget_before(self, number: int) -> None:
        """Forget what was read: the thread was switched to a branch to which it does not belong."""
        self._events.clear()
        self._chars = 0
        self.begins_after = self.read_to = number - 1

    def next_event(self, after: int) -> ThreadEvent | None:
        """The first event behind a number; None where there is none."""
        if after >= self.read_to:
            return None
        return next((event for event in self._events if (event.number or 0) > after), None)


def _chars_of(event: ThreadEvent) -> int:
    return len(event.message.content) if isinstance(event, MessageDone) else 0
