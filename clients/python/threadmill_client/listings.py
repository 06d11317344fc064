"""Lists, a page at a time: which request gives the next page, and what is in it.

What stays true: an iterator asks for a page when it needs it, and follows the cursors to the end.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from threadmill_client.decoding import Model, read_models
from threadmill_client.errors import UnexpectedAnswer
from threadmill_client.models import Message, Page, Thread, Turn
from threadmill_client.wire import Plan, Request, drop_nones, path

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[M]):
    """One list of the gateway."""

    where: str
    #: Of the list in the answer.
    name: str
    kind: type[M]
    query: Mapping[str, Any] = field(default_factory=dict)

    def page(self, cursor: str | None = None) -> Plan[Page[M]]:
        """Read the first page, or the one that begins at a cursor."""
        answer = yield Request(method="GET", path=self.where, query={**self.query, **drop_nones(cursor=cursor)})
        body = answer.json()
        if not isinstance(body, dict):
            raise UnexpectedAnswer(f"the answer lacks {self.name!r}")
        pending = () if self.name == "pending" else read_models(self.kind, body.get("pending") or [])
        return Page(read_models(self.kind, body.get(self.name)), body.get("next_cursor"), pending)


def list_threads(
    *,
    user: str | None = None,
    title: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    order: Literal["created", "updated"] = "created",
    page_size: int | None = None,
) -> Listing[Thread]:
    """List threads, the newest first: of one user, with a part of their title, with values in their metadata."""
    filters = drop_nones(user=user, title=title, metadata=None if metadata is None else json.dumps(metadata))
    query = drop_nones(order=order, limit=page_size)
    return Listing(where=path("threads"), name="threads", kind=Thread, query=filters | query)


def search_threads(words: str, *, user: str | None = None, page_size: int | None = None) -> Listing[Thread]:
    """Search threads for words of their messages, best first, with snippets of them."""
    query = drop_nones(q=words, user=user, limit=page_size)
    return Listing(where=path("threads"), name="threads", kind=Thread, query=query)


def list_messages(
    thread_id: str, *, order: Literal["asc", "desc"] = "asc", branch: str | None = None, page_size: int | None = None
) -> Listing[Message]:
    """List a thread's messages, the oldest first or, with `desc`, the newest: of the chosen branch, or of another."""
    query = drop_nones(order=order, branch=branch, limit=page_size)
    return Listing(where=path("threads", thread_id, "messages"), name="messages", kind=Message, query=query)


def list_turns(thread_id: str, *, page_size: int | None = None) -> Listing[Turn]:
    """List a thread's turns."""
    query = drop_nones(limit=page_size)
    return Listing(where=path("threads", thread_id, "turns"), name="turns", kind=Turn, query=query)
