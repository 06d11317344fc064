"""The reply that is being written in a thread, as far as a process heard of it.

What stays true: a text is shown only behind the number that it follows. Whoever has seen a number of this reply gets
the text after it, to the letter, or is told that the model began anew; deltas that do not join are left out.
"""

from conversation.events import MessageDelta, MessageDone, MessageRestarted
from store.live.event_channel import Deltas, OpenPiece


class Piece:
    """One reply of one attempt."""

    def __init__(self, envelope: Deltas | OpenPiece) -> None:
        self.thread_id = envelope.thread_id
        self.turn_id = envelope.turn_id
        self.message_id = envelope.message_id
        #: All events of rows before the reply have lower numbers; those of the reply have higher ones.
        self.base = envelope.base
        #: Whether rows that were read since had all events before the reply.
        self.is_confirmed = False
        #: The newest number, of a delta or a restart.
        self.number = envelope.base
        self._restarted: int | None = None
        self._texts: list[str] = []
        #: How many of the texts whoever has seen a number has seen.
        self._seen_counts: dict[int, int] = {envelope.base: 0}

    def take(self, envelope: Deltas | OpenPiece) -> bool:
        """Take up more of the reply; False where something before it was lost."""
        if isinstance(envelope, OpenPiece):
            self._replace(envelope)
            return True
        if envelope.previous > self.number:
            return False
        for number, text in envelope.deltas:
            # Lower numbers came before, by another way.
            if number > self.number:
                self._add(number, text)
        return True

    def next_event(self, after: int) -> MessageDelta | MessageRestarted | None:
        """The next event for a viewer who has seen all of them up to a number; None where there is none."""
        if after <= self.base:
            seen_count = 0
        elif self._restarted is not None and after < self._restarted:
            return self._restart(self._restarted)
        elif after in self._seen_counts:
            seen_count = self._seen_counts[after]
        else:
            # Its delta is on its way here, or was none of this reply.
            return None
        if seen_count == len(self._texts):
            return None
        return self._delta(self.number, "".join(self._texts[seen_count:]))

    def complete(self, message_done: MessageDone, after: int) -> MessageDelta | MessageRestarted | None:
        """The event before the whole message for a viewer of its beginning, if their text is not all of it.

        The last number before the message is left for that: no worker gives it to a delta.
        """
        number = message_done.number - 1
        if not self.base < after < number:
            return None
        content = message_done.message.content
        seen_text = self._seen_text(after)
        if seen_text == content:
            return None
        if seen_text is not None and content.startswith(seen_text):
            return self._delta(number, content[len(seen_text) :])
        return self._restart(number)

    def _seen_text(self, after: int) -> str | None:
        seen_count = self._seen_counts.get(after)
        return None if seen_count is None else "".join(self._texts[:seen_count])

    def _delta(self, number: int, text: str) -> MessageDelta:
        return MessageDelta(
            thread_id=self.thread_id, turn_id=self.turn_id, number=number, message_id=self.message_id, text=text
        )

    def _restart(self, number: int) -> MessageRestarted:
        return MessageRestarted(
            thread_id=self.thread_id, turn_id=self.turn_id, number=number, message_id=self.message_id
        )

    def _add(self, number: int, text: str | None) -> None:
        self.number = number
        if text is None:
            self._restarted = number
            self._texts, self._seen_counts = [], {}
        else:
            self._texts.append(text)
        self._seen_counts[number] = len(self._texts)

    def _replace(self, envelope: OpenPiece) -> None:
        """Take the whole reply as a worker has it, unless more of it is here."""
        newest = max((envelope.restarted or self.base, *(number for number, _ in envelope.ends)))
        if newest <= self.number:
            return
        self._restarted = envelope.restarted
        start = envelope.restarted if envelope.restarted is not None else self.base
        self._texts, self._seen_counts, self.number = [], {start: 0}, newest
        begin = 0
        for number, end in envelope.ends:
            self._texts.append(envelope.text[begin:end])
            self._seen_counts[number] = len(self._texts)
            begin = end
