"""The mapping of a webhook that comes in: which parts of its body are the thread, the text, the user and the key.

A part is a template: text, in which `{/pull_request/title}` is the value at a JSON pointer, `{header:x-event-id}` that
of a header, and `{sha256}` the hash of the body; `{{` and `}}` are braces. What stays true: a value that comes from
outside is never read as a template; what is no text, no number and no truth value is no value of an id.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote as encode

from conversation.errors import InvalidInput
from conversation.json_pointer import MISSING, check_pointer, read_pointer
from conversation.quotation import quote
from conversation.validation import check_metadata, check_text

#: Characters of one template, and fields in it.
TEMPLATE_MAX_CHARS = 4_000
FIELDS_MAX = 50
#: Keys of the metadata, and conditions, that a mapping has.
MEMBERS_MAX = 50
#: The parts that make one message.
REQUIRED_PARTS = ("thread_id", "text", "idempotency_key")
OPTIONAL_PARTS = ("user",)
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_HEADER = re.compile(r"header:([A-Za-z0-9-]{1,100})")
#: What no id may hold, and the sign that stands for it.
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f-\x9f/\\%]")
_FIX = "use {/json/pointer}, {header:name} or {sha256}, and {{ for a brace"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundBody:
    """A webhook that came in, verified and parsed."""

    document: Any
    #: By their names in lower case.
    headers: Mapping[str, str]
    #: Of the bytes of the body.
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMapping:
    """The parts of a body; `check_mapping` makes one."""

    thread_id: str
    text: str
    #: What tells a repeated delivery: the sender's id of the event.
    idempotency_key: str
    user: str | None = None
    #: Templates, by their key in the message's metadata.
    metadata: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The mapping as a row has it."""
        values = {name: getattr(self, name) for name in (*REQUIRED_PARTS, *OPTIONAL_PARTS)}
        return {name: value for name, value in values.items() if value is not None} | {"metadata": dict(self.metadata)}


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundValues:
    """The values that a mapping reads out of a body; not checked as ids yet."""

    thread_id: str
    text: str
    idempotency_key: str
    user: str | None
    metadata: dict[str, str]


def check_mapping(value: object) -> InboundMapping:
    """A mapping: `thread_id`, `text` and `idempotency_key`, perhaps `user` and `metadata`. Raises `InvalidInput`."""
    parts = check_metadata("mapping", value)
    for name in parts:
        if name not in (*REQUIRED_PARTS, *OPTIONAL_PARTS, "metadata"):
            raise InvalidInput("mapping", f"has {quote(name)}", f"use {', '.join(REQUIRED_PARTS)}, user, metadata")
    for name in REQUIRED_PARTS:
        if name not in parts:
            raise InvalidInput("mapping", f"has no {name}", _FIX)
    metadata = parts.pop("metadata", {})
    if not isinstance(metadata, dict) or len(metadata) > MEMBERS_MAX:
        raise InvalidInput("mapping.metadata", "is no object of templates", f"at most {MEMBERS_MAX} keys fit")
    templates = {name: check_template(f"mapping.{name}", template) for name, template in parts.items()}
    checked = {name: check_template(f"mapping.metadata.{name}", template) for name, template in metadata.items()}
    if not any(token[1] for token in _TOKEN.finditer(templates["idempotency_key"])):
        # All that comes after the first event would be taken for that one.
        raise InvalidInput("mapping.idempotency_key", "is the same for each event", _FIX)
    return InboundMapping(**templates, metadata=checked)


def check_template(field_name: str, value: object) -> str:
    """A template. Raises `InvalidInput`."""
    text = check_text(field_name, value, max_chars=TEMPLATE_MAX_CHARS)
    # By itself, a pointer means what is there.
    text = f"{{{text}}}" if text.startswith("/") and "{" not in text else text
    tokens = list(_TOKEN.finditer(text))
    if not text or len(tokens) > FIELDS_MAX:
        raise InvalidInput(field_name, "is empty" if not text else "has too many fields", _FIX)
    for token in tokens:
        if token[0] in "{}":
            raise InvalidInput(field_name, "has a brace by itself", _FIX)
        if token[1] is not None:
            _check_field(field_name, token[1])
    return text


def check_conditions(value: object) -> dict[str, list[Any]]:
    """The values of which a body must have one, by pointer, to be taken. Raises `InvalidInput`."""
    conditions = check_metadata("only", value)
    if len(conditions) > MEMBERS_MAX:
        raise InvalidInput("only", f"has {len(conditions)} pointers", f"at most {MEMBERS_MAX} fit")
    for pointer, values in conditions.items():
        check_pointer("only", pointer)
        if not isinstance(values, list) or not all(isinstance(each, str | int | float | None) for each in values):
            raise InvalidInput("only", f"has no list of values at {quote(pointer)}", 'write {"/action": ["opened"]}')
    return conditions


def meets(conditions: Mapping[str, list[Any]], document: Any) -> bool:
    """Whether a body has one of the values at each pointer."""
    return all(
        any(_is_same(read_pointer(pointer, document), value) for value in values)
        for pointer, values in conditions.items()
    )


def apply_mapping(mapping: InboundMapping, body: InboundBody) -> InboundValues:
    """Read the values of a body. Raises `InvalidInput` for one that lacks a value."""
    return InboundValues(
        thread_id=_fill("thread_id", mapping.thread_id, body, escape=_escape_id_part),
        text=_fill("text", mapping.text, body, takes_objects=True),
        idempotency_key=_fill("idempotency_key", mapping.idempotency_key, body),
        user=None if mapping.user is None else _fill("user", mapping.user, body),
        metadata={
            name: _fill(f"metadata.{name}", template, body, takes_objects=True)
            for name, template in mapping.metadata.items()
        },
    )


def _check_field(field_name: str, name: str) -> None:
    if name == "sha256" or _HEADER.fullmatch(name):
        return
    if not name.startswith("/"):
        raise InvalidInput(field_name, f"has {quote(name)} in braces", _FIX)
    check_pointer(field_name, name)


def _escape_id_part(value: str) -> str:
    """A value as a part of a thread id: what no id may hold is percent-encoded, so that no two values are one."""
    return _UNFIT.sub(lambda match: encode(match[0], safe=""), value)


def _fill(
    field_name: str,
    template: str,
    body: InboundBody,
    *,
    takes_objects: bool = False,
    escape: Callable[[str], str] = str,
) -> str:
    def write(token: re.Match[str]) -> str:
        if token[1] is None:
            return token[0][0]
        return escape(_write_value(field_name, token[1], body, takes_objects=takes_objects))

    return _TOKEN.sub(write, template)


def _write_value(field_name: str, name: str, body: InboundBody, *, takes_objects: bool) -> str:
    if name == "sha256":
        return body.sha256
    header = _HEADER.fullmatch(name)
    value = body.headers.get(header[1].lower(), MISSING) if header else read_pointer(name, body.document)
    if value is MISSING or value is None:
        if takes_objects:
            return ""
        raise InvalidInput(field_name, f"has no value at {quote(name)}", "see the mapping of this source")
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list) and not takes_objects:
        raise InvalidInput(field_name, f"has an object or a list at {quote(name)}", "see the mapping of this source")
    return json.dumps(value, ensure_ascii=False)


def _is_same(value: Any, wanted: Any) -> bool:
    # True is no 1 here.
    return type(value) is type(wanted) and value == wanted
