"""One request fitted to each provider, as a table: what goes in, and what goes out."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from agent.models.call_fitting import fit_arguments
from agent.models.content_fitting import NO_OUTPUT, NO_PICTURE, NO_TEXT
from agent.models.profiles import PROFILES, PROVIDERS, find_api_base, profile_for
from agent.models.protocol import ModelRequest
from agent.models.request_fitting import INSTRUCTION, NO_QUESTION, NO_REPLY, NO_USER, fit_request

LONG_ID = "call_" + "x" * 60


def system(text: str, **keys: Any) -> dict[str, Any]:
    return {"role": "system", "content": text, **keys}


def user(content: Any, **keys: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **keys}


def assistant(text: str | None, *ids: str, **keys: Any) -> dict[str, Any]:
    function = {"name": "look", "arguments": "{}"}
    calls = [{"id": id_, "type": "function", "function": function} for id_ in ids]
    return {"role": "assistant", "content": text, **({"tool_calls": calls} if ids else {}), **keys}


def result(call_id: str, content: str = '"fine"') -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "name": "look", "content": content}


def fit(profile: str, *messages: dict[str, Any], **values: Any) -> list[dict[str, Any]]:
    request = ModelRequest(model="m", messages=messages, **values)
    return [dict(message) for message in fit_request(request, PROFILES[profile]).messages]


def said(messages: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(message["role"], message["content"]) for message in messages]


@pytest.mark.parametrize(
    ("name", "api_base", "profile"),
    [
        ("openai/gpt-5", None, "openai"),
        ("openai/gpt-5", "https://api.openai.com/v1", "openai"),
        ("openai/gpt-5", "http://127.0.0.1:8000/v1", "openai"),
        ("openai/gpt-oss-120b", "http://127.0.0.1:8000/v1", "compatible"),
        ("openai/our-own", "http://127.0.0.1:8000/v1", "compatible"),
        ("azure/our-deployment", "https://x.openai.azure.com", "openai"),
        ("gpt-5", None, "openai"),
        ("o3", None, "openai"),
        ("claude-opus-4-5", None, "anthropic"),
        ("anthropic/claude-opus-4-5", None, "anthropic"),
        ("vertex_ai/claude-sonnet-4-5@20250929", None, "anthropic"),
        ("bedrock/converse/anthropic.claude-sonnet-4", None, "bedrock"),
        ("gemini/gemini-3-pro", None, "gemini"),
        ("vertex_ai/gemini-2.5-pro", None, "gemini"),
        ("vertex_ai/mistral-large@2411", None, "mistral"),
        ("vertex_ai/meta/llama-4", None, "compatible"),
        ("mistral/mistral-large-latest", None, "mistral"),
        ("hosted_vllm/mistralai/Devstral-Small", "http://gpu:8000/v1", "mistral"),
        ("openrouter/mistralai/mistral-large", None, "mistral"),
        ("openrouter/anthropic/claude-opus-4.5", None, "openrouter"),
        ("deepseek/deepseek-chat", None, "deepseek"),
        ("moonshot/kimi-k2.5", None, "deepseek"),
        ("openai/Kimi-K2-Instruct", "http://gpu:8000/v1", "deepseek"),
        ("ollama_chat/qwen3", None, "compatible"),
        ("some-model", None, "compatible"),
        ("litellm/anthropic/claude-opus-4-5", None, "anthropic"),
        ("litellm/gpt-5", None, "openai"),
        ("openai/our-own", "http://[::1", "compatible"),
    ],
)
def test_a_models_name_and_address_tell_its_profile(name: str, api_base: str | None, profile: str) -> None:
    assert profile_for(name, api_base).name == profile


def test_the_address_comes_from_the_parameters_or_openais_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", "http://gpu:8000/v1")

    assert find_api_base("openai/x", {"base_url": "http://other/v1"}) == "http://other/v1"
    assert find_api_base("openai/x", {}) == "http://gpu:8000/v1"
    assert find_api_base("anthropic/x", {}) is None


def test_each_provider_names_a_profile() -> None:
    assert set(PROVIDERS.values()) <= set(PROFILES)


def test_system_texts_that_hold_go_to_the_front_and_those_that_ask_stay() -> None:
    thread = [
        system("Be kind."),
        user("Hi."),
        assistant("Hello."),
        system("Speak French."),
        user("Well?"),
        assistant("Oui."),
        system("Ask how it went.", asks=True),
    ]

    fitted = fit("compatible", *thread)

    assert said(fitted) == [
        ("system", "Be kind.\n\nSpeak French."),
        ("user", "Hi."),
        ("assistant", "Hello."),
        ("user", "Well?"),
        ("assistant", "Oui."),
        ("user", f"{INSTRUCTION}Ask how it went."),
    ]
    assert said(fit("openai", *thread)) == said(thread)
    assert "asks" not in fit("openai", *thread)[-1]


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "openai"])
def test_the_request_ends_with_what_asks(profile: str) -> None:
    asked = ("user", f"{INSTRUCTION}Ask.")

    assert said(fit(profile, system("Be kind."), system("Ask."))) == [("system", "Be kind."), asked]
    assert said(fit(profile, system("Ask.", asks=True))) == [asked]
    assert said(fit(profile, user("a"), assistant("b"), system("Ask.")))[-1] == asked
    # A system text beside the user's words holds, and does not ask.
    assert said(fit(profile, user("a"), system("Hold."))) == [("system", "Hold."), ("user", "a")]
    assert said(fit(profile, system("Be kind."))) == [("system", "Be kind."), ("user", NO_QUESTION)]
    assert said(fit(profile, user("a"), assistant("b")))[-1] == ("user", NO_QUESTION)
    assert said(fit(profile, assistant("Hello!"), user("Yes."))) == [
        ("user", NO_USER),
        ("assistant", "Hello!"),
        ("user", "Yes."),
    ]


def test_neighbours_of_one_role_become_one_message() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}

    fitted = fit("compatible", user("One."), user([picture]), assistant("a"), assistant(None, "c"), result("c"))

    assert fitted[0]["content"] == [{"type": "text", "text": "One."}, picture]
    assert fitted[1] == {"role": "assistant", "content": "a", "tool_calls": assistant(None, "c")["tool_calls"]}


def test_an_assistant_speaks_between_a_result_and_a_user_where_that_is_asked_for() -> None:
    thread = (user("a"), assistant(None, "abcdefgh1"), result("abcdefgh1"), user("b"))

    assert said(fit("mistral", *thread))[3:] == [("assistant", NO_REPLY), ("user", "b")]
    assert said(fit("anthropic", *thread))[3:] == [("user", "b")]


@pytest.mark.parametrize("profile", PROFILES)
def test_ids_are_short_and_unique_and_stay_with_their_results(profile: str) -> None:
    ids = ["a", LONG_ID, "call[1]", "é", "functions.look:0", ""]
    thread = [m for _ in range(3) for m in (assistant(None, *ids), *(result(id_) for id_ in ids))]

    fitted = fit(profile, user("Go."), *thread)

    sent = [call["id"] for message in fitted for call in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in fitted if message["role"] == "tool"]
    assert sent == answered
    assert len(set(sent)) == 18
    assert all(re.fullmatch(PROFILES[profile].call_id, id_) for id_ in sent)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_longer_request_begins_with_the_shorter_one(profile: str) -> None:
    thread = [user("Go.", name="Ann"), user("On.")]
    for _ in range(4):
        thread += [assistant(None, LONG_ID, "x"), result(LONG_ID), result("x", ""), assistant("Done."), user("Again.")]
        thread += [assistant(" "), user("")]
    requests = [fit(profile, *thread[:end]) for end, m in enumerate(thread, start=1) if m["role"] == "user"]
    longest = requests[-1]

    for shorter in requests[1:]:
        # Its last message may have grown: two users who follow each other are one.
        assert shorter[:-1] == longest[: len(shorter) - 1]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("", {}),
        ("  {} ", {}),
        ('{"a": NaN, "b": [1e999, -Infinity]}', {"a": "NaN", "b": ["Infinity", "-Infinity"]}),
        ('{"a": "\\ud83d", "\\ud83d": 1}', {"a": "?", "?": 1}),
        (f'{{"a": {10**400}}}', {"a": str(10**400)}),
        ("[1]", {"invalid_arguments": "[1]"}),
        ("null", {"invalid_arguments": "null"}),
        ("{'a': 1}", {"invalid_arguments": "{'a': 1}"}),
    ],
)
def test_arguments_are_one_object_of_plain_json(written: str, sent: dict[str, Any]) -> None:
    assert json.loads(fit_arguments(written), parse_constant=pytest.fail) == sent


@pytest.mark.parametrize("text", ['{"b": 1.0, "a":  2}', '{"a": "\\u00e9 é"}', '{"a": {"b": [1e300, -0.0]}}'])
def test_arguments_that_can_be_sent_are_sent_as_the_model_wrote_them(text: str) -> None:
    assert fit_arguments(text) == text


def test_what_a_provider_does_not_take_has_a_line_in_its_place() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}
    blind = replace(PROFILES["compatible"], pictures=False)
    request = ModelRequest(model="m", messages=[user([{"type": "text", "text": "See:"}, picture])])

    assert fit_request(request, blind).messages == [user(f"See:\n\n{NO_PICTURE}")]
    assert fit("mistral", user("  "), assistant(None, "abcdefgh1"), result("abcdefgh1", " "))[::2] == [
        user(NO_TEXT),
        result("abcdefgh1", NO_OUTPUT),
    ]


def test_a_schema_is_read_without_references_and_one_that_names_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "kind": {"enum": [1, 2]}}}
    parameters = {"type": "object", "properties": {"root": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    tool = {"type": "function", "function": {"name": "walk", "description": "", "parameters": parameters}}

    fitted = {
        name: fit_request(ModelRequest(model="m", messages=[user("a")], tools=[tool]), PROFILES[name]).tools[0]
        for name in ("openai", "compatible", "gemini")
    }

    root = {"type": "object", "properties": {"next": {}, "kind": {"enum": [1, 2]}}}
    assert fitted["openai"]["function"] == {"name": "walk", "parameters": parameters}
    assert fitted["compatible"]["function"]["parameters"] == {"type": "object", "properties": {"root": root}}
    assert fitted["gemini"]["function"]["parameters"]["properties"]["root"]["properties"]["kind"] == {
        "description": "One of: 1, 2."
    }


def test_a_schema_from_elsewhere_becomes_one_that_parsers_take() -> None:
    path = {"type": "string", "pattern": r"^\p{L}+$"}
    choice = {"properties": {"path": path, "items": True}, "required": ["path"]}
    parameters = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "anyOf": [choice, {"required": ["url"]}],
        "properties": {"many": {"type": "array"}, "limit": {"type": "number", "default": float("inf")}},
        "additionalProperties": False,
    }
    tool = {"type": "function", "function": {"name": "read", "parameters": parameters}}

    for name in PROFILES:
        fitted = fit_request(ModelRequest(model="m", messages=[user("a")], tools=[tool]), PROFILES[name]).tools[0]
        assert fitted["function"]["parameters"] == {
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "items": {},
                "many": {"type": "array", "items": {}},
                "limit": {"type": "number"},
            },
            "additionalProperties": False,
        }


def test_references_are_followed_from_the_top_and_not_without_an_end() -> None:
    levels = {
        f"L{n}": {"type": "object", "properties": {key: {"$ref": f"#/$defs/L{n + 1}"} for key in "ab"}}
        for n in range(40)
    }
    tool = {"type": "function", "function": {"name": "read", "parameters": {"$ref": "#/$defs/L0", "$defs": levels}}}

    for name in PROFILES:
        fitted = fit_request(ModelRequest(model="m", messages=[user("a")], tools=[tool]), PROFILES[name]).tools[0]
        assert set(fitted["function"]["parameters"]["properties"]) == {"a", "b"}
        assert len(json.dumps(fitted)) < 100_000


@pytest.mark.parametrize(
    ("schema", "fitted"),
    [
        ({"type": ["string", "null"], "enum": ["a", None]}, {"type": "string", "nullable": True, "enum": ["a"]}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"oneOf": [{"type": "string"}, {"const": "x"}]}, {"anyOf": [{"type": "string"}, {"enum": ["x"]}]}),
        ({"allOf": [{"type": "string"}, {"minLength": 2}]}, {"type": "string", "minLength": 2}),
        ({"type": "array", "items": [{"type": "string"}]}, {"type": "array", "items": {"anyOf": [{"type": "string"}]}}),
    ],
)
def test_gemini_reads_choices_in_its_own_words(schema: dict[str, Any], fitted: dict[str, Any]) -> None:
    parameters = {"type": "object", "properties": {"a": schema}}
    tool = {"type": "function", "function": {"name": "read", "parameters": parameters}}

    request = fit_request(ModelRequest(model="m", messages=[user("a")], tools=[tool]), PROFILES["gemini"])

    assert request.tools[0]["function"]["parameters"]["properties"]["a"] == fitted


def test_a_request_without_tools_says_nothing_of_them() -> None:
    request = ModelRequest(model="m", messages=[user("a")], parameters={"tool_choice": "auto", "temperature": 1})

    assert fit_request(request, PROFILES["openai"]).parameters == {"temperature": 1}


def test_fields_go_to_the_family_that_made_them_alone() -> None:
    fields = {"family": "gemini", "thought_signatures": ["s"], "call_signatures": ["c"]}
    thread = (user("a"), assistant("b", "c", provider_fields=fields), result("c"))

    mine, other = fit("gemini", *thread)[1], fit("anthropic", *thread)[1]

    assert mine["provider_specific_fields"] == {"thought_signatures": ["s"]}
    assert mine["tool_calls"][0]["provider_specific_fields"] == {"thought_signature": "c"}
    assert set(other) == {"role", "content", "tool_calls"}
    assert set(other["tool_calls"][0]) == {"id", "type", "function"}


def test_reasoning_goes_back_with_calls_and_is_never_missing_where_it_is_demanded() -> None:
    known = assistant(None, "a", provider_fields={"family": "deepseek", "reasoning_content": "Because."})
    fitted = fit("deepseek", user("x"), known, result("a"), assistant(None, "b"), result("b"), assistant("Done."))

    assert [m.get("reasoning_content") for m in fitted if m["role"] == "assistant"] == ["Because.", ".", None]
