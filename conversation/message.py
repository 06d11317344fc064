"""A message: one entry of a conversation, in the roles that chat models share.

What stays true: a message that is stored (it has a `seq`) cannot be changed, and its id is unique
everywhere, not only within its thread.
"""

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, Literal, cast, get_args

from conversation.arguments import INTEGER_MAX, check_one_of, take_items
from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from conversation.ids import is_our_id, new_id
from conversation.parts import FilePart, Part, part_from_json, parts_of, text_of
from conversation.quotation import quote
from conversation.validation import (
    check_id,
    check_json_shape,
    check_metadata,
    check_moment,
    check_text,
    moment_from_json,
)

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)
MESSAGE_STATES = ("complete", "partial", "truncated")
NO_PARTS: tuple[Part, ...] = ()
#: A reply's own fields, as JSON: thinking and its signatures take as much room as text.
PROVIDER_FIELDS_MAX_CHARS = 1_000_000
#: Attachments of one message, at most, and tool calls; an installation's own limits are lower.
MEMBERS_MAX = 1_000
#: A speaker's name. What a model makes up, as a tool's name, may be longer.
NAME_MAX_CHARS = 255


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model's request to run one tool."""

    #: The model's own id of this call; its tool message repeats it.
    id: str
    name: str
    #: The arguments as the model wrote them: JSON text, perhaps not valid.
    arguments: str

    def to_json(self) -> dict[str, str]:
        return {"id": self.id, "name": self.name, "arguments": self.arguments}


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more model calls, as the provider counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: The part of the prompt that the provider read from its cache.
    cached_tokens: int = 0
    #: Some of it was not counted but estimated, because the call was broken off.
    is_estimate: bool = False

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def is_counted(self) -> bool:
        """Whether the values are numbers of tokens: a foreign record may hold anything."""
        counts = (self.prompt_tokens, self.completion_tokens, self.cached_tokens)
        return all(type(count) is int and 0 <= count <= INTEGER_MAX for count in counts)

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.is_estimate or other.is_estimate,
        )

    def to_json(self) -> dict[str, int]:
        counts = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cached_tokens": self.cached_tokens,
        }
        return counts | {"is_estimate": True} if self.is_estimate else counts

    def to_row(self) -> dict[str, int]:
        """As it is stored, with each reply, its step and its turn: most read nothing from a cache."""
        return {name: count for name, count in self.to_json().items() if count or name != "cached_tokens"}


@dataclass(kw_only=True, slots=True)
class Message:
    """One entry of a conversation. `content` is text; files hang on `attachments`."""

    role: Role
    #: Text; a list of parts is taken apart into this text and `parts`.
    content: str = ""
    #: Text, images and files in the order in which they were said; () where text is all there is.
    parts: tuple[Part, ...] = ()
    id: str = field(default_factory=new_id)
    #: Of an assistant message: the tools it asks for. Each gets exactly one tool message.
    tool_calls: tuple[ToolCall, ...] = ()
    #: Of a tool message: the call that it answers.
    tool_call_id: str | None = None
    #: Of a tool message: the tool; of others: the speaker's name.
    name: str | None = None
    #: The model's own reasoning, where it shows any. Sent back only to providers that refuse its calls without it.
    reasoning: str | None = None
    #: What the provider sent beside the text and wants back, as signatures of its thinking; a JSON object.
    provider_fields: dict[str, Any] | None = None
    #: Where it came from: agent, model, importer.
    source: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)
    usage: Usage | None = None
    #: Aware, UTC.
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    #: `partial` where a cancelled turn left text that was not finished; `truncated` where the model's answer
    #: was cut at its token limit.
    state: Literal["complete", "partial", "truncated"] = "complete"
    turn_id: str | None = None
    #: Its position in the thread, from 1; None until it is stored.
    seq: int | None = None

    def __post_init__(self) -> None:
        if self.seq is None:
            if isinstance(self.content, list | tuple):
                self.parts = parts_of(self.content)
                self.content = text_of(self.parts)
            elif self.parts is not None and self.parts is not NO_PARTS:
                self.parts = parts_of(self.parts)
                if self.content is None or type(self.content) is str:
                    self.content = self.content or text_of(self.parts)
            self.check()

    @classmethod
    def list_from_checked(cls, count: int, **columns: Iterable[Any]) -> "list[Message]":
        """Stored messages from all of their fields, which were checked when they were stored: nothing is looked at.

        Each field comes as a column, of a value for each of `count` messages.
        """
        messages = list(map(cls.__new__, repeat(cls, count)))
        consume = deque[None](maxlen=0).extend
        # Past `__setattr__`, and a column at once: a loop in Python would cost more than the rest of reading a window.
        for name, set_field in _FIELD_SETTERS:
            consume(map(set_field, messages, columns[name]))
        return messages

    def check(self) -> None:
        """Check every field. Raises `InvalidInput` with the wrong one; a stored message passed before."""
        self.role = cast("Any", check_one_of("role", self.role, ROLES))
        check_id("id", self.id)
        check_text("content", self.content)
        _check_each("parts", self.parts, Part)
        if self.parts and self.content != text_of(self.parts):
            raise InvalidInput("parts", "say something else than content", "pass one of the two")
        self._check_calls()
        self._check_origin()
        self._check_attachments()
        self.created_at = check_moment("created_at", self.created_at)
        self.state = cast("Any", check_one_of("state", self.state, MESSAGE_STATES))

    def _check_calls(self) -> None:
        self.tool_calls = tuple(_check_each("tool_calls", self.tool_calls, ToolCall))
        if self.tool_calls and self.role != "assistant":
            raise InvalidInput("tool_calls", f"stand on a {self.role} message", "only an assistant asks for tools")
        for call in self.tool_calls:
            check_text("tool_calls.id", call.id)
            check_text("tool_calls.name", call.name)
            check_text("tool_calls.arguments", call.arguments)
            if not call.id:
                raise InvalidInput("tool_calls.id", "is empty", "its tool message has to repeat it")
        if self.role == "tool" and not self.tool_call_id:
            raise InvalidInput("tool_call_id", "is missing on a tool message", "pass the id of the call it answers")
        if self.role != "tool" and self.tool_call_id is not None:
            raise InvalidInput("tool_call_id", f"stands on a {self.role} message", "only a tool answers a call")

    def _check_origin(self) -> None:
        for name in ("tool_call_id", "name", "reasoning"):
            if getattr(self, name) is not None:
                check_text(name, getattr(self, name))
        if self.name is not None and self.role != "tool":
            check_text("name", self.name, max_chars=NAME_MAX_CHARS)
        self.metadata = check_metadata("metadata", self.metadata)
        if self.source is not None:
            self.source = check_metadata("source", self.source)
        if self.provider_fields is not None:
            self._check_provider_fields()
        if self.usage is not None and not (isinstance(self.usage, Usage) and self.usage.is_counted):
            raise InvalidInput("usage", f"is {quote(self.usage)}", "pass a Usage of whole numbers")
        if self.turn_id is not None and not is_our_id(self.turn_id):
            raise InvalidInput("turn_id", f"is {quote(self.turn_id)}", "leave it to the store")

    def _check_provider_fields(self) -> None:
        if self.role != "assistant":
            raise InvalidInput("provider_fields", f"stand on a {self.role} message", "only a model's reply has them")
        try:
            check_json_shape("provider_fields", self.provider_fields, PROVIDER_FIELDS_MAX_CHARS)
            text = json.dumps(self.provider_fields, allow_nan=False)
        except InvalidInput:
            raise
        except Exception:  # noqa: BLE001 - also what the own code of somebody else's type raises
            text = ""
        if not text.startswith("{") or len(text) > PROVIDER_FIELDS_MAX_CHARS:
            raise InvalidInput("provider_fields", "are no JSON object, or too long", "pass those of a reply, or None")

    def _check_attachments(self) -> None:
        self.attachments = _check_each("attachments", self.attachments, Attachment)
        for file in self.attachments:
            file.check()

    def check_files(self) -> None:
        """Check, before it is stored, that the parts name attached files only. Raises `InvalidInput`."""
        attached_names = {file.filename for file in self.attachments}
        for part in self.parts:
            if isinstance(part, FilePart) and part.filename not in attached_names:
                raise InvalidInput(
                    "parts", f"speak of {part.filename!r}, which is not attached", "call add_attachment first"
                )

    def __setattr__(self, name: str, value: object) -> None:
        if getattr(self, "seq", None) is not None:
            raise AttributeError(f"{name}: a stored message cannot be changed; append another one")
        object.__setattr__(self, name, value)

    def add_attachment(self, attachment: Attachment) -> None:
        """Attach a file to this message, before it is stored."""
        if self.seq is not None:
            raise AttributeError("attachments: a stored message cannot be changed; append another one")
        self.attachments.append(attachment)

    def to_json(self) -> dict[str, Any]:
        """The message as JSON values; `from_json` reads it back. Attachments go by their hash."""
        return {
            "id": self.id,
            "role": self.role,
            "content": self.content,
            "parts": [part.to_json() for part in self.parts],
            "tool_calls": [call.to_json() for call in self.tool_calls],
            "tool_call_id": self.tool_call_id,
            "name": self.name,
            "reasoning": self.reasoning,
            "provider_fields": self.provider_fields,
            "source": self.source,
            "metadata": self.metadata,
            "attachments": [file.to_json() for file in self.attachments],
            "usage": self.usage.to_json() if self.usage else None,
            "created_at": self.created_at.isoformat(),
            "state": self.state,
            "turn_id": self.turn_id,
            "seq": self.seq,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Message":
        """A message out of its JSON. Raises `InvalidInput`, naming the field."""
        if not isinstance(value, Mapping):
            raise InvalidInput("message", f"is {quote(value)}", "pass what Message.to_json gave")
        try:
            values = dict(take_items("message", value.items(), MEMBERS_MAX))
            seq = values.pop("seq", None)
            message = cls(
                parts=tuple(part_from_json(part) for part in values.pop("parts", ())),
                tool_calls=tuple(ToolCall(**call) for call in values.pop("tool_calls", ())),
                attachments=[Attachment(**file) for file in values.pop("attachments", ())],
                usage=_usage_from_json(values.pop("usage", None)),
                created_at=moment_from_json("created_at", values.pop("created_at")),
                **values,
            )
        except InvalidInput:
            raise
        except Exception as error:
            raise InvalidInput(
                "message", f"cannot be read ({quote(str(error))})", "pass what Message.to_json gave"
            ) from error
        message.seq = seq
        return message


#: The slots of a message, which can be set whatever its `__setattr__` says.
_FIELD_SETTERS = tuple((each.name, Message.__dict__[each.name].__set__) for each in fields(Message))


def _check_each(field: str, values: object, kind: Any) -> list[Any]:
    if type(values) in (list, tuple) and not values:
        return []  # as most are
    items = take_items(field, values, MEMBERS_MAX) if isinstance(values, list | tuple) else None
    if items is None or not all(isinstance(item, kind) for item in items):
        raise InvalidInput(field, "hold something else", f"pass a list of {getattr(kind, '__name__', 'parts')}")
    return items


def _usage_from_json(value: Mapping[str, Any] | None) -> Usage | None:
    return None if value is None else Usage(**value)
