"""Commands to call tools, as `offline/recall` reads them in a user's text.

What stays true: a command is `call NAME with {…}`, or, for a tool that was offered, also `call NAME`,
`NAME({…})` and `NAME {…}`; "call me tomorrow" is none. "then" between two commands begins a new
stage: the calls of a stage run together, the stages one after the other.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Characters of a message that are searched for commands: those are typed by hand.
COMMANDS_MAX_CHARS = 20_000

_COMMAND = re.compile(
    r"(?P<verb>\bcall\s+)?(?<![\w-])`?(?P<name>[A-Za-z0-9_-]{1,64})(?![\w-])`?(?:\s+with\b)?\s*\(?\s*(?P<json>\{)?",
    re.IGNORECASE,
)
_THEN = re.compile(r"\bthen\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ToolCommand:
    """A tool call that the user asked for."""

    name: str
    #: JSON text as it was written, perhaps not valid.
    arguments: str = "{}"
    #: Why it cannot be called, in words for the user; "" where it can.
    complaint: str = ""


def required_parameters(tools: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The required parameters of each declared tool, by name."""
    functions = (tool["function"] for tool in tools)
    return {function["name"]: list(function.get("parameters", {}).get("required", ())) for function in functions}


def parse_commands(text: str, tools: Mapping[str, Sequence[str]]) -> list[list[ToolCommand]]:
    """Parse the stages of calls that a text asks for."""
    stages: list[list[ToolCommand]] = []
    text, end = text[:COMMANDS_MAX_CHARS], 0
    for command, start, command_end in _scan(text, tools):
        if not stages or _THEN.search(text, end, start):
            stages.append([])
        stages[-1].append(command)
        end = command_end
    return stages


def _scan(text: str, tools: Mapping[str, Sequence[str]]) -> Iterator[tuple[ToolCommand, int, int]]:
    position = 0
    while match := _COMMAND.search(text, position):
        position = match.end()
        is_known, has_json = match["name"] in tools, bool(match["json"])
        if sum((is_known, has_json, bool(match["verb"]))) < 2:
            # An ordinary word; the one behind it may be a tool's name.
            position = match.end("name")
            continue
        arguments, position = _arguments(text, match)
        yield _build_command(match["name"], arguments, tools), match.start(), position


def _arguments(text: str, match: re.Match[str]) -> tuple[str | None, int]:
    """The JSON object behind a name, and where it ends; broken JSON reaches to its last brace on the line."""
    if not match["json"]:
        return None, match.end("name")
    start = match.start("json")
    try:
        _value, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        line = text[start:].partition("\n")[0]
        end = start + max(line.rfind("}") + 1, 1)
    return text[start:end], end


def _build_command(name: str, arguments: str | None, tools: Mapping[str, Sequence[str]]) -> ToolCommand:
    if name not in tools:
        available = f"There are: {', '.join(tools)}." if tools else "No tools were offered."
        return ToolCommand(name, complaint=f"There is no tool {name}. {available}")
    if arguments is None and tools[name]:
        return ToolCommand(name, complaint=f"To call {name} I need its arguments as JSON: {', '.join(tools[name])}.")
    return ToolCommand(name, arguments or "{}")
