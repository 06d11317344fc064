"""Models of every provider that litellm speaks to, behind the `Model` protocol.

What stays true: litellm sends what it is given and says nothing of it anywhere; time limits, retries
and fallbacks are ours alone; a stream is closed however it ends, so that its connection is too.

litellm takes seconds to import, so it is imported by `load`, which a worker calls before it consumes.
"""

import asyncio
import copy
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any

from agent.models.backoff import Backoff
from agent.models.capabilities import Capabilities
from agent.models.credentials import (
    OPENAI_CLIENT_PROVIDERS,
    for_another_provider,
    is_credential,
    withhold_environment_account,
    withhold_environment_keys,
)
from agent.models.litellm_attempt import Attempt
from agent.models.picture_addresses import leave_out_pictures, remember_addresses, suspect_addresses
from agent.models.profiles import ProviderProfile, find_api_base, profile_for
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.models.reply_endings import EMPTY_REPLY
from agent.models.request_fitting import fit_request
from agent.models.thinking import fallback_parameters
from conversation.errors import ModelError

#: litellm's own limit lies beyond ours, so that ours decides and its default of 6,000 s never applies.
LIBRARY_TIMEOUT_MARGIN_SECONDS = 5.0

#: What a request says by its own fields; a parameter of this name would contradict it.
_FIELDS_OF_THE_REQUEST = frozenset(
    {"model", "messages", "tools", "stream", "timeout", "num_retries", "max_retries", "fallbacks"}
)
#: Parameters that litellm does not send, at least for models that it does not know.
_DROPPED_BY_LITELLM = frozenset({"metadata", "user"})

Item = TextDelta | StreamRestarted | ModelReply


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
    """Close the connections that are kept for the next call. Await it before the loop ends."""
    litellm = load()
    await litellm.close_litellm_async_clients()
    litellm.in_memory_llm_clients_cache.flush_cache()


@cache
def _find_capabilities(model_name: str) -> Capabilities:
    """Find capabilities in the list of models alone: litellm's own lookup asks some providers' servers."""
    model_list = load().model_cost
    provider = model_name.partition("/")[0] if model_name not in model_list else ""
    while model_name and model_name not in model_list:
        model_name = model_name.partition("/")[2]  # `openrouter/anthropic/…`: what is listed has fewer prefixes
    if not model_name:
        return Capabilities()
    info = model_list[model_name]
    # Of many models the list says neither; then it is not known.
    max_input_tokens = info.get("max_input_tokens")
    if provider not in ("", info.get("litellm_provider")):
        max_input_tokens = None  # another server of a model may take more of it, or less
    return Capabilities(
        images=info.get("supports_vision", True),
        audio=info.get("supports_audio_input", False),
        max_input_tokens=max_input_tokens if isinstance(max_input_tokens, int) and max_input_tokens > 0 else None,
    )


class LitellmModel:
    """A `Model` that asks the provider that the request's model names."""

    def __init__(
        self,
        *,
        backoff_initial_seconds: float = 0.5,
        backoff_max_seconds: float = 30,
        retry_after_max_seconds: float = 60,
        idle_timeout_seconds: float = 60,
    ) -> None:
        """`idle_timeout_seconds` bounds the silence in mid-stream, where a request names no bound of its own."""
        self._idle_timeout_seconds = idle_timeout_seconds
        self._backoff = Backoff(
            initial_seconds=backoff_initial_seconds,
            max_seconds=backoff_max_seconds,
            retry_after_max_seconds=retry_after_max_seconds,
        )

    async def capabilities_of(self, model_name: str) -> Capabilities:
        """Find a model's capabilities in litellm's list; the first call loads it, off the event loop."""
        return await asyncio.to_thread(_find_capabilities, model_name)

    async def complete(self, request: ModelRequest) -> ModelReply:
        async with aclosing(self._ask_models(request, is_streamed=False)) as items:
            async for item in items:
                if isinstance(item, ModelReply):
                    return item
        raise AssertionError("an answer ends with a reply or an error")

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Item, None]:
        has_sent_text = False
        async with aclosing(self._ask_models(request, is_streamed=True)) as items:
            async for item in items:
                if isinstance(item, StreamRestarted) and not has_sent_text:
                    continue
                has_sent_text = isinstance(item, TextDelta)
                yield item

    async def _ask_models(self, request: ModelRequest, *, is_streamed: bool) -> AsyncGenerator[Item, None]:
        """Ask the models in order. `StreamRestarted` stands before each attempt."""
        _check_parameters(request)
        await asyncio.to_thread(load)
        request = replace(request, silence_seconds=request.silence_seconds or self._idle_timeout_seconds)
        errors: list[ModelError] = []
        for model in (request.model, *request.fallbacks):
            try:
                async with aclosing(self._ask_fitted(model, request, is_streamed=is_streamed)) as items:
                    async for item in items:
                        yield item
                return
            except ModelError as error:
                errors.append(error)
        raise _most_useful_error(errors)

    async def _ask_fitted(self, model: str, request: ModelRequest, *, is_streamed: bool) -> AsyncGenerator[Item, None]:
        """Ask one model as its provider wants it; after a refusal once more, without pictures by address."""
        profile = _find_profile(model, request)
        if model != request.model:
            request = replace(request, parameters=fallback_parameters(request.parameters, profile))
        fitted_request = fit_request(request, profile)
        try:
            async with aclosing(self._ask_with_retries(model, fitted_request, is_streamed=is_streamed)) as items:
                async for item in items:
                    yield item
            return
        except ModelError as error:
            addresses = suspect_addresses(fitted_request, error)
            if not addresses:
                raise
            refusal = error
        bare_request = fit_request(leave_out_pictures(request, addresses), profile)
        try:
            async with aclosing(self._ask_with_retries(model, bare_request, is_streamed=is_streamed)) as items:
                async for item in items:
                    yield remember_addresses(item, addresses) if isinstance(item, ModelReply) else item
        except ModelError:
            raise refusal from None

    async def _ask_with_retries(
        self, model: str, request: ModelRequest, *, is_streamed: bool
    ) -> AsyncGenerator[Item, None]:
        """Ask one model, as often as it takes or is allowed."""
        async for attempt in self._backoff.attempts(request.max_attempts, model=model):
            yield StreamRestarted()
            try:
                async with aclosing(self._ask_for_words(model, request, is_streamed=is_streamed)) as items:
                    async for item in items:
                        yield item
                return
            except ModelError as error:
                failure = error
            # Only our own error is passed on: a cancellation never passes through the retries.
            with attempt:
                raise failure

    async def _ask_for_words(
        self, model: str, request: ModelRequest, *, is_streamed: bool
    ) -> AsyncGenerator[Item, None]:
        """Ask one model, and once more if it says nothing."""
        for is_last in (False, True):
            try:
                async with aclosing(self._ask_once(model, request, is_streamed=is_streamed)) as items:
                    async for item in items:
                        yield item
                return
            except ModelError as error:
                if is_last or error.kind != EMPTY_REPLY:
                    raise
            yield StreamRestarted()

    async def _ask_once(
        self, model: str, request: ModelRequest, *, is_streamed: bool
    ) -> AsyncGenerator[TextDelta | ModelReply, None]:
        """Ask one model once. However that ends, `request.meter` counts what came to no reply."""
        attempt = Attempt(load(), model, request)
        try:
            arguments = _call_arguments(model, request, is_streamed=is_streamed)
            async with aclosing(attempt.ask(arguments, is_streamed=is_streamed)) as texts:
                async for text in texts:
                    if text and is_streamed:
                        yield TextDelta(text)
            reply = attempt.conclude()
        except Exception as error:  # noqa: BLE001  litellm lets through whatever its parts raise
            failure = attempt.fail(error)
        except BaseException:
            attempt.charge()  # cancelled, or out of the turn's time
            raise
        else:
            yield reply
            return
        raise failure  # outside of `except`: the original is not chained, for it may hold a key


def _find_profile(model: str, request: ModelRequest) -> ProviderProfile:
    """The profile of one of the request's models, without what this model alone does not take."""
    if request.profile is not None and model == request.model:
        return request.profile
    is_of_same_provider = model.partition("/")[0] == request.model.partition("/")[0]
    profile = profile_for(model, find_api_base(model, request.parameters if is_of_same_provider else {}))
    capabilities = _find_capabilities(model)
    profile = replace(profile, pictures=profile.pictures and capabilities.images)
    # The sound for the first model was chosen by what its agent says.
    return profile if model == request.model or capabilities.audio else replace(profile, sound=False)


def _check_parameters(request: ModelRequest) -> None:
    conflicts = sorted(_FIELDS_OF_THE_REQUEST & request.parameters.keys())
    if conflicts:
        raise ModelError("refused", f"parameters: {', '.join(conflicts)} cannot be set here", retryable=False)


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
    if provider != litellm.get_llm_provider(request.model)[1]:
        parameters = for_another_provider(parameters)
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


def _most_useful_error(errors: list[ModelError]) -> ModelError:
    """The error, of those of several models, that says best what to do next."""
    too_long = [error for error in errors if error.kind == "context_length"]
    if too_long:  # what can be mended at once goes before what only time mends
        return too_long[0]
    retryable = [error for error in errors if error.retryable]
    return min(retryable, key=lambda error: error.retry_after_seconds or 0) if retryable else errors[0]
