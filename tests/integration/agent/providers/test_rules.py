"""Each rule of each profile: the request that it fits is taken, and one without it is refused.

The stub of a profile refuses what its provider refuses. `BREACHES` has, for each rule, a history that breaks it
and the value of a profile that does not know the rule. `TAKEN_ANYWAY` names
where litellm itself sees to a rule.
"""

from dataclasses import fields, replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.agent import Agent
from agent.models.profiles import PROFILES, ProviderProfile
from agent.models.provider_model import ProviderModel
from agent.tools.tool import tool as make_tool
from conversation.errors import InvalidInput, ModelError
from tests.integration.agent.providers.histories import (
    PICTURE,
    SOUND,
    assistant,
    call,
    request,
    result,
    system,
    tool,
    user,
)
from tests.stub_providers import StubProviders, sign

pytestmark = pytest.mark.soak

LONG_ID = "call_" + "x" * 41
BLOCK = (user(), assistant("", call(LONG_ID)), result(LONG_ID))
REF = tool(at={"$ref": "#/$defs/Place"})
REF["function"]["parameters"]["$defs"] = {"Place": {"enum": [1, 2], "type": "integer"}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": sign("Hm.")}


def own(family: str, **values: Any) -> dict[str, Any]:
    return {"provider_fields": {"family": family, **values}}


#: Rule → the messages that break it, further values of the request, and the value that knows no rule.
BREACHES: dict[str, tuple[list[dict[str, Any]], dict[str, Any], Any]] = {
    "system_first": ([system("Be kind."), user(), assistant(), system("Speak French."), user()], {}, False),
    "roles_alternate": ([user(), user("Again."), assistant(), assistant("More."), user()], {}, False),
    "user_first": ([system("Be kind."), assistant("Hello!"), user("Yes, please.")], {}, False),
    "ends_with_question": ([user(), assistant()], {}, False),
    "reply_after_results": ([*BLOCK, user("And now?")], {}, False),
    "call_id": ([*BLOCK, assistant("", call(LONG_ID)), result(LONG_ID)], {}, r".*"),
    "refuses_empty": ([user(""), assistant("x"), user([{"type": "text", "text": " "}])], {}, False),
    "text_lists": ([user([{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}])], {}, True),
    "speaker_names": ([user(name="Ann")], {}, True),
    "result_names": (list(BLOCK), {}, True),
    "pictures": ([user([PICTURE])], {}, True),
    "sound": ([user([{"type": "text", "text": "Listen."}, SOUND])], {}, True),
    "parses_results": ([*BLOCK[:2], result(LONG_ID, '{"a": NaN, "b": "\\ud83d", "c": 1e999}')], {}, False),
    "declares_history": ([*BLOCK, assistant(), user()], {"tools": []}, False),
    "schema": ([user()], {"tools": [REF]}, "json"),
    "tool_name": ([user(), assistant("", call("a", "2fa")), result("a", name="2fa")], {}, r"[A-Za-z0-9_-]{1,64}"),
    "max_description_chars": ([user()], {"tools": [tool(description="x" * 2000)]}, None),
    "demands_reasoning": ([user(), assistant("", call("a")), result("a"), assistant(), user()], {}, False),
}
THINKING = {"parameters": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}
for family in ("anthropic", "bedrock"):
    thought = own(family, thinking_blocks=[THOUGHT])
    BREACHES[f"returned_fields of {family}"] = (
        [user(), assistant("", call("a"), **thought), result("a")],
        THINKING,
        (),
    )
    # A fallback of another family began the loop, and went on with it.
    first, last = ([assistant("", call(name), **own("openai")), result(name)] for name in ("b", "c"))
    BREACHES[f"checks_thinking of {family}"] = (
        [user(), *first, assistant("", call("a"), **thought), result("a"), *last],
        THINKING,
        False,
    )

#: Rules that are kept to when an agent is made: a name cannot be changed in a request.
OF_AGENTS = {"parameter_name", "max_tools"}
#: A rule for the parameters of fallbacks: see `test_fields.py`.
OF_FALLBACKS = {"takes_thinking"}

#: Where the provider takes it anyway, or litellm keeps to the rule by itself.
TAKEN_ANYWAY = {
    "system_first": {"anthropic", "gemini", "bedrock"},
    "roles_alternate": {"anthropic", "gemini", "bedrock"},
    "ends_with_question": {"openai"},
    "call_id": {"anthropic", "gemini", "bedrock"},
    "refuses_empty": {"anthropic"},
    "text_lists": {"mistral", "deepseek"},
    "speaker_names": {"anthropic", "gemini", "bedrock", "mistral"},
    "result_names": {"anthropic", "bedrock"},
    "sound": {"anthropic", "bedrock", "deepseek"},
    "declares_history": {"anthropic", "bedrock"},
    "schema": {"gemini", "bedrock"},
    "tool_name": {"bedrock"},
}
#: Of those, what litellm alone keeps to: on the straight road the profile's rule is the only one.
TAKEN_BY_LITELLM_ALONE = {
    "refuses_empty": {"anthropic"},
    "text_lists": {"mistral"},
    "speaker_names": {"mistral"},
    "declares_history": {"anthropic"},
}


def cells() -> list[tuple[str, str]]:
    """Each rule with each profile; a history that only one profile can have, with that one."""
    return [
        (breach, family)
        for breach in BREACHES
        for family in PROFILES
        if " of " not in breach or breach.endswith(f" of {family}")
    ]


def rule_of(breach: str) -> str:
    return breach.partition(" of ")[0]


def test_each_rule_has_a_history_that_breaks_it() -> None:
    rules = {rule.name for rule in fields(ProviderProfile)} - {"name"}

    assert {rule_of(breach) for breach in BREACHES} | OF_AGENTS | OF_FALLBACKS == rules


@pytest.mark.parametrize(("breach", "family"), cells())
async def test_a_request_that_breaks_a_rule_is_fitted(
    breach: str, family: str, stubs: StubProviders, model: ProviderModel
) -> None:
    messages, values, _ = BREACHES[breach]

    await model.complete(request(stubs, family, messages, profile=PROFILES[family], **values))

    assert stubs.refused == []


@pytest.mark.parametrize(
    ("breach", "family"),
    [
        (breach, family)
        for breach, family in cells()
        if getattr(PROFILES[family], rule_of(breach)) != BREACHES[breach][2]
    ],
)
async def test_a_request_that_breaks_a_strict_rule_is_refused_as_it_is(
    breach: str, family: str, stubs: StubProviders, model: ProviderModel
) -> None:
    messages, values, lax = BREACHES[breach]
    lax_profile = replace(PROFILES[family], **{rule_of(breach): lax})
    asked = request(stubs, family, messages, profile=lax_profile, **values)

    by_litellm_alone = TAKEN_BY_LITELLM_ALONE if type(model) is ProviderModel else {}
    if family in TAKEN_ANYWAY.get(breach, set()) - by_litellm_alone.get(breach, set()):
        await model.complete(asked)
    else:
        with pytest.raises(ModelError):
            await model.complete(asked)


@pytest.mark.parametrize("family", ["anthropic", "bedrock", "gemini", "openai", "deepseek"])
async def test_tools_that_a_provider_refuses_are_refused_when_the_agent_is_made(
    family: str, stubs: StubProviders, model: ProviderModel
) -> None:
    """A name cannot be changed in a request, for the model calls the tool by it."""

    def look(größe: int) -> int:  # noqa: PLC2401  the name is the subject
        return größe

    has_names = family in ("anthropic", "bedrock")
    tools = [make_tool(look)] if has_names else [make_tool(look, name=f"look_{n}") for n in range(513)]
    asked = request(stubs, family, [user()], profile=PROFILES[family], tools=[one.declaration() for one in tools])

    with pytest.raises(InvalidInput):
        Agent(name="a", model_name=stubs.model(family), tools=tools)
    with pytest.raises(ModelError):
        await model.complete(asked)


def test_tools_that_only_a_fallback_refuses_are_warned_of() -> None:
    def look(größe: int) -> int:  # noqa: PLC2401  the name is the subject
        return größe

    with capture_logs() as logs:
        Agent(name="a", model_name="openai/gpt-4o", fallbacks=["anthropic/claude-sonnet-4-5"], tools=[look])

    assert [entry["event"] for entry in logs] == ["tool_unfit_for_fallback"]
