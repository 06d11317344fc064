"""One call over HTTP: a question sent, and its answer read, whole or as a stream of events.

What stays true: the key goes to the host that it was meant for alone; what is read is bounded, and so is what is told
of an answer that is none; a connection goes back to its session, or is closed, however the answer ends.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from agent.models.http.events import Event, EventReader
from agent.models.http.session import find_proxy, open_session
from agent.models.json_object import JsonObject, read_json
from agent.models.provider_errors import AnsweredError
from agent.models.stream_assembly import ReplyPieces
from agent.models.stream_watch import StreamWatch
from conversation.errors import ModelError

#: Bytes of a whole answer, at most, once it is unpacked.
ANSWER_MAX_BYTES = 32 * 1024 * 1024
#: Bytes that are read of a refusal.
REFUSAL_MAX_BYTES = 64 * 1024
#: Redirections that are followed, on one host.
REDIRECTIONS_MAX = 3
#: Seconds for which the end of a stream is waited for behind its last event, so that its connection can be kept.
END_SECONDS = 0.05

_REDIRECTIONS = frozenset({307, 308})


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it is sent."""

    url: URL
    headers: Mapping[str, str] = field(repr=False)
    #: Writes the body, each time that it is sent. Raises `ModelError`.
    write_body: Callable[[], bytes] = field(repr=False)


class _SentOnce(aiohttp.BytesPayload):
    """A body that is let go as soon as it is written: an answer may take minutes to begin, and needs none of it."""

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        del content_length  # all of it
        value, self._value = self._value, b""
        await writer.write(value)


class AnswerFormat(Protocol):
    """The format of a provider's answers: turns them into chunks of chat completions."""

    #: Whether the provider said that its answer is whole.
    is_done: bool

    def read_whole(self, answer: JsonObject) -> JsonObject:
        """The one chunk of a whole answer. Raises `AnsweredError` for one that is an error."""
        ...

    def read_event(self, event: Event) -> JsonObject | None:
        """The chunk of an event; None where it says nothing. Raises `AnsweredError` for one that is an error."""
        ...


class HttpCall:
    """One call over HTTP."""

    def __init__(
        self,
        question: Question,
        answer_format: AnswerFormat,
        pieces: ReplyPieces,
        watch: StreamWatch,
        *,
        is_streamed: bool,
    ) -> None:
        self._question = question
        self._format = answer_format
        self._pieces = pieces
        self._watch = watch
        self._is_streamed = is_streamed
        self._response: aiohttp.ClientResponse | None = None
        self._reader = EventReader()
        self._events: deque[Event] = deque()
        #: Of a whole answer, its only chunk, until it is taken.
        self._whole: JsonObject | None = None
        self._has_choices = False

    async def open(self) -> None:
        """Send the question. Returns as soon as the answer begins; of a whole one, when it is there."""
        self._response = await _send(self._question)
        if self._response.status >= 300:
            raise await _read_refusal(self._response)
        data = await self._response.content.readany() if self._is_streamed else b""
        # Some servers answer whole whatever was asked for. No stream of events begins so.
        self._is_streamed = self._is_streamed and not data.lstrip().startswith(b"{")
        if self._is_streamed:
            self._take_bytes(data)
            return
        data += await _read(self._response, ANSWER_MAX_BYTES)
        self._whole = self._format.read_whole(_read_answer(data))
        self._has_choices = bool(self._whole.get("choices"))

    async def next_chunk(self) -> JsonObject | None:
        """The next chunk; None at the end."""
        if not self._is_streamed:
            whole, self._whole = self._whole, None
            return whole
        while not self._format.is_done:
            while self._events:
                chunk = self._format.read_event(self._events.popleft())
                if chunk is not None:
                    return chunk
                if self._format.is_done:
                    return None
            if not await self._read_events():
                return None
        return None

    def has_ended(self) -> bool:
        """Whether the provider said that its answer is whole, with a reason or without."""
        if not self._is_streamed:
            return self._has_choices
        return self._format.is_done or self._pieces.finish_reason is not None

    async def close(self) -> None:
        """Give the connection back where the answer was read to its end, else close it."""
        response, self._response = self._response, None
        if response is None:
            return
        if self._is_streamed and self._format.is_done and not response.content.at_eof():
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await response.content.readany()
        if response.content.at_eof():
            response.release()
        else:
            response.close()

    async def _read_events(self) -> bool:
        """Read on. Returns whether anything came."""
        assert self._response is not None, "opened before it is read"
        return self._take_bytes(await self._response.content.readany())

    def _take_bytes(self, data: bytes) -> bool:
        """Take what was read of a stream, nothing at its end. Returns whether that was anything."""
        if data:
            self._watch.note_bytes()
            self._events.extend(self._reader.feed(data))
            return True
        self._events.extend(self._reader.end())
        return bool(self._events)


async def _send(question: Question) -> aiohttp.ClientResponse:
    """Send a question, and again to where its own host redirects it."""
    session, url = await open_session(), question.url
    for _ in range(REDIRECTIONS_MAX):
        response = await session.post(
            url,
            data=_SentOnce(question.write_body()),
            headers=question.headers,
            allow_redirects=False,
            proxy=find_proxy(url),
        )
        target = response.headers.get("Location") if response.status in _REDIRECTIONS else None
        if target is None:
            return response
        response.close()
        new_url = url.join(URL(target))
        if not _is_same_place(url, new_url):
            raise ModelError(
                "refused", "redirected to another host, which is not sent the key", retryable=False, is_ours=True
            )
        url = new_url
    raise ModelError("refused", "redirected again and again", retryable=False, is_ours=True)


def _is_same_place(url: URL, new_url: URL) -> bool:
    """Whether a redirection stays with its host, and does not leave encryption."""
    is_same_port = url.explicit_port == new_url.explicit_port or (url.scheme, new_url.scheme) == ("http", "https")
    return url.host == new_url.host and is_same_port and new_url.scheme in (url.scheme, "https")


async def _read_refusal(response: aiohttp.ClientResponse) -> AnsweredError:
    """The refusal that an answer is, in the provider's own words where it has some."""
    try:
        data = await _read(response, REFUSAL_MAX_BYTES)
    except ModelError:
        data = b""
    text = data.decode("utf-8", "replace")
    try:
        answer = read_json(text)
    except ValueError:
        answer = None
    return make_error(answer, text=text or response.reason or "", response=response)


def make_error(answer: Any, *, text: str = "", response: aiohttp.ClientResponse | None = None) -> AnsweredError:
    """The error that an answer holds, under `error` or as a whole."""
    body = answer.get("error", answer) if isinstance(answer, Mapping) else None
    words = body.get("message") if isinstance(body, Mapping) else body
    message = words if isinstance(words, str) and words.strip() else text or str(body)
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    if isinstance(metadata, Mapping) and isinstance(metadata.get("raw"), str):
        message = f"{message}: {metadata['raw']}"  # a gateway's word for what the provider behind it said
    return AnsweredError(
        message,
        status_code=response.status if response is not None else None,
        body=body,
        headers=response.headers if response is not None else None,
    )


def _read_answer(data: bytes) -> JsonObject:
    try:
        answer = read_json(data)
    except ValueError:
        answer = None
    if not isinstance(answer, JsonObject):
        raise ModelError("unavailable", "the answer is no JSON object", retryable=True, is_ours=True)
    return answer


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The bytes of an answer. Raises `ModelError` where they are too many."""
    pieces, size = [], 0
    while data := await response.content.readany():
        size += len(data)
        if size > max_bytes:
            problem = f"the answer has more than {max_bytes} bytes"
            raise ModelError("reply_too_large", problem, retryable=False, is_ours=True)
        pieces.append(data)
    return b"".join(pieces)
