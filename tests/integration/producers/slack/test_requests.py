"""What Slack sends to a gateway: who is heard, and what is answered at once."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from conversation.errors import InvalidSettings
from producers.http.app import create_gateway, run_gateway
from producers.slack import create_slack_app, workspaces_of
from store.settings import Settings, load
from tests.integration.producers.backend import silent_server
from tests.integration.producers.slack.stage import TENANT, Process, Stage
from tests.stub_slack import payloads
from tests.stub_slack.payloads import SECRET, TEAM


def challenge() -> bytes:
    return json.dumps(
        {"token": "XXYYZZ", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd", "type": "url_verification"}
    ).encode()


async def test_slack_verifies_the_address(stage: Stage) -> None:
    response = await stage.process().post("/slack/events", challenge())

    assert (response.status_code, response.json()) == (200, {"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        payloads.signed(challenge(), secret="another"),
        payloads.signed(challenge(), at=time.time() - 301),
        payloads.signed(challenge() + b" "),
    ],
)
async def test_what_slack_has_not_signed_is_not_heard(stage: Stage, headers: dict[str, str]) -> None:
    process = stage.process()

    response = await process.client.post("/slack/events", content=challenge(), headers=headers)

    assert (response.status_code, response.json()) == (401, {"error": "not signed by Slack"})


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_object_is_refused(stage: Stage, body: bytes) -> None:
    assert (await stage.process().post("/slack/events", body)).status_code == 400


async def test_a_body_that_is_too_large_is_refused(stage: Stage) -> None:
    assert (await stage.process().post("/slack/events", b" " * (1024 * 1024 + 1))).status_code == 413


async def test_other_methods_are_refused(stage: Stage) -> None:
    assert (await stage.process().client.get("/slack/events")).status_code == 405


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "app_rate_limited", "team_id": TEAM, "minute_rate_limited": 1518467820, "api_app_id": "A1"},
        {"type": "event_callback"},
        {"type": ["x"]},
        payloads.envelope({"type": "app_home_opened", "user": "U0ANN", "channel": "D0ANN", "tab": "home"}),
        payloads.envelope(payloads.mention(), team="T0NOBODY"),
    ],
)
async def test_what_is_no_message_is_answered_and_passed_over(stage: Stage, payload: dict[str, Any]) -> None:
    response = await stage.process().post("/slack/events", json.dumps(payload).encode())

    assert (response.status_code, stage.rows()) == (200, [])


async def test_a_request_is_answered_before_anything_is_asked_of_slack(stage: Stage) -> None:
    with silent_server() as port:
        process = stage.process(slack_api_url=f"http://127.0.0.1:{port}/api/")

        async with asyncio.timeout(3):
            response = await process.deliver(payloads.mention())

        assert response.status_code == 200
        await process.app.close_async()


async def test_without_its_database_slack_is_told_to_send_it_again(stage: Stage) -> None:
    with silent_server() as port:
        url = SecretStr(f"postgresql://nobody@127.0.0.1:{port}/none")
        process = stage.process(database_url=url, db_connect_timeout_seconds=3)

        began_at = time.monotonic()
        response = await process.deliver(payloads.mention())

        assert response.status_code == 503
        assert time.monotonic() - began_at < 3
        await process.app.close_async()


@pytest.fixture
def gateway_settings(settings: Settings, stage: Stage) -> Settings:
    return settings.model_copy(
        update={
            "slack_signing_secret": SecretStr(SECRET),
            "slack_bot_tokens": SecretStr(f"{TEAM}=xoxb-acme"),
            "slack_tenants": (f"{TEAM}={TENANT}",),
            "slack_api_url": stage.slack.api_url,
        }
    )


async def test_a_gateway_serves_slack_where_the_settings_say_so(gateway_settings: Settings, stage: Stage) -> None:
    gateway = create_gateway(gateway_settings)
    async with run_gateway(gateway):
        transport = httpx.ASGITransport(gateway)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            process = Process(gateway.state.slack, gateway.state.gateway.producer, client)
            response = await process.deliver(payloads.mention())
            await stage.answer("It is on its way.")
            await stage.sees("It is on its way.")

    assert response.status_code == 200


async def test_a_gateway_without_a_signing_secret_has_no_such_address(settings: Settings) -> None:
    gateway = create_gateway(settings)
    async with run_gateway(gateway):
        transport = httpx.ASGITransport(gateway)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            assert (await client.post("/slack/events", content=b"{}")).status_code == 404


async def test_by_itself_it_is_an_app_with_a_lifespan(gateway_settings: Settings, stage: Stage) -> None:
    app = create_slack_app(gateway_settings)
    received = asyncio.Queue[dict[str, Any]]()
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    serving = asyncio.create_task(app({"type": "lifespan"}, received.get, send))
    for kind in ("startup", "shutdown"):
        received.put_nowait({"type": f"lifespan.{kind}"})
    await serving

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_the_settings_name_workspaces() -> None:
    settings = load(
        slack_bot_tokens="T0ACME=xoxb-1, T0RIVAL=xoxb-2=", slack_tenants="T0ACME=acme", slack_agent="support"
    )

    workspaces = workspaces_of(settings)

    assert {team: (each.tenant, each.bot_token, each.agent) for team, each in workspaces.items()} == {
        "T0ACME": ("acme", "xoxb-1", "support"),
        "T0RIVAL": ("T0RIVAL", "xoxb-2=", "support"),
    }
    assert "xoxb" not in repr(workspaces)


@pytest.mark.parametrize(
    "values",
    [
        {"slack_bot_tokens": "xoxb-secret"},
        {"slack_bot_tokens": "T0ACME="},
        {"slack_bot_tokens": "T0ACME=xoxb-1,T0ACME=xoxb-2"},
        {"slack_tenants": "T0ACME=acme,T0ACME=rival"},
        {"slack_tenants": "acme"},
        {"slack_tenants": "T0ACME=a b"},
        {"slack_api_url": "http://slack.example/api"},
        {"slack_edit_interval_seconds": "0"},
    ],
)
def test_a_wrong_setting_is_one_line_without_a_secret(values: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings) as raised:
        load(**values)

    (name,) = values
    assert str(raised.value).startswith(f"THREADMILL_{name.upper()}")
    assert "xoxb-secret" not in str(raised.value)


def test_without_a_signing_secret_there_is_no_app(settings: Settings) -> None:
    with pytest.raises(InvalidSettings, match="THREADMILL_SLACK_SIGNING_SECRET: is not set"):
        create_slack_app(settings)
