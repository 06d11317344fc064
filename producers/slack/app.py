"""An agent in Slack: an ASGI app for what Slack sends, and the process's part in answering it.

What stays true: Slack's three seconds hold whatever an answer takes: a request ends when its message is stored, and
everything else comes after it; what is not signed by Slack is not read.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import structlog

from conversation.errors import InvalidSettings, ThreadmillError
from producers.producer import Producer
from producers.slack.api import SlackApi
from producers.slack.deliveries import Deliveries
from producers.slack.desk import Desk
from producers.slack.payloads import PAYLOAD_MAX_BYTES, read_message, read_payload, read_presses, team_of
from producers.slack.presses import Presses
from producers.slack.signature import is_signed
from producers.slack.workspace import SlackWorkspace, workspaces_of
from store import slack_messages
from store.settings import Settings, current, variable

#: Seconds that a request may take: Slack waits three, and sends it again.
REQUEST_TIMEOUT_SECONDS = 2.5

Json = dict[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = structlog.get_logger(__name__)


class SlackApp:
    """An agent in the workspaces of one Slack app: an ASGI app, to be mounted or served by itself.

    Its paths end in `/events` and `/interactivity`. Answers are written while it runs: from its first request, its
    own lifespan or `run` on. Made by `create_slack_app`. Only on one event loop.
    """

    def __init__(
        self,
        producer: Producer,
        signing_secret: str,
        workspaces: Mapping[str, SlackWorkspace],
        *,
        owns_producer: bool = False,
    ) -> None:
        """`workspaces` are looked up by their ids each time: a mapping of your own may change.

        With `owns_producer`, the producer is closed with the app.
        """
        settings = producer.settings
        self._signing_secret = signing_secret
        self._workspaces = workspaces
        api = SlackApi(settings.slack_api_url, edit_interval_seconds=settings.slack_edit_interval_seconds)
        self._desk = Desk(producer, api)
        self._presses = Presses(self._desk, workspaces)
        self._deliveries: Deliveries | None = None
        self._owns_producer = owns_producer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of Slack's, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._serve_lifespan(receive, send)
        elif scope["type"] == "http":
            self.start()
            status, content = await self._answer_in_time(scope, receive)
            await _respond(send, status, content)

    def start(self) -> None:
        """Begin to write answers, those of processes that died among them. It may be called again."""
        if self._deliveries is None:
            self._deliveries = Deliveries(self._desk, self._workspaces)
            self._deliveries.start()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Write answers within the block: a part of the lifespan of the app that this one is mounted in."""
        self.start()
        try:
            yield
        finally:
            await self.close_async()

    async def close_async(self) -> None:
        """Give the answers that are being written to other processes, and close the connections to Slack."""
        if self._deliveries is not None:
            deliveries, self._deliveries = self._deliveries, None
            await deliveries.stop()
        await self._presses.close()
        await self._desk.settle()
        await self._desk.api.close()
        if self._owns_producer:
            await self._desk.producer.close_async()

    async def handle_event(self, envelope: Mapping[str, Any]) -> bool:
        """Take an event of the Events API, whose signature was verified; True where it is a new message to the agent.

        For apps that hear Slack by themselves, as Bolt's do. Raises `DatabaseUnavailable`: then Slack shall send it
        again; and `InvalidInput` for what is no JSON object.
        """
        envelope = read_payload("envelope", envelope)
        self.start()
        team_id = team_of(envelope)
        workspace = self._workspaces.get(team_id) if team_id is not None else None
        if team_id is None or workspace is None:
            log.warning("slack_workspace_unknown", team=team_id)
            return False
        incoming = read_message(envelope, team_id, workspace)
        if incoming is None:
            return False
        message, only = incoming.message, incoming.only_in_known_threads
        entering = self._desk.run(workspace.tenant, slack_messages.enter, message, only_in_known_threads=only)
        is_new = await self._desk.complete_or_leave(entering)
        if is_new and self._deliveries is not None:
            self._deliveries.look()
        return is_new

    async def handle_interaction(self, payload: Mapping[str, Any]) -> None:
        """Take a press of a button under a message of the agent's, whose signature was verified.

        Raises as `handle_event`.
        """
        payload = read_payload("payload", payload)
        self.start()
        for press in read_presses(payload):
            await self._desk.complete_or_leave(self._presses.handle(press))
        if self._deliveries is not None:
            self._deliveries.look()

    async def _answer_in_time(self, scope: Scope, receive: Receive) -> tuple[int, Json]:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                return await self._answer(scope, receive)
        except (ThreadmillError, TimeoutError) as error:
            log.warning("slack_request_not_taken", error=type(error).__name__)
            return 503, {"error": "not taken: send it again"}

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, Json]:
        if scope["method"] != "POST":
            return 405, {"error": "POST only"}
        body = await _read_body(receive)
        if body is None:
            return 413, {"error": "too large"}
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not is_signed(self._signing_secret, headers, body, now=time.time()):
            log.warning("slack_signature_refused")
            return 401, {"error": "not signed by Slack"}
        is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        payload = _read_json(_payload_of_form(body) if is_form else body)
        if payload is None:
            return 400, {"error": "no JSON object"}
        return 200, await self._take(payload, is_form=is_form)

    async def _take(self, payload: Json, *, is_form: bool) -> Json:
        if is_form:
            await self.handle_interaction(payload)
        elif payload.get("type") == "url_verification":
            return {"challenge": str(payload.get("challenge", ""))}
        elif payload.get("type") == "event_callback":
            await self.handle_event(payload)
        elif payload.get("type") == "app_rate_limited":
            log.warning("slack_events_limited", team=str(payload.get("team_id", ""))[:32])
        return {}

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.close_async()
                await send({"type": "lifespan.shutdown.complete"})
                return


def create_slack_app(
    settings: Settings | None = None,
    *,
    producer: Producer | None = None,
    workspaces: Mapping[str, SlackWorkspace] | None = None,
) -> SlackApp:
    """Make an agent's app for Slack out of the settings; `workspaces`, by their ids, are the settings' if not given.

    A `producer` that is given is shared. Raises `InvalidSettings` without a signing secret.
    """
    settings = settings or (producer.settings if producer else current())
    secret = settings.slack_signing_secret.get_secret_value()
    if not secret:
        raise InvalidSettings(f"{variable('slack_signing_secret')}: is not set; Slack shows it under Basic Information")
    return SlackApp(
        producer or Producer(settings), secret, workspaces_of(settings) if workspaces is None else workspaces
    )


async def _read_body(receive: Receive) -> bytes | None:
    """The body of a request; None of one that is too large."""
    chunks, size = [], 0
    while True:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > PAYLOAD_MAX_BYTES or message["type"] == "http.disconnect":
            return None
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def _payload_of_form(body: bytes) -> bytes:
    try:
        return parse_qs(body.decode()).get("payload", [""])[0].encode()
    except ValueError:
        return b""


def _read_json(body: bytes) -> Json | None:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


async def _respond(send: Send, status: int, content: Json) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
