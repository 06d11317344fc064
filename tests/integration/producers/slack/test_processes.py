"""Slack's retries over two gateways that are processes of their own, one of which is killed: one turn, one answer."""

import asyncio
import json
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from store.settings import Settings
from tests.gateway_process import running_gateway
from tests.integration.producers.slack.slow_wire import SlowWire
from tests.integration.producers.slack.stage import TENANT, TOKEN, Stage
from tests.stub_slack import payloads
from tests.stub_slack.payloads import CHANNEL, SECRET, TEAM

SECOND_TS = "1700000009.000100"
SECOND_THREAD = f"slack-{TEAM}-{CHANNEL}-{SECOND_TS}"
#: Seconds that Slack waits for an answer.
SLACK_SECONDS = 3.0


def environment_of(settings: Settings, database_url: str, api_url: str) -> dict[str, str]:
    return {
        "THREADMILL_DATABASE_URL": database_url,
        "THREADMILL_BROKER_URL": settings.broker_url.get_secret_value(),
        "THREADMILL_FILE_STORE_URL": settings.file_store_url,
        "THREADMILL_SLACK_SIGNING_SECRET": SECRET,
        "THREADMILL_SLACK_BOT_TOKENS": f"{TEAM}={TOKEN}",
        "THREADMILL_SLACK_TENANTS": f"{TEAM}={TENANT}",
        "THREADMILL_SLACK_API_URL": api_url,
        "THREADMILL_SLACK_EDIT_INTERVAL_SECONDS": "0.05",
        "THREADMILL_LOG_LEVEL": "error",
        "PATH": "",
    }


@pytest.mark.soak
async def test_a_storm_of_retries_over_two_processes_one_of_which_is_killed_is_one_turn(
    stage: Stage, database_url: str
) -> None:
    with ExitStack() as stack:
        wire = stack.enter_context(SlowWire(database_url))
        environment = environment_of(stage.settings, wire.url, stage.slack.api_url)
        (one, one_url), (_, other_url) = (stack.enter_context(running_gateway(environment)) for _ in range(2))

        # One gateway is at work at an answer when it is killed.
        assert await deliver(one_url, payloads.mention(), "Ev01") == 200
        await stage.until(lambda: len(stage.slack.texts(CHANNEL)) == 1)
        # The database takes longer than Slack waits, and goes on behind its back, also of a process that is killed.
        wire.delay_seconds = 1.0
        second = payloads.mention(ts=SECOND_TS)
        slow = [deliver(url, second, "Ev02", retry=retry) for retry, url in enumerate((one_url, other_url))]
        statuses = await asyncio.gather(*slow)
        one.kill()
        wire.delay_seconds = 0.1
        statuses += [await deliver(other_url, second, "Ev02", retry=retry) for retry in (2, 3, 4)]
        await stage.let_claims_end()
        stage.settle(await stage.take(), "It is on its way.")
        stage.settle(await stage.take(SECOND_THREAD), "So is that one.")

        await stage.sees("It is on its way.", "So is that one.")
        assert statuses == [503, 503, 200, 200, 200]
        assert (stage.turns(), len(stage.rows())) == (2, 2)
        assert stage.slack.count("chat.postMessage") == 2


async def deliver(url: str, event: Any, event_id: str, *, retry: int = 0) -> int:
    """Slack delivers an event to a gateway; returns the status of its answer."""
    body = json.dumps(payloads.envelope(event, event_id)).encode()
    headers = payloads.signed(body) | ({"X-Slack-Retry-Num": str(retry)} if retry else {})
    async with httpx.AsyncClient(timeout=SLACK_SECONDS) as client:
        return (await client.post(f"{url}/slack/events", content=body, headers=headers)).status_code
