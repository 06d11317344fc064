"""Models of every provider behind the `Model` protocol: asked in order, fitted, tried again, each by its road.

What stays true: a request is fitted to the provider that is asked, and asked anew where that may help; of several
models' errors the one is raised that says best what to do next. Which road leads to a model changes none of this.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from agent.models.attempt import Attempt
from agent.models.backoff import Backoff
from agent.models.capabilities import Capabilities
from agent.models.choose_road import choose_road
from agent.models.credentials import for_another_provider
from agent.models.model_list import find_capabilities, prepare_model_list, provider_of
from agent.models.picture_addresses import leave_out_pictures, remember_addresses, suspect_addresses
from agent.models.profiles import ProviderProfile, find_api_base, profile_for
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.models.reply_endings import EMPTY_REPLY
from agent.models.request_fitting import fit_request
from agent.models.road import Road
from agent.models.thinking import fallback_parameters
from conversation.errors import ModelError

#: What a request says by its own fields; a parameter of this name would contradict it.
_FIELDS_OF_THE_REQUEST = frozenset(
    {"model", "messages", "tools", "stream", "timeout", "num_retries", "max_retries", "fallbacks"}
)

Item = TextDelta | StreamRestarted | ModelReply


class ProviderModel:
    """A `Model` that asks the provider that the request's model names."""

    #: It asks a request's breakers by itself: a fallback has one of its own.
    guards_itself = True

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
        await prepare_model_list()
        return find_capabilities(model_name)

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

    def _road_to(self, model: str, request: ModelRequest, /) -> Road:
        """The road by which a model is asked."""
        return choose_road(model, request.parameters, has_tools=bool(request.tools))

    async def _ask_models(self, request: ModelRequest, *, is_streamed: bool) -> AsyncGenerator[Item, None]:
        """Ask the models in order. `StreamRestarted` stands before each attempt."""
        _check_parameters(request)
        await prepare_model_list()
        if not request.silence_seconds:
            request = replace(request, silence_seconds=self._idle_timeout_seconds)
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
            request = replace(request, parameters=_parameters_of_fallback(model, request, profile))
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
                async with aclosing(self._ask_permitted(model, request, is_streamed=is_streamed)) as items:
                    async for item in items:
                        yield item
                return
            except ModelError as error:
                failure = error
            # Only our own error is passed on: a cancellation never passes through the retries.
            with attempt:
                raise failure

    async def _ask_permitted(
        self, model: str, request: ModelRequest, *, is_streamed: bool
    ) -> AsyncGenerator[Item, None]:
        """Ask one model if its breaker permits it, and tell the breaker what came of it."""
        permit = None
        if request.breakers is not None:
            permit = await request.breakers.admit(model, request.parameters)
        try:
            async with aclosing(self._ask_for_words(model, request, is_streamed=is_streamed)) as items:
                async for item in items:
                    # The first word tells that a model is back; that it stays there, the last one.
                    if permit is not None and (permit.is_probe or isinstance(item, ModelReply)):
                        await permit.report_success()
                    yield item
        except ModelError as error:
            if permit is not None:
                await permit.report_failure(error)
            raise

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
        road = self._road_to(model, request)
        await road.prepare()
        attempt = Attempt(road, model, request)
        try:
            async with aclosing(attempt.ask(is_streamed=is_streamed)) as texts:
                async for text in texts:
                    if text and is_streamed:
                        yield TextDelta(text)
            reply = attempt.conclude()
        except Exception as error:  # noqa: BLE001  a road lets through whatever its library raises
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
    is_of_same_provider = provider_of(model) == provider_of(request.model)
    profile = profile_for(model, find_api_base(model, request.parameters if is_of_same_provider else {}))
    capabilities = find_capabilities(model)
    profile = replace(profile, pictures=profile.pictures and capabilities.images)
    # The sound for the first model was chosen by what its agent says.
    return profile if model == request.model or capabilities.audio else replace(profile, sound=False)


def _parameters_of_fallback(model: str, request: ModelRequest, profile: ProviderProfile) -> dict[str, Any]:
    """The parameters for a model for which they were not written."""
    parameters = fallback_parameters(request.parameters, profile)
    return parameters if provider_of(model) == provider_of(request.model) else for_another_provider(parameters)


def _check_parameters(request: ModelRequest) -> None:
    conflicts = sorted(_FIELDS_OF_THE_REQUEST & request.parameters.keys())
    if conflicts:
        raise ModelError(
            "refused", f"parameters: {', '.join(conflicts)} cannot be set here", retryable=False, is_ours=True
        )


def _most_useful_error(errors: list[ModelError]) -> ModelError:
    """The error, of those of several models, that says best what to do next."""
    too_long = [error for error in errors if error.kind == "context_length"]
    if too_long:  # what can be mended at once goes before what only time mends
        return too_long[0]
    retryable = [error for error in errors if error.retryable]
    # What was tried says more than what was put off.
    return min(retryable, key=_order_of_use) if retryable else errors[0]


def _order_of_use(error: ModelError) -> tuple[bool, float]:
    return error.is_put_off, error.retry_after_seconds or 0
