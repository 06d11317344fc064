"""Histories that break a rule each, as the messages of a request before it is fitted."""

from typing import Any

from agent.models.protocol import ModelRequest
from tests.stub_providers import StubProviders

Messages = list[dict[str, Any]]


def system(text: str, **keys: Any) -> dict[str, Any]:
    return {"role": "system", "content": text, **keys}


def user(content: Any = "Hi.", **keys: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **keys}


def call(call_id: str, name: str = "look", arguments: str = '{"at": 1}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def assistant(text: str = "Yes.", *calls: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text or None, **({"tool_calls": list(calls)} if calls else {}), **keys}


def result(call_id: str, content: str = '"fine"', name: str = "look") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}


def tool(name: str = "look", description: str = "Look.", **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


LOOK = tool(at={"type": "integer"})
PICTURE = {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}


def request(stubs: StubProviders, family: str, messages: Messages, **values: Any) -> ModelRequest:
    """A request to the stub of a profile. What is refused is not tried again, what breaks is."""
    parameters = stubs.parameters(family) | values.pop("parameters", {})
    return ModelRequest(
        model=stubs.model(family),
        messages=messages,
        parameters=parameters,
        **({"tools": [LOOK], "max_attempts": 3, "timeout_seconds": 30} | values),
    )
