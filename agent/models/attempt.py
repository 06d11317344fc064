"""One attempt at one model: asking it by its road, and what comes of that.

What stays true: an attempt ends in a reply or in a `ModelError`, and what it cost is told either way; its
stream is closed however it ends, and so is its connection.
"""

from collections.abc import AsyncGenerator
from typing import Any

from agent.models.profiles import plain_name
from agent.models.protocol import ModelReply, ModelRequest
from agent.models.provider_errors import AnsweredError, model_error, shorten
from agent.models.reply_endings import conclude
from agent.models.road import Call, Road
from agent.models.spending import counted_usage, spent_in_vain
from agent.models.stream_assembly import ReplyPieces
from agent.models.stream_watch import StreamWatch
from conversation.errors import ModelError
from conversation.exhaustion import Exhausted, Resource, missing_resource, resource_of
from conversation.message import Usage

#: Seconds for which a stream goes on to be read behind its finish reason.
LAST_WORD_SECONDS = 10.0


class Attempt:
    """One attempt at one model."""

    def __init__(self, road: Road, model: str, request: ModelRequest) -> None:
        self._road = road
        self._model = model
        self._request = request
        self._pieces = ReplyPieces([tool["function"]["name"] for tool in request.tools])
        self._watch = StreamWatch(
            first_byte_seconds=request.timeout_seconds,
            silence_seconds=request.silence_seconds or request.timeout_seconds,
        )
        self._has_ended = False
        request.meter.attempts += 1

    async def ask(self, *, is_streamed: bool) -> AsyncGenerator[str, None]:
        """Ask. Yields the answer's text as it comes."""
        name = plain_name(self._model)
        call = self._road.call(name, self._request, self._pieces, self._watch, is_streamed=is_streamed)
        try:
            async with self._watch.limit():
                await call.open()
            while self._pieces.excess is None and (chunk := await self._next_chunk(call)) is not None:
                yield self._pieces.add(chunk)
            self._has_ended = call.has_ended()
        finally:
            await call.close()
        yield self._pieces.end()

    def conclude(self) -> ModelReply:
        """The reply that the answer comes to. Raises `ModelError` where it comes to none."""
        usage = counted_usage(self._pieces.usage_chunk)
        cost = self._price(usage, self._pieces.usage_chunk)
        reply = conclude(self._pieces, has_ended=self._has_ended, model=self._model, usage=usage, cost=cost)
        return self._pieces.fields.finish(reply, self._request.profile)

    def fail(self, error: Exception) -> ModelError | Exhausted:
        """The error of ours for one of any kind; counts what the attempt cost.

        A process that has run out of something is no sign that its model is away.
        """
        is_timeout = isinstance(error, TimeoutError)
        if self._pieces.has_content or self._pieces.usage_chunk is not None or is_timeout:
            self.charge()
        if (resource := _find_exhaustion(error)) is not None:
            return Exhausted(resource)
        if is_timeout:
            return ModelError("timeout", f"{self._model}: {self._watch.problem}", retryable=True, is_ours=True)
        if isinstance(error, ModelError):
            text, words = (shorten(text, self._request.parameters) for text in (str(error), error.provider_text))
            return ModelError(error.kind, text, retryable=error.retryable, is_ours=error.is_ours, provider_text=words)
        return model_error(
            error, model=self._model, parameters=self._request.parameters, started=self._pieces.has_content
        )

    def charge(self) -> None:
        """Count what the attempt cost that came to no reply."""
        self._request.meter.add(*spent_in_vain(self._request, self._pieces, self._price))

    def _price(self, usage: Usage, chunk: Any) -> float | None:
        return self._road.price(plain_name(self._model), usage, chunk)

    async def _next_chunk(self, call: Call) -> Any:
        """The next chunk; None at the end, or where the stream breaks after the provider's last word."""
        try:
            # Behind its last word a provider sends its count of tokens, and nothing else is waited for.
            at_most = LAST_WORD_SECONDS if self._pieces.finish_reason else None
            async with self._watch.limit(at_most_seconds=at_most):
                chunk = await call.next_chunk()
        except Exception:
            if self._pieces.finish_reason is None:
                raise
            return None
        if chunk is not None:
            self._watch.note_bytes()
        return chunk


def _find_exhaustion(error: Exception) -> Resource | None:
    """The resource that this process lacks, for which an attempt failed; of an answer that came, none."""
    if isinstance(error, ModelError | AnsweredError):
        return None
    return resource_of(error) or missing_resource()
