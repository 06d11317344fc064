"""Which account is asked: an agent's own questions and summaries under its own, and nothing else under it.

Two stubs: `provider` is the agent's own server, `environment` the one that the worker's variables name.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from agent.agent import Agent
from agent.models.protocol import ModelRequest
from conversation.errors import InvalidInput, ModelError
from conversation.message import Message
from conversation.summary import Draft, SummaryDefaults
from conversation.water_marks import WaterMarks
from tests.stub_openai import API_KEY, Received, StubOpenAI, reply, status

pytestmark = pytest.mark.soak

ENVIRONMENT_KEY = "sk-environment-0123456789"
GOOD = json.dumps({"facts": ["They talked."], "ok": True})
DRAFT = Draft(
    thread_key=1,
    previous_id=None,
    previous_content="",
    from_seq=1,
    to_seq=2,
    covered_messages=(Message(role="user", content="a private word"),),
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubOpenAI]:
    with StubOpenAI() as stub:
        for name, value in stub.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OPENAI_API_KEY", ENVIRONMENT_KEY)
        yield stub


def own(provider: StubOpenAI, **options: Any) -> Agent:
    parameters = {"api_base": provider.base_url, "api_key": API_KEY, "extra_headers": {"X-Team": "blue"}, "n": 1}
    return Agent(**{"name": "own", "model_name": "openai/own", "parameters": parameters, **options})


def defaults(**values: Any) -> SummaryDefaults:
    marks = WaterMarks(high_messages=0, high_tokens=0, low_messages=1, low_tokens=0)
    options = {"model": "openai/default", "summary_model": "", "max_chars": 4000, "is_checked": False}
    return SummaryDefaults(**{"marks": marks, **options, **values})


def accounts(stub: StubOpenAI) -> list[tuple[str, str]]:
    return [(received.body["model"], received.headers["authorization"]) for received in stub.requests]


def secrets_in(received: Received) -> bool:
    return API_KEY in f"{received.headers} {received.body}" or "x-team" in received.headers


@pytest.mark.parametrize("named", [{}, {"summary_model": "openai/own"}])
@pytest.mark.parametrize("is_checked", [True, False])
async def test_a_summary_by_the_agents_own_model_asks_its_own_account(provider, environment, named, is_checked):
    provider.answer_with(lambda _: reply(GOOD))

    await own(provider, **named, temperature=0.9).summarizer(defaults(is_checked=is_checked)).summarize(DRAFT)

    assert environment.requests == []
    assert accounts(provider) == [("own", f"Bearer {API_KEY}")] * (1 + is_checked)
    assert provider.requests[-1].headers["x-team"] == "blue"
    # How it answers in a conversation is not how a summary is to be written.
    assert {"temperature", "n"} & provider.requests[-1].body.keys() == set()


@pytest.mark.parametrize(
    ("options", "settings"),
    [({"summary_model": "openai/another"}, {}), ({}, {"summary_model": "openai/another"})],
    ids=["of the agent", "of the settings"],
)
@pytest.mark.parametrize("is_checked", [True, False])
async def test_a_summary_by_another_model_has_none_of_its_credentials(
    provider, environment, options, settings, is_checked
):
    environment.answer_with(lambda _: reply(GOOD))

    await own(provider, **options).summarizer(defaults(**settings, is_checked=is_checked)).summarize(DRAFT)

    assert provider.requests == []
    assert accounts(environment) == [("another", f"Bearer {ENVIRONMENT_KEY}")] * (1 + is_checked)
    assert not any(map(secrets_in, environment.requests))


async def test_an_agent_gives_another_model_an_account_for_its_summaries(provider, environment):
    account = {"api_base": provider.base_url, "api_key": "sk-for-summaries", "max_tokens": 900}
    provider.answer_with(lambda _: reply(GOOD))
    agent = Agent(name="a", model_name="openai/own", summary_model="openai/another", summary_parameters=account)

    await agent.summarizer(defaults()).summarize(DRAFT)

    assert (environment.requests, accounts(provider)) == ([], [("another", "Bearer sk-for-summaries")])
    assert provider.requests[0].body["max_tokens"] == 900


async def test_what_belongs_to_one_provider_is_not_told_to_another(provider, environment, model, monkeypatch):
    """Not even what nobody here has heard of; how to answer is asked of both."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-anthropic-environment")
    monkeypatch.setenv("ANTHROPIC_API_BASE", provider.base_url)
    provider.answer_with(lambda _: status(401))
    environment.answer_with(lambda _: reply("Hi."))
    secrets = {"aws_secret_access_key": "S3CRET", "vertex_credentials": "S3CRET", "new_token": "S3CRET"}
    headers = {"extra_headers": {"X-Team": "S3CRET"}, "extra_body": {"account": "S3CRET"}, "unheard_of": "S3CRET"}
    request = ModelRequest(
        model="anthropic/claude-sonnet-4-5",
        messages=[{"role": "user", "content": "Hello?"}],
        parameters={"api_key": "S3CRET", "temperature": 0.5, **secrets, **headers},
        fallbacks=["openai/another"],
        max_attempts=1,
    )

    await model.complete(request)

    (received,) = environment.requests
    assert "S3CRET" not in f"{received.headers} {received.body}"
    assert received.body["temperature"] == 0.5
    assert "S3CRET" not in repr(request)


@pytest.mark.parametrize(
    ("model_name", "variable", "parameters"),
    [
        ("openai/own", "OPENAI_API_KEY", {}),
        ("openai/own", "OPENAI_API_KEY", {"extra_headers": {"x-api-key": "mine"}}),
        ("mistral/own", "MISTRAL_API_KEY", {}),
        ("deepseek/own", "DEEPSEEK_API_KEY", {}),
        ("anthropic/own", "ANTHROPIC_API_KEY", {}),
        ("gemini/own", "GEMINI_API_KEY", {}),
        ("azure/own", "AZURE_API_KEY", {"api_version": "2024-10-21"}),
        ("azure/own", "AZURE_AD_TOKEN", {"api_version": "2024-10-21"}),
        ("bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0", "AWS_BEARER_TOKEN_BEDROCK", {}),
    ],
)
async def test_an_address_of_the_agents_own_gets_no_key_of_the_environment(
    provider, model, monkeypatch, *, model_name, variable, parameters
):
    monkeypatch.setenv("AWS_REGION_NAME", "us-east-1")
    monkeypatch.setenv(variable, ENVIRONMENT_KEY)
    provider.answer_with(lambda _: status(401))
    request = ModelRequest(
        model=model_name,
        messages=[{"role": "user", "content": "Hello?"}],
        parameters={"api_base": provider.base_url, **parameters},
        max_attempts=1,
        timeout_seconds=5,
    )

    with pytest.raises(ModelError):
        await model.complete(request)

    assert provider.requests
    assert not [each for each in provider.requests if ENVIRONMENT_KEY in f"{each.path} {each.headers} {each.body}"]


@pytest.mark.parametrize("model_name", ["openai/own", "azure/own"])
async def test_a_key_of_the_agents_own_is_not_used_for_the_organization_of_the_environment(
    provider, model, monkeypatch, model_name
):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-environment")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-the-environment")
    provider.answer_with(lambda _: reply("Hi."))
    own_account = {"api_base": provider.base_url, "api_key": API_KEY, "api_version": "2024-10-21"}
    request = ModelRequest(model=model_name, messages=[{"role": "user", "content": "Hello?"}], parameters=own_account)

    await model.complete(request)
    (received,) = provider.requests
    assert "of-the-environment" not in str(received.headers)

    if model_name == "openai/own":
        await model.complete(replace(request, parameters={**own_account, "organization": "org-own"}))
        assert provider.requests[-1].headers["openai-organization"] == "org-own"


async def test_an_address_is_not_sent_the_token_of_the_machine(provider, model):
    request = ModelRequest(
        model="vertex_ai/gemini-2.5-pro",
        messages=[{"role": "user", "content": "Hello?"}],
        parameters={"api_base": provider.base_url},
        max_attempts=1,
    )

    with pytest.raises(ModelError, match="vertex_credentials") as raised:
        await model.complete(request)

    assert (raised.value.kind, provider.requests) == ("refused", [])


async def test_a_summary_asks_no_more_than_its_agent_allows(provider, environment):
    provider.answer_with(lambda _: reply("no summary"))

    with pytest.raises(ModelError, match="1 are allowed") as raised:
        await own(provider, max_summary_tokens=1).summarizer(defaults()).summarize(DRAFT)
    assert (provider.requests, raised.value.kind) == ([], "summary_token_limit")

    # The first call fits; the second, which its useless answer asks for, would not.
    with pytest.raises(ModelError, match="360 are allowed"):
        await own(provider, max_summary_tokens=360).summarizer(defaults()).summarize(DRAFT)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("limit", ["max_summary_tokens", "max_summary_cost"])
def test_a_limit_of_nothing_is_refused(limit):
    with pytest.raises(InvalidInput, match=limit):
        Agent(name="a", **{limit: 0})
