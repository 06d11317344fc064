"""An attempt at a turn, as those see it who follow its thread: told what its rows have, and the text as it grows.

What stays true: a ring goes out after what it tells of is committed, so that whoever hears it finds it in the rows.
Nothing here can fail a turn or hold it up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.events import Event, ReplyBegun
from agent.journal import Journal
from agent.models.protocol import StreamRestarted, TextDelta
from conversation.events import DONE_POSITION, MAX_STEP_INDEX, START_SLOT, number_of, number_of_end, number_of_start
from conversation.pending_call import PendingRequest
from conversation.step import Step
from conversation.turn import ClaimedTurn, Ending, FinalEnding, LeasedTurn
from store.live.event_publisher import EventPublisher, TurnFeed

#: The last position that a delta has: the next one is left to those who mend a text that was not all shown.
LAST_DELTA_POSITION = DONE_POSITION - 2


class LiveTurn:
    """One attempt at a turn, while it runs in this process. Only on the event loop."""

    def __init__(self, publisher: EventPublisher, turn: LeasedTurn) -> None:
        self._publisher = publisher
        self._fence = turn.lease.fencing_token
        owner = turn.thread_owner if isinstance(turn, ClaimedTurn) else None
        self._feed: TurnFeed = publisher.open_feed(
            tenant=turn.tenant, thread_id=turn.thread_id, turn_id=turn.id, owner=owner
        )
        self._feed.ring(number_of_start(self._fence))

    def observe(self, event: Event) -> None:
        """Take up what the agent does."""
        match event:
            case TextDelta(text=text):
                self._feed.add_text(text)
            case ReplyBegun(message_id=message_id, step_index=index):
                base = self._number(index, 0)
                self._feed.begin_piece(message_id, base=base, max_number=self._number(index, LAST_DELTA_POSITION))
            case StreamRestarted():
                self._feed.restart()
            case _:
                # Rows have it.
                pass

    def note_steps(self, steps: Sequence[Step]) -> None:
        """Tell of steps that were journalled."""
        if any(step.parent is not None for step in steps):
            # What agents do that were called as tools has no number.
            self._feed.ring(0)
            return
        if any(step.kind == "model" for step in steps):
            self._feed.end_piece()
        self._feed.ring(max((self._number(step.index, DONE_POSITION) for step in steps if step.is_final), default=0))

    def end(self, ending: Ending) -> None:
        """Tell how the attempt ended, which is committed."""
        self._feed.end_piece()
        self._feed.ring(number_of_end(self._fence) if isinstance(ending, FinalEnding) else 0)

    def close(self) -> None:
        """Leave it: it ended, or another process has it."""
        self._publisher.close_feed(self._feed)

    def _number(self, step_index: int, position: int) -> int:
        return number_of(self._fence, START_SLOT + 1 + min(step_index, MAX_STEP_INDEX), position)


@dataclass(frozen=True, slots=True)
class LiveJournal:
    """A journal whose writes are told to those who follow."""

    journal: Journal
    live_turn: LiveTurn

    async def record(self, steps: Sequence[Step], pending: Sequence[PendingRequest] = ()) -> bool:
        """Record steps. Raises `LeaseLost` once the turn belongs to another worker."""
        is_steered = await self.journal.record(steps, pending)
        self.live_turn.note_steps(steps)
        return is_steered

    async def take_messages(self, index: int) -> list[Step]:
        """Take the messages that wait for the turn. Raises `LeaseLost` once it belongs to another worker."""
        steps = await self.journal.take_messages(index)
        self.live_turn.note_steps(steps)
        return steps
