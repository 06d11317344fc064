"""What Gemini's `generateContent` refuses, of models that sign their calls."""

import json
import re
from typing import Any

from tests.stub_providers.answers import ANY_SIGNATURE, sign
from tests.stub_providers.rules import check_keys, check_schema, require

_BODY = {
    *("contents", "system_instruction", "systemInstruction", "tools", "toolConfig", "tool_config"),
    *("generationConfig", "safetySettings"),
}
_PARTS = {
    *("text", "inline_data", "inlineData", "file_data", "fileData", "function_call", "functionCall"),
    *("function_response", "functionResponse", "thoughtSignature"),
}
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}")


def check(body: dict[str, Any], dead_addresses: set[str]) -> None:
    """Refuse a request that Gemini would refuse."""
    check_keys(body, _BODY, "body")
    contents = body["contents"]
    require(contents and contents[0]["role"] == "user", "contents must begin with the role user")
    require(contents[-1]["role"] == "user", "contents must end with the role user")
    for earlier, content in zip([None, *contents], contents, strict=False):
        require(content["role"] in ("user", "model"), f"role {content['role']}")
        require(earlier is None or earlier["role"] != content["role"], "roles must alternate")
        require(content["parts"], "contents.parts must not be empty")
        for part in content["parts"]:
            _check_part(part, content["role"], dead_addresses)
        _check_results(_calls(earlier), _results(content), content)
    system = body.get("system_instruction") or body.get("systemInstruction")
    require(system is None or all(part["text"].strip() for part in system["parts"]), "an empty system instruction")
    _check_signatures(contents)
    _check_tools(body)


def _check_part(part: dict[str, Any], role: str, dead_addresses: set[str]) -> None:
    check_keys(part, _PARTS, "part")
    require(part.keys() - {"thoughtSignature"}, "an empty part")
    require("text" not in part or part["text"].strip(), "an empty text parameter")
    require(role == "model" or not _call(part), "a function call of a user")
    require(role == "user" or not _result(part), "a function response of a model")
    file = part.get("file_data") or part.get("fileData") or {}
    address = file.get("file_uri") or file.get("fileUri")
    require(address not in dead_addresses, f"Cannot fetch content from the provided URL {address}")
    if _call(part):
        require(_NAME.fullmatch(_call(part)["name"]), "name of a function")
        require(isinstance(_call(part)["args"], dict), "args of a function call")
        json.dumps(part, allow_nan=False)
    signature = part.get("thoughtSignature")
    text = _call(part).get("name") or part.get("text", "")
    require(signature in (None, ANY_SIGNATURE, sign(text)), "Thought signature is not valid")


def _check_results(calls: list[str], results: list[str], content: dict[str, Any]) -> None:
    require(
        sorted(calls) == sorted(results), "the number of function response parts is not that of function call parts"
    )
    require(not results or len(results) == len(content["parts"]), "a function response turn holds nothing else")


def _check_signatures(contents: list[dict[str, Any]]) -> None:
    """Refuse a first call without a signature in the turn that is under way."""
    start = max((n for n, c in enumerate(contents) if c["role"] == "user" and not _results(c)), default=0)
    for content in contents[start:]:
        first = next((part for part in content["parts"] if _call(part)), None)
        require(first is None or first.get("thoughtSignature"), "Function call is missing a thought_signature")


def _check_tools(body: dict[str, Any]) -> None:
    functions = [f for tool in body.get("tools", ()) for f in tool.get("function_declarations", ())]
    require(len(functions) <= 512, "too many function declarations")
    for tool in body.get("tools", ()):
        for function in tool.get("function_declarations") or tool.get("functionDeclarations") or ():
            check_keys(function, {"name", "description", "parameters"}, "function declaration")
            require(_NAME.fullmatch(function["name"]), "Invalid function name")
            check_schema(function.get("parameters", {}), refs=False, gemini=True)


def _calls(content: dict[str, Any] | None) -> list[str]:
    return [_call(part)["name"] for part in (content or {"parts": ()})["parts"] if _call(part)]


def _results(content: dict[str, Any]) -> list[str]:
    return [_result(part)["name"] for part in content["parts"] if _result(part)]


def _call(part: dict[str, Any]) -> dict[str, Any]:
    return part.get("function_call") or part.get("functionCall") or {}


def _result(part: dict[str, Any]) -> dict[str, Any]:
    return part.get("function_response") or part.get("functionResponse") or {}
