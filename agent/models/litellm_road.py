"""The road through litellm: to every provider that it knows, with every parameter that it has.

What stays true: litellm sends what it is given and says nothing of it anywhere; time limits, retries
and fallbacks are ours alone; a stream is closed however it ends, so that its connection is too.

litellm takes seconds to import, so it is imported by `load`, which a worker calls before it consumes.
"""

import asyncio
import copy
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import cache
from importlib import import_module
from inspect import isawaitable
from typing import Any
from weakref import WeakKeyDictionary

from agent.models.credentials import (
    OPENAI_CLIENT_PROVIDERS,
    is_credential,
    withhold_environment_account,
    withhold_environment_keys,
)
from agent.models.protocol import ModelRequest
from agent.models.stream_assembly import ReplyPieces
from agent.models.stream_watch import StreamWatch
from conversation.message import Usage

#: litellm's own limit lies beyond ours, so that ours decides and its default of 6,000 s never applies.
LIBRARY_TIMEOUT_MARGIN_SECONDS = 5.0

#: Parameters that litellm does not send, at least for models that it does not know.
_DROPPED_BY_LITELLM = frozenset({"metadata", "user"})

#: The generators that close the connections of a loop when it ends.
_keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = WeakKeyDictionary()


@cache
def load() -> Any:
    """Import litellm and silence it. Takes seconds at first and nothing after; call it off the loop."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import fetches prices from the network
    os.environ["LITELLM_MODE"] = "PRODUCTION"  # else the import reads `.env`
    litellm: Any = import_module("litellm")  # not `import`: type-checking its tree takes minutes
    import_module("openai.resources")  # else the first call holds up the loop for half a second
    litellm.suppress_debug_info = True
    litellm.set_verbose = False
    litellm.REPEATED_STREAMING_CHUNK_LIMIT = 10**9  # a hundred equal pieces are a line of a table, not a fault
    litellm.turn_off_message_logging = True
    # Tokens are counted by providers. Else each stream counts its prompt on the loop, with 100 MB of
    # tables, and asks the network for the tokenizers of some models.
    litellm.disable_token_counter = True
    litellm.disable_hf_tokenizer_download = True
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "LiteLLM Proxy.stdout"):
        logging.getLogger(name).disabled = True
    for name in ("openai", "httpx", "httpcore", "aiohttp"):  # at DEBUG they log whole requests
        logging.getLogger(name).setLevel(logging.WARNING)
    return litellm


async def close() -> None:
    """Close the connections that are kept for the next call of the running loop."""
    loop = asyncio.get_running_loop()
    # litellm's keys end with the loop's identity, which a later loop may have again.
    clients = load().in_memory_llm_clients_cache.cache_dict
    for key in [key for key in clients if str(key).endswith(f"-{id(loop)}")]:
        with suppress(Exception):  # whatever it is, it is not used again
            closed = clients.pop(key).close()
            if isawaitable(closed):
                await closed
    _keepers.pop(loop, None)


async def _keep_until_loop_ends() -> None:
    """See to it that the running loop's connections are closed when it shuts down its generators."""
    loop = asyncio.get_running_loop()
    if loop not in _keepers:
        keeper = _keepers[loop] = _close_at_end()
        await anext(keeper)


async def _close_at_end() -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await close()


class LitellmRoad:
    """The road through litellm."""

    async def prepare(self) -> None:
        """Import litellm, off the event loop, where that has not been done."""
        if not load.cache_info().currsize:
            await asyncio.to_thread(load)
        await _keep_until_loop_ends()

    def call(
        self, model: str, request: ModelRequest, pieces: ReplyPieces, watch: StreamWatch, *, is_streamed: bool
    ) -> "LitellmCall":
        """The call that asks a model by its plain name, whose chunks `pieces` takes."""
        return LitellmCall(model, request, pieces, watch, is_streamed=is_streamed)

    def price(self, model: str, usage: Usage, chunk: Any) -> float | None:
        """The price by litellm's own rules; None where no price is known or nothing was counted."""
        if not usage.total_tokens:
            return None
        library = load()
        try:
            response = _to_library_response(library, usage, chunk)
            return float(library.completion_cost(completion_response=response, model=model))
        except Exception:  # noqa: BLE001  a missing price raises several classes; an answer is worth more
            return None


class LitellmCall:
    """One call through litellm."""

    def __init__(
        self, model: str, request: ModelRequest, pieces: ReplyPieces, watch: StreamWatch, *, is_streamed: bool
    ) -> None:
        self._model = model
        self._request = request
        self._pieces = pieces
        self._watch = watch
        self._is_streamed = is_streamed
        self._response: Any = None
        #: Of a stream, its chunks; of a whole answer, the chunk that it is, until it is taken.
        self._chunks: Any = None
        self._is_raw = False

    async def open(self) -> None:
        """Ask litellm."""
        arguments = _call_arguments(self._model, self._request, is_streamed=self._is_streamed)
        self._response = await load().acompletion(**arguments)
        self._chunks = self._open_chunks() if self._is_streamed else [self._response]

    async def next_chunk(self) -> Any:
        """The next chunk; None at the end."""
        if self._is_streamed:
            return await anext(self._chunks, None)
        return self._chunks.pop() if self._chunks else None

    def has_ended(self) -> bool:
        """Whether the provider said that its answer is whole, with a reason or without."""
        if not self._is_streamed:
            return bool(self._response.choices)
        if not self._is_raw:
            # The wrapper's last chunk may be invented; what the provider said stands beside it.
            received_reason = getattr(self._response, "received_finish_reason", None)
            received_reason = received_reason or getattr(self._response, "intermittent_finish_reason", None)
            self._pieces.finish_reason = received_reason
            self._pieces.native_finish_reason = self._watch.finish_reason
        return self._watch.is_done or self._pieces.finish_reason is not None

    async def close(self) -> None:
        """Close the stream."""
        if self._is_streamed and self._response is not None:
            await self._response.aclose()

    def _open_chunks(self) -> Any:
        """The chunks of a stream, as close to the wire as they come.

        litellm's wrapper drops refusals, numbers calls without an index, takes a hundred equal pieces
        for a fault, and ends each stream with a reason of its own. Chunks of OpenAI's own client need
        none of what it does.
        """
        raw_stream: Any = getattr(self._response, "completion_stream", None)
        http_response = getattr(raw_stream, "response", None) or getattr(raw_stream, "http_response", None)
        if hasattr(http_response, "aiter_bytes"):
            self._watch.watch(http_response)
        self._is_raw = type(raw_stream).__module__.partition(".")[0] == "openai"
        if self._is_raw:
            return aiter(raw_stream)
        self._pieces.fields.tap(self._response, self._request.profile)
        return aiter(self._response)


def _call_arguments(model: str, request: ModelRequest, *, is_streamed: bool) -> dict[str, Any]:
    """The arguments of `litellm.acompletion`. All are copies: litellm edits what it is given."""
    arguments = {
        **_parameters(model, request),
        "model": model,
        "messages": copy.deepcopy(list(request.messages)),
        "stream": is_streamed,
        "timeout": max(request.timeout_seconds, request.silence_seconds or 0) + LIBRARY_TIMEOUT_MARGIN_SECONDS,
        "num_retries": 0,
        "max_retries": 0,
        "_skip_mcp_handler": True,  # else tools need litellm's proxy and the `mcp` package
    }
    if request.tools:
        arguments["tools"] = copy.deepcopy(list(request.tools))
    options = arguments.pop("stream_options", None) or {}
    if is_streamed:
        arguments["stream_options"] = {**options, "include_usage": True}
    return arguments


def _parameters(model: str, request: ModelRequest) -> dict[str, Any]:
    """The request's parameters, arranged so that each reaches the provider as it is."""
    litellm = load()
    parameters = copy.deepcopy(dict(request.parameters))
    name, provider, *_ = litellm.get_llm_provider(model)
    parameters = withhold_environment_keys(parameters, provider)
    if provider in OPENAI_CLIENT_PROVIDERS:
        parameters = withhold_environment_account(parameters, import_module("openai").Omit())
    if provider == "openai" or provider in litellm.openai_compatible_providers:
        supported = litellm.get_supported_openai_params(model=name, custom_llm_provider=provider) or ()
        unsupported = {*litellm.OPENAI_CHAT_COMPLETION_PARAMS} - {*supported}
        if parameters.get("drop_params"):
            unsupported = set()  # what this model does not take is to be left out, says the caller
        names = [name for name in (unsupported | _DROPPED_BY_LITELLM) & parameters.keys() if not is_credential(name)]
        raw = {name: parameters.pop(name) for name in names}
        # What stands in `extra_body` is sent as it stands, known to litellm or not.
        parameters["extra_body"] = {**raw, **parameters.get("extra_body", {})}
    return parameters


def _to_library_response(library: Any, usage: Usage, response: Any) -> Any:
    """The response in the form that prices are known for: the library's own."""
    counts: Any = getattr(response, "usage", None)
    if isinstance(response, library.ModelResponse | library.ModelResponseStream):
        return response
    tokens = (
        counts.model_dump()
        if hasattr(counts, "model_dump")
        else {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    )
    return library.ModelResponse(usage=library.Usage(**tokens))
