"""The result of a tool call, as the model reads it: always JSON text, always bounded.

What stays true: no Python repr and no stack trace reaches the model, and a result that is
truncated says so. A file among what a tool returns is described to the model and carried beside the text.
"""

import base64
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import to_json

from agent.tools.plain_value import PlainValue, ValueTooLarge
from agent.tools.produced_file import ProducedFile
from agent.tools.questions import Question
from conversation.foreign_exceptions import ERROR_MAX_CHARS, name_of, shorten, text_of
from conversation.storable_text import make_storable

#: Characters of one result: about 16,000 tokens, more than most answers need of one call.
RESULT_MAX_CHARS = 64_000

#: Values, and characters of each, that are encoded in less time than a thread takes to start.
QUICK_VALUES = 50
QUICK_CHARS = 2_000

#: As the journal stores it: the call worked, it gave an error, or its effect is unknown.
Outcome = Literal["finished", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of one tool call, before it becomes a tool message."""

    #: JSON text for the model.
    content: str
    #: `unknown`: it overran its time, or its worker died, and its effect may have happened.
    outcome: Outcome = "finished"
    #: Files that the tool returned, to be stored and hung on the tool message.
    files: tuple[ProducedFile, ...] = ()
    #: The call has no result yet: it stopped to ask this.
    question: Question | None = None


def success(value: object) -> ToolResult:
    """A function's return value as JSON; an error where JSON cannot show it. It runs foreign code, and may hang."""
    if isinstance(value, str) and len(value) > RESULT_MAX_CHARS:
        return ToolResult(_truncate(make_storable(value[:RESULT_MAX_CHARS]), len(value)))
    plain = PlainValue()
    try:
        text = to_json(_describe_bytes(plain.build(value)), inf_nan_mode="strings", fallback=_refuse).decode()
    except ValueTooLarge as error:
        return failure("ResultTooLarge", f"the tool ran, but its result is too large: {error}")
    except BaseException as error:  # noqa: BLE001 - foreign code: a value's own methods may raise anything
        return failure("UnshowableResult", f"the tool ran, but its result cannot be shown as JSON: {_reason(error)}")
    if len(text) > RESULT_MAX_CHARS:
        text = _truncate(value if isinstance(value, str) else text[:RESULT_MAX_CHARS], len(text))
    return ToolResult(text, files=tuple(plain.files))


def failure(kind: str, message: str, *, outcome: Outcome = "failed") -> ToolResult:
    """An error that the model can read and act on."""
    kind = make_storable(kind)
    # A message may quote bytes that were no text.
    text = make_storable(shorten(message, ERROR_MAX_CHARS))
    return ToolResult(json.dumps({"error": {"type": kind, "message": text}}, ensure_ascii=False), outcome)


def describe_exception(error: BaseException) -> ToolResult:
    """Describe a tool's exception, without where it was raised. It runs foreign code, and may hang."""
    return failure(name_of(error), text_of(error))


def is_quickly_shown(value: object) -> bool:
    """Whether a value is shown in a moment and without foreign code, so that it needs no thread."""
    if type(value) is dict:
        return all(type(key) is str for key in value) and _are_quick(value.values())
    return _are_quick(value) if type(value) is list else _are_quick((value,))


def _are_quick(values: Collection[object]) -> bool:
    return len(values) <= QUICK_VALUES and all(
        type(value) in (type(None), bool, int, float) or (type(value) is str and len(value) <= QUICK_CHARS)
        for value in values
    )


def _reason(error: BaseException) -> str:
    return text_of(error).removeprefix("Error serializing to JSON: ")


def _describe_bytes(value: object) -> object:
    """Describe bytes: a model would take bare base64 for text."""
    if isinstance(value, bytes | bytearray | memoryview):
        content = bytes(value)
        return {"base64": base64.b64encode(content).decode("ascii"), "size_bytes": len(content)}
    return value


def _refuse(value: Any) -> object:
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _truncate(text: str, total_chars: int) -> str:
    """Truncate a text to its beginning, in a JSON object that says what was left out."""
    frame = {"truncated": f"only the beginning of {total_chars} characters is shown", "result": ""}
    budget = RESULT_MAX_CHARS - len(json.dumps(frame))
    beginning = text[:budget]
    # Escapes make JSON longer than the text: shrink in proportion until it fits.
    while (size := len(json.dumps(beginning, ensure_ascii=False)) - 2) > budget:
        beginning = beginning[: len(beginning) * budget // size]
    return json.dumps(frame | {"result": beginning}, ensure_ascii=False)
