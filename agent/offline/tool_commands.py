"""Orders to call tools, as `offline/recall` reads them in a user's text.

What stays true: an order is `call NAME with {…}`, or, for a tool that was offered, also `call NAME`,
`NAME({…})` and `NAME {…}`; "call me tomorrow" is none. "then" between two orders begins a new
stage: the calls of a stage run together, the stages one after the other.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Characters of a message in which orders are looked for: they are typed by hand.
ORDERS_MAX_CHARS = 20_000

_ORDER = re.compile(
    r"(?P<verb>\bcall\s+)?(?<![\w-])`?(?P<name>[A-Za-z0-9_-]{1,64})(?![\w-])`?(?:\s+with\b)?\s*\(?\s*(?P<json>\{)?",
    re.IGNORECASE,
)
_THEN = re.compile(r"\bthen\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Order:
    """One call that the user asked for."""

    name: str
    #: JSON text as it was written, perhaps not valid.
    arguments: str = "{}"
    #: Why it cannot be called, in words for the user; "" where it can.
    complaint: str = ""


def tools_named(tools: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The required parameters of each declared tool, by name."""
    functions = (tool["function"] for tool in tools)
    return {
        function["name"]: list(function.get("parameters", {}).get("required", ())) for function in functions
    }


def orders_in(text: str, tools: Mapping[str, Sequence[str]]) -> list[list[Order]]:
    """The stages of calls that a text asks for."""
    stages: list[list[Order]] = []
    text, end = text[:ORDERS_MAX_CHARS], 0
    for order, start, order_end in _scan(text, tools):
        if not stages or _THEN.search(text, end, start):
            stages.append([])
        stages[-1].append(order)
        end = order_end
    return stages


def _scan(text: str, tools: Mapping[str, Sequence[str]]) -> Iterator[tuple[Order, int, int]]:
    position = 0
    while match := _ORDER.search(text, position):
        position = match.end()
        is_known, has_json = match["name"] in tools, bool(match["json"])
        if sum((is_known, has_json, bool(match["verb"]))) < 2:
            # An ordinary word; the one behind it may be a tool's name.
            position = match.end("name")
            continue
        arguments, position = _arguments(text, match)
        yield _order(match["name"], arguments, tools), match.start(), position


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


def _order(name: str, arguments: str | None, tools: Mapping[str, Sequence[str]]) -> Order:
    if name not in tools:
        offered = f"There are: {', '.join(tools)}." if tools else "No tools were offered."
        return Order(name, complaint=f"There is no tool {name}. {offered}")
    if arguments is None and tools[name]:
        return Order(
            name, complaint=f"To call {name} I need its arguments as JSON: {', '.join(tools[name])}."
        )
    return Order(name, arguments or "{}")
