"""Which parameters say as whom and where to ask."""

import pytest

from agent.agent import Agent
from agent.models.credentials import NO_KEY, for_another_provider, is_credential, withhold_environment_keys

ACCOUNT = (
    *("api_key", "api_base", "base_url", "api_version", "organization", "extra_headers", "headers", "extra_query"),
    *("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_region_name", "aws_profile_name"),
    *("vertex_credentials", "vertex_project", "vertex_location", "azure_ad_token", "azure_ad_token_provider"),
    *("tenant_id", "client_id", "client_secret", "azure_password", "watsonx_project", "token", "hf_token"),
)
ANSWER = ("temperature", "max_tokens", "logit_bias", "response_format", "tool_choice", "stop", "reasoning_effort")


@pytest.mark.parametrize("name", ACCOUNT)
def test_what_says_as_whom_is_told_from_what_is_asked(name: str) -> None:
    assert is_credential(name)
    assert for_another_provider({name: "x"}) == {}


@pytest.mark.parametrize("name", ANSWER)
def test_how_to_answer_is_no_credential_and_said_to_every_provider(name: str) -> None:
    assert not is_credential(name)
    assert for_another_provider({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("name", ["top_k", "extra_body", "max_thinking_tokens", "user", "monkey", "prompt_cache_key"])
def test_what_is_asked_of_one_provider_alone_is_no_credential(name: str) -> None:
    assert not is_credential(name)


def test_an_agent_is_the_same_after_its_key_was_changed_and_never_shows_it() -> None:
    old, new = (Agent(name="a", parameters={"api_key": key, "aws_secret_access_key": key}) for key in ("old", "new"))

    assert old.version == new.version
    assert "old" not in repr(old)
    assert Agent(name="a", parameters={"temperature": 1}).version != old.version


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"api_key": "mine"},
        {"api_base": "https://a.example", "api_key": "mine"},
        {"api_base": "https://a.example", "azure_ad_token": "mine"},
        {"api_base": "https://a.example", "vertex_credentials": "mine"},
    ],
)
@pytest.mark.parametrize("provider", ["openai", "azure", "vertex_ai", "bedrock"])
def test_parameters_without_an_address_or_with_a_key_stay_as_they_are(parameters, provider) -> None:
    assert withhold_environment_keys(parameters, provider) == parameters


@pytest.mark.parametrize("other", ["prompt_cache_key", "eos_token", "extra_headers"])
def test_what_is_no_key_is_not_taken_for_one(other: str) -> None:
    guarded = withhold_environment_keys({"api_base": "https://a.example", other: "x"}, "openai")

    assert guarded == {"api_base": "https://a.example", other: "x", "api_key": NO_KEY}
