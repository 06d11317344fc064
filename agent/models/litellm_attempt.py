"""One attempt at one model: asking it through litellm, and what comes of that.

What stays true: an attempt ends in a reply or in a `ModelError`, and what it cost is told either way; its
stream is closed however it ends, and so is its connection.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from agent.models.litellm_errors import model_error, shorten
from agent.models.protocol import ModelReply, ModelRequest
from agent.models.reply_endings import conclude
from agent.models.spending import counted_usage, price, spent_in_vain
from agent.models.stream_assembly import ReplyPieces
from agent.models.stream_watch import StreamWatch
from conversation.errors import ModelError

#: Seconds for which a stream goes on to be read behind its finish reason.
LAST_WORD_SECONDS = 10.0


class Attempt:
    """One attempt at one model, through litellm as `library`."""

    def __init__(self, library: Any, model: str, request: ModelRequest) -> None:
        self._library = library
        self._model = model
        self._request = request
        self._pieces = ReplyPieces([tool["function"]["name"] for tool in request.tools])
        self._watch = StreamWatch(
            first_byte_seconds=request.timeout_seconds,
            silence_seconds=request.silence_seconds or request.timeout_seconds,
        )
        self._has_ended = False
        self._is_raw = False
        request.meter.attempts += 1

    async def ask(self, arguments: dict[str, Any], *, is_streamed: bool) -> AsyncGenerator[str, None]:
        """Ask, with these arguments of litellm's. Yields the answer's text as it comes."""
        async with self._watch.limit():
            response = await self._library.acompletion(**arguments)
        if is_streamed:
            async with aclosing(response):
                chunks = self._open_chunks(response)
                while self._pieces.excess is None and (chunk := await self._next_chunk(chunks)) is not None:
                    yield self._pieces.add(chunk)
            self._note_end(response)
        else:
            self._has_ended = bool(response.choices)
            yield self._pieces.add(response)
        yield self._pieces.end()

    def conclude(self) -> ModelReply:
        """The reply that the answer comes to. Raises `ModelError` where it comes to none."""
        usage = counted_usage(self._pieces.usage_chunk)
        cost = price(self._library, self._model, usage, self._pieces.usage_chunk)
        reply = conclude(self._pieces, has_ended=self._has_ended, model=self._model, usage=usage, cost=cost)
        return self._pieces.fields.finish(reply, self._request.profile)

    def fail(self, error: Exception) -> ModelError:
        """The error of ours for one of any kind; counts what the attempt cost."""
        is_timeout = isinstance(error, TimeoutError)
        if self._pieces.has_content or self._pieces.usage_chunk is not None or is_timeout:
            self.charge()
        if is_timeout:
            return ModelError("timeout", f"{self._model}: {self._watch.problem}", retryable=True)
        if isinstance(error, ModelError):
            return ModelError(error.kind, shorten(str(error), self._request.parameters), retryable=error.retryable)
        return model_error(
            error, model=self._model, parameters=self._request.parameters, started=self._pieces.has_content
        )

    def charge(self) -> None:
        """Count what the attempt cost that came to no reply."""
        self._request.meter.add(*spent_in_vain(self._library, self._model, self._request, self._pieces))

    def _open_chunks(self, response: Any) -> Any:
        """The chunks of a stream, as close to the wire as they come.

        litellm's wrapper drops refusals, numbers calls without an index, takes a hundred equal pieces
        for a fault, and ends each stream with a reason of its own. Chunks of OpenAI's own client need
        none of what it does.
        """
        raw_stream: Any = getattr(response, "completion_stream", None)
        http_response = getattr(raw_stream, "response", None) or getattr(raw_stream, "http_response", None)
        if hasattr(http_response, "aiter_bytes"):
            self._watch.watch(http_response)
        self._is_raw = type(raw_stream).__module__.partition(".")[0] == "openai"
        if self._is_raw:
            return aiter(raw_stream)
        self._pieces.fields.tap(response, self._request.profile)
        return aiter(response)

    async def _next_chunk(self, chunks: Any) -> Any:
        """The next chunk; None at the end, or where the stream breaks after the provider's last word."""
        try:
            # Behind its last word a provider sends its count of tokens, and nothing else is waited for.
            at_most = LAST_WORD_SECONDS if self._pieces.finish_reason else None
            async with self._watch.limit(at_most_seconds=at_most):
                chunk = await anext(chunks, None)
        except Exception:
            if self._pieces.finish_reason is None:
                raise
            return None
        if chunk is not None:
            self._watch.note_bytes()
        return chunk

    def _note_end(self, response: Any) -> None:
        """Note whether the provider said that its answer is whole, with a reason or without."""
        if not self._is_raw:
            # The wrapper's last chunk may be invented; what the provider said stands beside it.
            received_reason = getattr(response, "received_finish_reason", None)
            received_reason = received_reason or getattr(response, "intermittent_finish_reason", None)
            self._pieces.finish_reason = received_reason
            self._pieces.native_finish_reason = self._watch.finish_reason
        self._has_ended = self._watch.is_done or self._pieces.finish_reason is not None
