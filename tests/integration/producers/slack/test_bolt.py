"""An agent in an app of Slack's own framework, the real one: async and sync."""

import asyncio
import json
from typing import Any

from pydantic import SecretStr
from slack_bolt import App, BoltRequest
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_bolt.authorization import AuthorizeResult

from producers.producer import Producer
from producers.slack import SlackApp, attach_to_bolt
from tests.integration.producers.backend import silent_server
from tests.integration.producers.slack.stage import Stage
from tests.stub_slack import payloads
from tests.stub_slack.payloads import BOT, CHANNEL, SECRET


def authorized() -> AuthorizeResult:
    return AuthorizeResult(enterprise_id=None, team_id=payloads.TEAM, bot_token="xoxb-acme", bot_user_id=BOT)


async def authorize_async(**_: Any) -> AuthorizeResult:
    return authorized()


def authorize(**_: Any) -> AuthorizeResult:
    return authorized()


def request_of(payload: dict[str, Any]) -> dict[str, Any]:
    """A request as Bolt has it."""
    body = json.dumps(payload)
    return {"body": body, "headers": {name: [value] for name, value in payloads.signed(body.encode()).items()}}


def form_of(payload: dict[str, Any]) -> dict[str, Any]:
    body = payloads.as_form(payload)
    headers = payloads.signed(body) | {"Content-Type": "application/x-www-form-urlencoded"}
    return {"body": body.decode(), "headers": {name: [value] for name, value in headers.items()}}


async def test_an_async_app_hears_the_agents_messages(stage: Stage) -> None:
    app = AsyncApp(signing_secret=SECRET, authorize=authorize_async)
    attach_to_bolt(app, stage.process().app)

    for _ in range(3):
        response = await app.async_dispatch(AsyncBoltRequest(**request_of(payloads.envelope(payloads.mention()))))
        assert response.status == 200
    claimed = await stage.answer("It is on its way.")
    press = payloads.press("threadmill_stop", claimed.id)
    pressed = await app.async_dispatch(AsyncBoltRequest(**form_of(press)))

    await stage.sees("It is on its way.")
    assert (stage.turns(), pressed.status) == (1, 200)


async def test_other_listeners_of_the_app_hear_the_rest(stage: Stage) -> None:
    app, heard = AsyncApp(signing_secret=SECRET, authorize=authorize_async), asyncio.Event()
    attach_to_bolt(app, stage.process().app)

    @app.event("reaction_added")
    async def listen(event: dict[str, Any]) -> None:
        heard.set()

    item = {"type": "message", "channel": CHANNEL, "ts": "1.0"}
    reaction = {"type": "reaction_added", "user": "U0ANN", "reaction": "eyes", "item": item, "event_ts": "1.0"}
    response = await app.async_dispatch(AsyncBoltRequest(**request_of(payloads.envelope(reaction))))

    assert response.status == 200
    await asyncio.wait_for(heard.wait(), 5)


async def test_an_event_that_cannot_be_stored_is_not_taken(stage: Stage) -> None:
    with silent_server() as port:
        url = SecretStr(f"postgresql://nobody@127.0.0.1:{port}/none")
        process = stage.process(database_url=url, db_connect_timeout_seconds=1)
        app = AsyncApp(signing_secret=SECRET, authorize=authorize_async)
        attach_to_bolt(app, process.app)

        request = AsyncBoltRequest(**request_of(payloads.envelope(payloads.mention())))
        response = await app.async_dispatch(request)

        assert response.status == 500
        await process.app.close_async()


async def test_a_sync_app_hears_them_on_a_loop_of_the_agents_own(stage: Stage) -> None:
    values = {"slack_api_url": stage.slack.api_url, "slack_edit_interval_seconds": 0.01}
    producer = Producer(stage.settings.model_copy(update=values))
    slack = SlackApp(producer, SECRET, stage.workspaces)
    app = App(signing_secret=SECRET, authorize=authorize)
    attach_to_bolt(app, slack)

    request = BoltRequest(**request_of(payloads.envelope(payloads.mention())))
    response = await asyncio.to_thread(app.dispatch, request)
    await stage.answer("It is on its way.")

    await stage.sees("It is on its way.")
    assert response.status == 200
    loop = slack._deliveries._loops[0].get_loop()  # type: ignore[union-attr]
    asyncio.run_coroutine_threadsafe(slack.close_async(), loop).result(5)
    asyncio.run_coroutine_threadsafe(producer.close_async(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    await stage.until(lambda: not loop.is_running())
    loop.close()
