"""The result of a tool call, as the model reads it: always JSON text, always bounded.

What stays true: no Python repr and no stack trace reaches the model, and a result that is
truncated says so. A file among what a tool returns is described to the model and carried beside the text.
"""

import base64
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import to_json

from agent.tools.produced_file import ProducedFile
from conversation.storable_text import make_storable

#: Characters of one result: about 16,000 tokens, more than most answers need of one call.
RESULT_MAX_CHARS = 64_000
#: Characters of an error's message: the cause stands at its beginning.
ERROR_MAX_CHARS = 2_000

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


def success(value: object) -> ToolResult:
    """A function's return value as JSON; an error where JSON cannot show it."""
    files: list[ProducedFile] = []
    try:
        text = to_json(
            _describe_bytes(_extract_files(value, files)), inf_nan_mode="strings", fallback=_fallback
        ).decode()
    except Exception as error:  # noqa: BLE001 - foreign code: a value's own serializer may raise anything
        reason = str(error).removeprefix("Error serializing to JSON: ")
        return failure("UnshowableResult", f"the tool ran, but its result cannot be shown as JSON: {reason}")
    if len(text) > RESULT_MAX_CHARS:
        text = _truncate(value if isinstance(value, str) else text)
    return ToolResult(text, files=tuple(files))


def failure(kind: str, message: str, *, outcome: Outcome = "failed") -> ToolResult:
    """An error that the model can read and act on."""
    if len(message) > ERROR_MAX_CHARS:
        message = message[: ERROR_MAX_CHARS - 1] + "…"
    # A message may quote bytes that were no text.
    text = make_storable(message)
    return ToolResult(json.dumps({"error": {"type": kind, "message": text}}, ensure_ascii=False), outcome)


def describe_exception(error: BaseException) -> ToolResult:
    """Describe a tool's exception, without where it was raised."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - foreign code: an exception may break even while it is shown
        message = ""
    return failure(type(error).__name__, message)


def _extract_files(value: object, files: list[ProducedFile]) -> object:
    """Replace each file by its description, in plain lists and dicts at any depth."""
    if isinstance(value, ProducedFile):
        files.append(value)
        return value.describe()
    if type(value) in (list, tuple):
        return [_extract_files(item, files) for item in value]  # type: ignore[attr-defined] # it is one of the two
    if type(value) is dict:
        return {key: _extract_files(item, files) for key, item in value.items()}
    return value


def _describe_bytes(value: object) -> object:
    """Describe bytes: a model would take bare base64 for text."""
    if isinstance(value, bytes | bytearray | memoryview):
        content = bytes(value)
        return {"base64": base64.b64encode(content).decode("ascii"), "size_bytes": len(content)}
    return value


def _fallback(value: Any) -> object:
    """A JSON value for what pydantic leaves to us: views, ranges, foreign mappings, numpy's arrays."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Collection):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _truncate(text: str) -> str:
    """Truncate a text to its beginning, in a JSON object that says what was left out."""
    frame = {"truncated": f"only the beginning of {len(text)} characters is shown", "result": ""}
    budget = RESULT_MAX_CHARS - len(json.dumps(frame))
    beginning = text[:budget]
    # Escapes make JSON longer than the text: shrink in proportion until it fits.
    while (size := len(json.dumps(beginning, ensure_ascii=False)) - 2) > budget:
        beginning = beginning[: len(beginning) * budget // size]
    return json.dumps(frame | {"result": beginning}, ensure_ascii=False)
