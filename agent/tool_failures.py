"""Tools that fail in the same way again and again: the model is told, and then the turn ends.

What stays true: what is counted is read from results alone, those of the journal included, so that a resumed
run counts as the first one did. Calls of one reply count once: the model saw none of their results yet.
"""

import json
from dataclasses import dataclass, field, replace

from conversation.errors import Fault
from conversation.replay import JournalledResult
from conversation.turn import TurnError

#: Replies in a row after which the model is told that a tool fails in the same way.
TOLD_AFTER = 2
#: Replies in a row after which the turn ends.
ENDS_AFTER = 5

#: The type and the message of an error.
Failure = tuple[str, str]


@dataclass(slots=True)
class ToolFailures:
    """The failures of one run's tools: in how many replies in a row, by tool and by error."""

    _streaks: dict[str, dict[Failure, int]] = field(default_factory=dict)
    #: Of the reply whose calls run: the failures of each tool, None among them for a call that worked.
    _outcomes: dict[str, set[Failure | None]] = field(default_factory=dict)

    def tell(self, tool_name: str, result: JournalledResult) -> JournalledResult:
        """The result for the model, which says so if the tool has failed like this before."""
        failure = _failure_of(result)
        if failure is None:
            return result
        count = self._streaks.get(tool_name, {}).get(failure, 0) + 1
        if count < TOLD_AFTER:
            return result
        content = json.loads(result.content)
        content["error"]["repeated"] = f"it failed {count} times in a row in this way; do something else"
        return replace(result, content=json.dumps(content, ensure_ascii=False))

    def note(self, tool_name: str, result: JournalledResult) -> None:
        """Note the result of one call of the reply that is at work."""
        self._outcomes.setdefault(tool_name, set()).add(_failure_of(result))

    def close_reply(self) -> TurnError | None:
        """Count what was noted; the error with which the turn must end, if a tool failed too often."""
        outcomes, self._outcomes = self._outcomes, {}
        for tool_name, failures in outcomes.items():
            streaks = self._streaks.get(tool_name, {})
            self._streaks[tool_name] = (
                {} if None in failures else {one: streaks.get(one, 0) + 1 for one in failures if one is not None}
            )
            for (kind, _), count in self._streaks[tool_name].items():
                if count >= ENDS_AFTER:
                    return _error(tool_name, kind, count)
        return None


def _failure_of(result: JournalledResult) -> Failure | None:
    if result.outcome == "finished":
        return None
    try:
        error = json.loads(result.content)["error"]
        return str(error["type"]), str(error["message"])
    except (ValueError, LookupError, TypeError):
        return "", result.content


def _error(tool_name: str, kind: str, count: int) -> TurnError:
    message = f"the tool {tool_name[:64]!r} failed {count} times in a row in the same way: {kind}"
    return TurnError("tool_failing", message, fault=Fault.TOOL)
