"""The text of an answer, as the events of its turn tell it.

What stays true: after the same events it is the same text, whichever process read them: whoever takes an answer over
reads its turn's events from the beginning, and writes what was to be written.
"""

from dataclasses import dataclass, field

from conversation.attachment import Attachment
from conversation.error_sentences import sentence_of
from conversation.events import (
    MessageDelta,
    MessageDone,
    MessageRestarted,
    ThreadDeleted,
    ThreadEvent,
    ToolCallStarted,
    TurnDecided,
    TurnEnded,
    TurnQueued,
    TurnStarted,
    TurnWaiting,
)
from conversation.pending_call import PendingCall
from conversation.turn import TurnState
from producers.slack.mrkdwn import escape, split_mrkdwn, to_mrkdwn

_NO_ANSWER = "_There is no answer._"


@dataclass(slots=True)
class AnswerText:
    """The texts of a turn's agent, its files, and a note on how it stands."""

    #: The agent's texts, by message, in the order of their beginnings.
    texts: dict[str, str] = field(default_factory=dict)
    #: Messages that are whole.
    done: set[str] = field(default_factory=set)
    #: The files that its tools and its agent made, by their SHA-256: the same bytes are one file.
    files: dict[str, Attachment] = field(default_factory=dict)
    #: What the turn does now, or how it ended if not well.
    note: str = "_Working…_"
    #: What the turn waits for a person to decide; empty while it does not wait.
    waits_for: tuple[PendingCall, ...] = ()
    is_over: bool = False
    #: The whole thread is gone.
    is_deleted: bool = False

    def take(self, event: ThreadEvent) -> None:
        """Take up what happened."""
        match event:
            case MessageDelta() | MessageRestarted() | MessageDone():
                self._take_text(event)
            case TurnQueued() | TurnWaiting() | TurnDecided() | TurnStarted():
                self._take_state(event)
            case ToolCallStarted():
                self.note = f"_Uses {escape(event.call.name)}…_"
            case TurnEnded():
                self.is_over, self.note = True, _describe_end(event)
            case ThreadDeleted():
                self.is_over = self.is_deleted = True
                self.note = "_This conversation was deleted._"
                self.texts.clear()
                self.files.clear()

    def _take_text(self, event: MessageDelta | MessageRestarted | MessageDone) -> None:
        match event:
            case MessageDelta():
                self.texts[event.message_id] = self.texts.get(event.message_id, "") + event.text
                self.note = ""
            case MessageRestarted():
                self.texts.pop(event.message_id, None)
            case MessageDone() if event.turn_id is not None and event.message.role != "user":
                self.files |= {str(file.sha256): file for file in event.message.attachments if file.sha256}
                if event.message.role == "assistant":
                    self.texts[event.message.id] = event.message.content
                    self.done.add(event.message.id)

    def _take_state(self, event: TurnQueued | TurnWaiting | TurnDecided | TurnStarted) -> None:
        match event:
            case TurnQueued():
                self.note, self.waits_for = _describe_queue(event), ()
            case TurnWaiting():
                self.note, self.waits_for = "_Waits for a decision…_", event.calls
            case TurnDecided():
                self.waits_for = tuple(call for call in self.waits_for if call.call_id != event.call.call_id)
            case TurnStarted():
                for message_id in self.texts.keys() - self.done:
                    del self.texts[message_id]
                self.note, self.waits_for = "_Working…_", ()

    def parts(self) -> list[str]:
        """The messages that show it, one at least."""
        said = "\n\n".join(text.strip() for text in self.texts.values() if text.strip())
        pieces = [to_mrkdwn(said), self.note or ("" if said or not self.is_over else _NO_ANSWER)]
        return split_mrkdwn("\n\n".join(piece for piece in pieces if piece)) or ["…"]


def _describe_queue(event: TurnQueued) -> str:
    if event.error is not None:
        return f"_Tried again soon: {escape(sentence_of(event.error)) or 'it broke off'}._"
    return f"_{event.position} before this one…_" if event.position else "_Working…_"


def _describe_end(event: TurnEnded) -> str:
    match event.state:
        case TurnState.CANCELLED:
            return "_Stopped._"
        case TurnState.FAILED:
            sentence = sentence_of(event.error) if event.error is not None else ""
            return f":warning: _The answer failed: {escape(sentence) or 'see the log'}._"
        case _:
            return ""
