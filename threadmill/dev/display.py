"""The lines of `threadmill dev` about turns: each turn, its tools, its tokens, and where an error came from.

What stays true: a line is said when something has happened, and once. It may hold what models, users and tools wrote:
`say` takes care of what a terminal would obey. The database says how turns and tools end; the log, where an error was
raised.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conversation.turn import TurnRecord, TurnState
from store.turns.activity import StepActivity, TurnActivity
from threadmill.dev.event_file import Event
from threadmill.dev.traces import describe_trace

#: Seconds between two looks at the turns that run.
LOOK_SECONDS = 0.25
#: Characters of an error's message.
ERROR_CHARS = 300

ReadActivity = Callable[[Collection[str]], Iterable[TurnActivity]]


@dataclass(slots=True)
class Display:
    """The lines about turns that run now."""

    folder: Path
    say: Callable[[str], None]
    read_activity: ReadActivity
    #: Turns that run, and which of their steps were shown.
    _shown: dict[str, set[int]] = field(default_factory=dict)
    _looked_at: float = 0

    def show(self, events: Iterable[Event]) -> None:
        """Show what workers logged, and what became of the turns that run."""
        for event in events:
            self._show_event(event)
        if self._shown and time.monotonic() - self._looked_at > LOOK_SECONDS:
            self._looked_at = time.monotonic()
            for activity in self.read_activity(list(self._shown)):
                self._show_activity(activity)

    def _show_event(self, event: Event) -> None:
        match event.get("event"):
            case "turn_started":
                self._shown.setdefault(event["turn"], set())
                again = f", attempt {event['attempt']}" if event.get("attempt", 1) > 1 else ""
                self._say(f"turn {event['turn']}  {event['thread']} -> {event.get('agent')}{again}")
            case "printed":
                self._say(f"  > {_shorten(event['text'])}")
            case "tool_raised":
                self._show_trace(f"  {event['tool']} raised {event['error']}", event.get("trace", []))
            case "turn_ended" if event.get("state") == "queued" and "retry_seconds" in event:
                self._say(
                    f"  waits: {event.get('problem', event.get('kind'))}; next try in {event['retry_seconds']:g} s"
                )
            case "agent_error":
                self._show_trace(f"  {event['agent']} broke: {event['error']}", event.get("trace", []))

    def _show_trace(self, error: str, frames: Iterable[str]) -> None:
        for line in describe_trace(error, frames, self.folder):
            self._say(line)

    def _show_activity(self, activity: TurnActivity) -> None:
        record = activity.record
        shown = self._shown[record.id]
        for step in activity.steps:
            if step.kind == "tool" and step.seconds is not None and step.index not in shown:
                shown.add(step.index)
                self._say(f"  {step.name} {_describe_step(step)}")
        if record.state in (TurnState.QUEUED, TurnState.RUNNING):
            return
        del self._shown[record.id]
        for line in _describe_end(record, activity.steps):
            self._say(line)

    def _say(self, text: str) -> None:
        self.say(f"{time.strftime('%H:%M:%S')}  {text}")


def _describe_step(step: StepActivity) -> str:
    took = f"{step.seconds or 0:.2f} s"
    if step.state == "finished":
        return f"took {took}"
    return f"{step.state} after {took}: {_describe_error(step)}".rstrip(": ")


def _describe_error(step: StepActivity) -> str:
    """The error that the model was told, as far as it is one of ours."""
    content = (step.result or {}).get("content", "")
    try:
        error = json.loads(content)["error"]
        return _shorten(f"{error['type']}: {error['message']}")
    except (ValueError, LookupError, TypeError):
        return _shorten(str(content))


def _describe_end(record: TurnRecord, steps: Collection[StepActivity]) -> Iterator[str]:
    seconds = (
        (record.finished_at - record.started_at).total_seconds() if record.finished_at and record.started_at else 0
    )
    model_calls = sum(step.kind == "model" for step in steps)
    usage = record.usage
    tokens = f", {usage.prompt_tokens} tokens in, {usage.completion_tokens} out" if usage else ""
    cost = f", ${record.cost:.4f}" if record.cost else ""
    yield (
        f"turn {record.id}  {record.state} in {seconds:.1f} s: {_count(model_calls, 'model call')}, "
        f"{_count(len(steps) - model_calls, 'tool call')}{tokens}{cost}"
    )
    if record.error is not None:
        yield f"  {record.error.kind} ({record.error.fault}): {_shorten(record.error.message)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= ERROR_CHARS else f"{line[: ERROR_CHARS - 1]}…"
