"""A thread: a conversation as Python code works on it.

What stays true: this object is a working copy over the version that was loaded (`working_copy.py`);
nothing is stored before it is saved.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from conversation.arguments import check_instance, check_items, iterate
from conversation.branch_address import address_of
from conversation.errors import InvalidInput
from conversation.ids import new_id
from conversation.message import Message, Usage
from conversation.pending_message import PendingMessage
from conversation.quotation import quote
from conversation.user import named_user
from conversation.validation import check_id, check_metadata, check_tenant, check_text, moment_from_json
from conversation.working_copy import LEADING, WorkingCopy

#: Kept up by the store and shown in `metadata`, so that old code that reads it there goes on working.
LAST_UPDATED = "last_updated"
TITLE_MAX_CHARS = 500


class Thread(WorkingCopy):
    """A conversation, with its messages in order."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - the word that users say
        *,
        user: str | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        messages: Iterable[Message] = (),
        tenant: str = "default",
    ) -> None:
        super().__init__()
        self.id = check_id("id", id) if id is not None else new_id()
        self.tenant = check_tenant(tenant)
        self.title = None if title is None else check_text("title", title, max_chars=TITLE_MAX_CHARS)
        self.metadata: dict[str, Any] = check_metadata("metadata", metadata)
        named_user(user, self.metadata)  # refuses what is no id
        #: Whose thread it is, by your own id of the user. Where this is None, a save of a thread that is nobody's
        #: reads `user` in the metadata.
        self.user = user
        #: The branch that this copy was loaded from, and is saved to; None: the one that is chosen by then.
        self.branch: str | None = None
        #: System texts that hold for the whole thread, by key.
        self.context: dict[str, str] = {}
        #: Aware, UTC.
        self.created_at = datetime.now(UTC)
        self.updated_at = self.created_at
        #: Keys whose context the next save removes.
        self.dropped_context: set[str] = set()
        #: Names the store that this copy was loaded from or saved in: a `seq` means something there only.
        self.store_identity: str | None = None
        #: Messages that were sent and wait for a worker, as the thread was loaded; none is in `messages` yet.
        self.pending: tuple[PendingMessage, ...] = ()
        for message in iterate("messages", messages):
            self.add_message(message)

    @property
    def address(self) -> str:
        """The id of the thread with its branch's, by which the store finds what this is a copy of."""
        return address_of(self.id, self.branch)

    def __repr__(self) -> str:
        count = len(self._messages) if self._messages is not None else "unloaded"
        return f"Thread(id={self.id!r}, messages={count})"

    def set_context(self, key: str, text: str | None) -> None:
        """Give the model a text in every turn, under a key; a later text under the same key replaces it."""
        check_id("context.key", key)
        if text is None:
            self.context.pop(key, None)
            self.dropped_context |= {key, LEADING + key}
            remaining_context = [m for name, m in self.leading_context.items() if name != LEADING + key]
            self._messages = None if self._messages is None else [*remaining_context, *self.spoken_messages]
        else:
            self.context[key] = check_text("context.text", text)
            self.dropped_context.discard(key)

    def check(self) -> None:
        """Check every field. Raises `InvalidInput` with one whose value cannot be stored."""
        check_id("id", self.id)
        check_tenant(self.tenant)
        if self.title is not None:
            check_text("title", self.title, max_chars=TITLE_MAX_CHARS)
        named_user(self.user, check_metadata("metadata", self.metadata))
        for key, text in dict.items(check_instance("context", self.context, dict)):
            check_id("context.key", key)
            check_text("context.text", text)
        for key in check_items("dropped_context", self.dropped_context, str):
            check_text("dropped_context", key)

    # Helpers that people use

    def last_message(self, role: str | None = None) -> Message | None:
        """The newest message, or the newest of a role."""
        return next((m for m in reversed(self.messages) if role is None or m.role == role), None)

    def usage(self) -> Usage:
        """Tokens of all model calls of these messages."""
        return sum((m.usage for m in self.messages if m.usage), Usage())

    def usage_by_model(self) -> dict[str, Usage]:
        """Tokens by the model that answered."""
        usages: dict[str, Usage] = {}
        for message in self.messages:
            if message.usage is not None:
                model = str((message.source or {}).get("model") or "unknown")
                usages[model] = usages.get(model, Usage()) + message.usage
        return usages

    def tool_usage(self) -> dict[str, int]:
        """How often each tool was called."""
        return dict(Counter(call.name for message in self.messages for call in message.tool_calls))

    def copy(self) -> "Thread":
        """An independent copy of this copy, of the same stored thread."""
        return deepcopy(self)

    # JSON

    def to_json(self) -> dict[str, Any]:
        """The working copy as JSON values; `from_json` reads it back, but for what was pending."""
        return {
            "id": self.id,
            "tenant": self.tenant,
            "user": self.user,
            "title": self.title,
            "metadata": self.metadata,
            "context": self.context,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "messages": [message.to_json() for message in self.messages],
            "pending": [pending.to_json() for pending in self.pending],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Thread":
        """A thread out of its JSON. Raises `InvalidInput`, naming the field."""
        try:
            thread = cls(
                value["id"],
                user=value.get("user"),
                title=value.get("title"),
                metadata=value.get("metadata"),
                tenant=value.get("tenant", "default"),
            )
            thread.created_at = moment_from_json("created_at", value["created_at"])
            thread.updated_at = moment_from_json("updated_at", value["updated_at"])
            for key, text in value.get("context", {}).items():
                thread.set_context(key, text)
            thread.messages = [Message.from_json(message) for message in value.get("messages", ())]
        except InvalidInput:
            raise
        except Exception as error:
            raise InvalidInput(
                "thread", f"cannot be read ({quote(str(error))})", "pass what Thread.to_json gave"
            ) from error
        return thread
