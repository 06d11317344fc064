"""A working copy: messages as Python code works on them, compared with what is stored of them.

What stays true: adding appends; slicing or replacing `messages` changes what *this object* shows a model,
never what is stored; system messages in front are context, kept by key, so putting one there again
replaces it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from conversation.arguments import iterate
from conversation.errors import InvalidInput, MessagesNotLoaded
from conversation.history import check_next
from conversation.message import Message

#: Begins the keys of context that stands in front of `messages`, as system messages.
LEADING = "leading:"
#: What stands before a colon is taken for a label up to this length.
LABEL_MAX_CHARS = 80


@dataclass(frozen=True, slots=True)
class LoadedState:
    """The stored state when a copy was made: the copy's changes are computed against it."""

    title: str | None
    metadata: Mapping[str, Any]
    context: Mapping[str, str]
    #: Ids of the stored messages that this copy has or had, in their order.
    message_ids: tuple[str, ...]
    #: The newest message when this copy was made: what is newer and not in it, others have added.
    last_seq: int
    #: It was sliced before: it stays its own window until the thread is loaded again.
    is_sliced: bool = False
    #: Whose thread it was.
    user: str | None = None


def leading_key(message: Message) -> str:
    """The key of a system message in front: its name, or its label, as in `Preferences: …`, or its text."""
    label, colon, _ = message.content.partition(":")
    if message.name is None and colon and "\n" not in label and 0 < len(label.strip()) <= LABEL_MAX_CHARS:
        return LEADING + label.strip()
    return LEADING + (message.name or hashlib.sha256(message.content.encode()).hexdigest()[:16])


class WorkingCopy:
    """The messages of a thread in order, those that are new told from those that were loaded."""

    #: The thread's id.
    id: str

    def __init__(self) -> None:
        self._messages: list[Message] | None = []
        self._loaded: LoadedState | None = None
        #: The loaded part: the same objects, so that one glance tells whether it stands as it stood.
        self._loaded_messages: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        """The messages of this copy. Raises `MessagesNotLoaded` on a thread out of a listing."""
        if self._messages is None:
            raise MessagesNotLoaded(f"thread {self.id!r} was listed without messages; load it with get_thread")
        return self._messages

    @messages.setter
    def messages(self, messages: Iterable[Message] | None) -> None:
        new_messages: list[Message] = []
        # Each as it comes: of a list without end, the first that is none is the last that is read.
        for message in () if messages is None else iterate("messages", messages):
            if not isinstance(message, Message):
                raise InvalidInput("messages", f"hold a {type(message).__name__}", "put Messages there")
            new_messages.append(message)
        self._messages = None if messages is None else new_messages

    @property
    def has_messages(self) -> bool:
        """Whether the messages were loaded."""
        return self._messages is not None

    def add_message(self, message: Message) -> None:
        """Append a message. Raises `InvalidInput` where the history would not be well-formed."""
        if not isinstance(message, Message):
            raise InvalidInput("message", f"is {type(message).__name__}", "pass a Message")
        if self._messages is None:
            self._messages = []
        check_next(self._messages, message)
        self._messages.append(message)

    def keep_newest_context(self) -> None:
        """Keep, of the system messages in front that share a key, only the one that counts."""
        front, newest_context = self._front, self.leading_context
        if self._messages is not None and len(newest_context) < len(front):
            self._messages[: len(front)] = newest_context.values()

    @property
    def loaded(self) -> LoadedState | None:
        """The stored state that this copy is compared with; None until it was loaded or saved."""
        return self._loaded

    @loaded.setter
    def loaded(self, loaded: LoadedState | None) -> None:
        loaded_end = self._loaded_end()
        known_messages, messages = self._loaded_messages, self._messages or []
        if loaded_end is None:
            known_messages, loaded_end = [], 0
        self._loaded = loaded
        self._loaded_messages = [*known_messages, *(m for m in messages[loaded_end:] if m.seq is not None)]

    @property
    def new_messages(self) -> list[Message]:
        """Messages that are not stored yet, without those that are context."""
        loaded_end = self._loaded_end() or len(self._front)
        return [message for message in (self._messages or [])[loaded_end:] if message.seq is None]

    @property
    def leading_context(self) -> dict[str, Message]:
        """The system messages in front, by key. Of two with one key the first stands."""
        messages_by_key: dict[str, Message] = {}
        for message in self._front:
            messages_by_key.setdefault(leading_key(message), message)
        return messages_by_key

    @property
    def spoken_messages(self) -> list[Message]:
        """The messages of this copy without those that are context."""
        return self.messages[len(self._front) :]

    @property
    def _front(self) -> list[Message]:
        return list(takewhile(lambda m: m.seq is None and m.role == "system", self._messages or []))

    @property
    def is_sliced(self) -> bool:
        """Whether the loaded part was sliced, replaced or reordered: then this copy is its own window."""
        if self.loaded is None or self._messages is None:
            return False
        if self.loaded.is_sliced or self._loaded_end() is not None:
            return self.loaded.is_sliced
        stored_ids = tuple(message.id for message in self._messages if message.seq is not None)
        return stored_ids[: len(self.loaded.message_ids)] != self.loaded.message_ids

    def note_stored(self) -> None:
        """Count the messages of this copy that have a seq as stored: changes are computed from here on."""
        assert self.loaded is not None, "a turn ran, so the thread was saved"
        self.loaded = replace(self.loaded, message_ids=self.seen_ids(), is_sliced=self.is_sliced)

    def seen_ids(self) -> tuple[str, ...]:
        """Ids of the stored messages that this copy has, and of those that it had before it was sliced."""
        loaded_end = self._loaded_end() or 0
        remaining_ids = tuple(m.id for m in (self._messages or [])[loaded_end:] if m.seq is not None)
        if self.loaded is not None and loaded_end:
            return self.loaded.message_ids + remaining_ids
        stored_ids = remaining_ids
        if self.loaded is None or not self.is_sliced:
            return stored_ids
        known_ids = set(self.loaded.message_ids)
        return (*self.loaded.message_ids, *(id_ for id_ in stored_ids if id_ not in known_ids))

    def _loaded_end(self) -> int | None:
        """The index behind the loaded part; None if that part does not stand as it was loaded."""
        if self._loaded is None or not self._loaded_messages:
            return None
        front = len(self._front)
        loaded_end = front + len(self._loaded_messages)
        return loaded_end if (self._messages or [])[front:loaded_end] == self._loaded_messages else None
