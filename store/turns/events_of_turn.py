"""The events of one turn, out of its row, its journal and its messages: the same whenever they are read.

What stays true: a turn that is over is read from its messages, one that is not from its journal, and both give each
event the same number. A tool's result shows when those of all calls before it are there, so that numbers rise
although tools run side by side.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from conversation.events import (
    DONE_POSITION,
    MAX_STEP_INDEX,
    START_SLOT,
    MessageDone,
    ThreadEvent,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
    number_of,
    number_of_end,
    number_of_start,
)
from conversation.message import Message, Usage
from conversation.replay import assistant_message, tool_message, tool_result_of
from conversation.step import Step, message_of
from conversation.transcript import place_of
from conversation.turn import TurnError, TurnState
from store.turns.records import stored_error


@dataclass(frozen=True, slots=True)
class TurnRow:
    """The part of a turn's row that tells of its events, by the names of its columns."""

    id: str
    state: str
    agent: str
    agent_version: str | None
    attempt: int
    #: None before its first claim, as the two tokens.
    window_to_seq: int | None
    first_fencing_token: int | None
    fencing_token: int | None
    error_kind: str | None
    error_message: str | None
    error_retryable: bool | None
    error_fault: str | None
    usage: dict[str, Any] | None
    cost: float | None
    merged_into: str | None
    rolled_back: bool

    @property
    def is_final(self) -> bool:
        return TurnState(self.state).is_final

    @property
    def error(self) -> TurnError | None:
        """The error of a turn that failed; of one that waits or runs, its newest attempt's."""
        return stored_error(self)


@dataclass(frozen=True, slots=True)
class JournalledStep:
    """A step, and the token of the claim under which it was written last."""

    step: Step
    fencing_token: int


@dataclass(frozen=True, slots=True)
class ClaimedTurnLog:
    """The log of a turn that was claimed at least once."""

    thread_id: str
    turn: TurnRow
    #: Its messages in the history, in their order.
    messages: Sequence[Message]
    #: Its journal, by index; of a turn that is over, results are not looked at.
    journal: Sequence[JournalledStep]

    def events(self) -> list[ThreadEvent]:
        """The events that have numbers, in their order."""
        return sorted(self._read(), key=_number_of)

    def numbers(self) -> Iterator[tuple[Message, int]]:
        """Each of its messages in the history with its number."""
        places = _Places(self.turn, self.journal)
        return ((message, places.place(message)) for message in self.messages)

    def _read(self) -> Iterator[ThreadEvent]:
        turn = self.turn
        assert turn.fencing_token is not None
        assert turn.first_fencing_token is not None
        yield self._start(turn.first_fencing_token, 1)
        if turn.fencing_token != turn.first_fencing_token:
            yield self._start(turn.fencing_token, turn.attempt)
        for message, number in self.numbers():
            yield from self._show(message, number)
        if turn.is_final:
            yield end_of(self.thread_id, turn)
        else:
            yield from self._read_journal()

    def _read_journal(self) -> Iterator[ThreadEvent]:
        reply: Message | None = None
        places = _Places(self.turn, self.journal)
        source = {"agent": self.turn.agent, "version": self.turn.agent_version}
        for step in (each.step for each in self.journal):
            if step.parent is not None:
                continue  # of an agent that was called as a tool: a notice tells of it
            if step.result is None:
                if step.kind == "tool":
                    return
                continue  # attempts that came to no reply
            if step.is_in_message:
                return  # the turn ended while this was read: the next reading has the message
            if step.kind == "model":
                reply = assistant_message(self.turn.id, step, source)
                yield from self._show(reply, places.number(step.index, DONE_POSITION))
            elif step.kind == "input":
                yield from self._show(message_of(step), places.number(step.index, DONE_POSITION))
            elif reply is not None:
                result = tool_message(reply, step.call_id, step.name, tool_result_of(step))
                yield from self._show(result, places.number(step.index, DONE_POSITION))

    def _show(self, message: Message, number: int) -> Iterator[ThreadEvent]:
        """The events of a message: itself, and the tool calls that begin with it."""
        yield MessageDone(thread_id=self.thread_id, turn_id=self.turn.id, number=number, message=message)
        # The calls of a reply that was cut are not run.
        calls = message.tool_calls if message.state != "truncated" else ()
        for position, call in enumerate(calls, start=1):
            yield ToolCallStarted(
                thread_id=self.thread_id,
                turn_id=self.turn.id,
                number=number + position,
                message_id=message.id,
                call=call,
            )

    def _start(self, fence: int, attempt: int) -> TurnStarted:
        return TurnStarted(
            thread_id=self.thread_id,
            turn_id=self.turn.id,
            number=number_of_start(fence),
            attempt=attempt,
            agent=self.turn.agent,
        )


def end_of(thread_id: str, turn: TurnRow) -> TurnEnded:
    """The end of a turn that is over; without a number where nobody began it."""
    return TurnEnded(
        thread_id=thread_id,
        turn_id=turn.id,
        number=None if turn.fencing_token is None else number_of_end(turn.fencing_token),
        state=TurnState(turn.state),
        error=turn.error,
        usage=Usage(**turn.usage) if turn.usage else None,
        cost=turn.cost,
        merged_into=turn.merged_into,
        rolled_back=turn.rolled_back,
    )


class _Places:
    """The places of a turn's messages among the events of its thread."""

    def __init__(self, turn: TurnRow, journal: Iterable[JournalledStep]) -> None:
        self._turn = turn
        self._tool_indexes: set[int] = set()
        #: The steps of messages that it was told while it ran, by the id of the message.
        self._inputs: dict[str, int] = {}
        #: The fencing token of each step. A result that waited for one before it counts from that one on.
        self._fences: dict[int, int] = {}
        # A decision that made the turn wrote its first steps before any claim.
        newest = turn.first_fencing_token or 0
        for each in journal:
            if each.step.parent is not None:
                continue
            # An imported journal has the tokens of another installation.
            newest = max(newest, min(each.fencing_token, turn.fencing_token or 0))
            self._fences[each.step.index] = newest
            if each.step.kind == "tool":
                self._tool_indexes.add(each.step.index)
            elif each.step.kind == "input":
                self._inputs[each.step.call_id] = each.step.index

    def place(self, message: Message) -> int:
        """The number of a message of the history."""
        if (told_at := self._inputs.get(message.id)) is not None:
            return self.number(told_at, DONE_POSITION)
        turn = self._turn
        seq, last_input_seq = message.seq or 0, turn.window_to_seq or 0
        place = place_of(turn.id, message.id)
        if seq <= last_input_seq or place is None:
            # Counted from the last one: whoever has half of them numbers them alike.
            position = DONE_POSITION - (last_input_seq - seq)
            return number_of(turn.first_fencing_token or 0, START_SLOT, max(1, position))
        index, position = place
        if position and index + position in self._tool_indexes:
            return self.number(index + position, DONE_POSITION)
        # A reply; or the result of a call that was cut with it, and has no step.
        return self.number(index, DONE_POSITION + position)

    def number(self, step_index: int, position: int) -> int:
        """The number of a position in a step's slot."""
        fence = self._fences.get(step_index, self._turn.fencing_token or 0)
        return number_of(fence, START_SLOT + 1 + min(step_index, MAX_STEP_INDEX), position)


def _number_of(event: ThreadEvent) -> int:
    assert event.number is not None
    return event.number
