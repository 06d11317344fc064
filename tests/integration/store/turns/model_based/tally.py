"""How often each verb ran, and what came of it: a long run tells what it has tried."""

from collections import Counter
from typing import Any

from tests.integration.store.turns.model_based.decision_operations import Decide
from tests.integration.store.turns.model_based.operations import Claim, Operation, Send, Settle, Take
from tests.integration.store.turns.model_based.overdue import EndOverdue
from tests.integration.store.turns.model_based.reference import Mailbox


class Tally:
    """Counts by a verb, its kind and its outcome; and of what all runs left."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def note(self, operation: Operation, told: Any) -> None:
        is_refused = isinstance(told, str) and told[:1].isupper()
        self._counts[f"{_verb(operation, told)}{f', refused: {told}' if is_refused else ''}"] += 1

    def note_event(self, name: str) -> None:
        self._counts[f"event {name}"] += 1

    def note_end(self, mailbox: Mailbox) -> None:
        for turn in mailbox.turns.values():
            self._counts[f"turn that ended {turn.state}"] += 1
            by = {"merge": "a claim", "steer": "a running turn"}.get(turn.when_busy or "", "another way")
            self._counts[f"turn that was merged by {by}"] += turn.merged_into is not None
            if turn.parent is not None:
                self._counts[f"turn that another one waited for that ended {turn.state}"] += 1
            told = [call for call in turn.calls.values() if call.kind == "child" and call.decided is not None]
            self._counts["end of a turn that was told"] += sum(call.decided.kind == "result" for call in told)
            self._counts["turn that was rolled back"] += turn.rolled_back
            self._counts["turn that was interrupted"] += turn.interrupted_by is not None and not turn.rolled_back
        for row in mailbox.threads.values():
            kind = row.origin or ("fork" if row.shared else "thread")
            self._counts[f"row: {kind}{', left to others' if row.is_deleted else ''}"] += 1

    def __str__(self) -> str:
        return "\n".join(f"{count:8} {name}" for name, count in sorted(self._counts.items()) if count)


def _verb(operation: Operation, told: Any) -> str:
    name, kind = type(operation).__name__, ""
    match operation:
        case Send(ask=ask):
            kind = f"{ask.when_busy or 'of no policy'}{' to a branch' if '/' in ask.thread else ''}"
        case Settle(end=end):
            kind = end.kind
        case Decide(decided=decided):
            kind = f"{decided.kind}{' again' if told is False else ''}"
        case EndOverdue():
            kind = "some" if told else "none"
        case Take() if isinstance(told, tuple):
            kind = "some" if told else "none"
        case Claim() if isinstance(told, str):
            kind = told.partition(" ")[0]
        case Claim():
            kind = told.refused or ("cancelled" if told.cancel else "runs")
    return f"{name} {kind}".strip()
