"""The straight road: a request in the format of its provider, sent over HTTP.

What stays true: nothing is imported for a call that the process does not have already, and prices come out of the
list that litellm ships.
"""

import json
from typing import Any

from yarl import URL

from agent.models.credentials import withhold_environment_keys
from agent.models.http import anthropic_request, openai_request
from agent.models.http.anthropic_answer import AnthropicAnswer
from agent.models.http.call import AnswerFormat, HttpCall, Question
from agent.models.http.endpoints import Endpoint, find_endpoint, model_at
from agent.models.http.openai_answer import OpenAIAnswer
from agent.models.model_list import prepare_model_list
from agent.models.prices import find_price
from agent.models.profiles import host_of
from agent.models.protocol import ModelRequest
from agent.models.stream_assembly import ReplyPieces
from agent.models.stream_watch import StreamWatch
from conversation.errors import ModelError
from conversation.message import Usage

_PATHS = {"openai": "/chat/completions", "anthropic": "/v1/messages"}


class HttpRoad:
    """The straight road."""

    async def prepare(self) -> None:
        """Load the list of models, off the event loop, where that has not been done."""
        await prepare_model_list()

    def call(
        self, model: str, request: ModelRequest, pieces: ReplyPieces, watch: StreamWatch, *, is_streamed: bool
    ) -> HttpCall:
        """The call that asks a model by its plain name, whose chunks `pieces` takes."""
        endpoint = find_endpoint(model)
        assert endpoint is not None, "chosen for this road"
        parameters = withhold_environment_keys(request.parameters, endpoint.provider)
        question, answer_format = _make_question(endpoint, model, request, parameters, is_streamed=is_streamed)
        return HttpCall(question, answer_format, pieces, watch, is_streamed=is_streamed)

    def price(self, model: str, usage: Usage, chunk: Any) -> float | None:
        """The price by litellm's list; None where no price is known or nothing was counted."""
        endpoint = find_endpoint(model)
        assert endpoint is not None, "chosen for this road"
        return find_price(endpoint.provider, model_at(endpoint, model), usage, chunk)


def _make_question(
    endpoint: Endpoint, model: str, request: ModelRequest, parameters: dict[str, Any], *, is_streamed: bool
) -> tuple[Question, AnswerFormat]:
    """The question in the endpoint's format, and the format of its answer."""
    own_name, key = model_at(endpoint, model), endpoint.find_key(parameters)
    address = endpoint.find_address(parameters)
    if address is None:
        raise _refuse(f"no address: set {endpoint.address_variables[0]}, or the parameter api_base")
    if key is None:
        problem = f"{model}: no key: set {endpoint.key_variables[-1]}, or the parameter api_key"
        raise ModelError("unauthorized", problem, retryable=False, is_ours=True)
    form = anthropic_request if endpoint.format == "anthropic" else openai_request
    headers = {"Content-Type": "application/json", **dict(form.list_headers(endpoint, request, key))}
    question = Question(
        _find_url(address, _PATHS[endpoint.format]),
        _override(headers, request.parameters.get("extra_headers") or {}),
        lambda: _write(form.build_body(endpoint, own_name, request, is_streamed=is_streamed)),
    )
    return question, AnthropicAnswer() if endpoint.format == "anthropic" else OpenAIAnswer()


def _find_url(address: str, path: str) -> URL:
    """The address of the format's own path, which an address may end with already."""
    if host_of(address) == "" or not address.startswith(("http://", "https://")):
        raise _refuse(f"api_base is {address!r}: no address of HTTP")
    url = URL(address)
    start = url.raw_path.rstrip("/")
    common = next((part for part in _ends_of(path) if start.endswith(part)), "")
    return url.with_path(start.removesuffix(common) + path, encoded=True, keep_query=True)


def _ends_of(path: str) -> tuple[str, ...]:
    """The ends of a path that an address may have already: all of it, or its version."""
    return (path, "/v1") if path.startswith("/v1/") else (path,)


def _override(headers: dict[str, str], extra_headers: dict[str, Any]) -> dict[str, str]:
    """The headers with those that the caller gives in place of equal ones."""
    names = {str(name).lower() for name in extra_headers}
    kept_headers = {name: value for name, value in headers.items() if name.lower() not in names}
    return kept_headers | {str(name): str(value) for name, value in extra_headers.items()}


def _write(body: dict[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise _refuse(f"cannot be written as JSON: {type(error).__name__}") from None


def _refuse(problem: str) -> ModelError:
    return ModelError("refused", f"parameters: {problem}", retryable=False, is_ours=True)
