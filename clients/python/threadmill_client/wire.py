"""Requests and answers as values, and the plans of verbs that are made of them.

What stays true: nothing here does I/O. A plan says which request comes next, and is told the answer; who carries it
out may block or await. So each verb is written once.
"""

import json
import re
import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from threadmill_client.errors import UnexpectedAnswer
from threadmill_client.file_source import FileSink, FileSource

T = TypeVar("T")
Query = Mapping[str, str | int | None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request. Its body is made once, so that each try sends the same bytes."""

    method: str
    #: Behind the client's base address.
    path: str = ""
    #: A whole address elsewhere, which gets no key; as that of a presigned upload, a secret.
    address: str | None = field(default=None, repr=False)
    query: Query = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | FileSource | None = field(default=None, repr=False)
    #: Where the answer's body goes, if it is too much for memory.
    sink: FileSink | None = None
    #: How long the gateway may think about it, beyond the client's own timeout.
    extra_seconds: float = 0
    #: Whether an answer that points elsewhere is one.
    may_redirect: bool = False
    #: Whether it is not to be repeated: no idempotency key makes two of it one.
    is_sent_once: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer, read to its end."""

    status: int
    #: By lower-case name.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    #: Of the request, to which a redirection is relative.
    address: str = field(default="", repr=False)
    #: How often the request was sent for it.
    attempts: int = 1

    def json(self) -> Any:
        """The body as JSON. Raises `UnexpectedAnswer`."""
        try:
            return json.loads(self.body)
        except ValueError:
            kind = self.headers.get("content-type", "nothing")
            raise UnexpectedAnswer(f"the answer is {kind}, no JSON: is base_url that of a gateway?") from None


@dataclass(frozen=True)
class Pause:
    """Time to wait before the next step."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Something that takes a while without the network, as hashing a file."""

    run: Callable[[], Any]


#: The steps of a verb: a request is answered by an `Answer`, or by the error thrown in; work by its result.
Plan = Generator[Request | Work | Pause, Any, T]
#: The same with each try of its requests.
Steps = Plan[T]


def path(*parts: str) -> str:
    """A path below the gateway's version. Raises `ValueError` for a part that a path cannot have."""
    for part in parts:
        if not isinstance(part, str) or part in ("", ".", ".."):
            raise ValueError(f"an id is {part!r}: no path can have it")
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def json_request(method: str, where: str, values: Mapping[str, Any], **more: Any) -> Request:
    """A request with a JSON body."""
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    body = json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    return Request(method=method, path=where, headers=headers, body=body, **more)


def drop_nones(**values: Any) -> dict[str, Any]:
    """The values that are given."""
    return {name: value for name, value in values.items() if value is not None}


def write_moment(name: str, value: datetime | None) -> str | None:
    """A moment of RFC 3339. Raises `ValueError` for one without a time zone."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError(f"{name} has no time zone: pass datetime.now(timezone.utc) + …, or the like")
    return value.isoformat()


def idempotency(key: str | None = None) -> dict[str, str]:
    """The header under which the gateway carries a request out once, however often it comes.

    A key of the caller's that is more than one word goes in quotes. Raises `ValueError` for one that no header has.
    """
    if key is None:
        return {"Idempotency-Key": secrets.token_hex(16)}
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError("idempotency_key has other than printable ASCII characters, or none: pass an id")
    is_word = re.fullmatch(r"[\w.:@/+=-]+", key)
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return {"Idempotency-Key": key if is_word else f'"{escaped}"'}
