"""What Slack sends, in the shapes of its reference: docs.slack.dev/reference/events, …/interaction-payloads."""

import json
import time
from typing import Any
from urllib.parse import urlencode

from producers.slack.signature import sign

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TEAM, CHANNEL, DIRECT, PERSON, BOT = "T0ACME", "C0SALES", "D0ANN", "U0ANN", "U0BOT"

Json = dict[str, Any]


def envelope(event: Json, event_id: str = "Ev08MFMKH6", team: str = TEAM) -> Json:
    """The outer part of an event."""
    return {
        "token": "XXYYZZ",
        "team_id": team,
        "api_app_id": "A0THREAD",
        "event": event,
        "type": "event_callback",
        "event_id": event_id,
        "event_time": 1700000000,
        "event_context": "4-eyJldCI6Im1lc3NhZ2UifQ",
        "authorizations": [
            {"enterprise_id": None, "team_id": team, "user_id": BOT, "is_bot": True, "is_enterprise_install": False}
        ],
        "is_ext_shared_channel": False,
    }


def mention(text: str = f"<@{BOT}> Where is my order?", ts: str = "1700000000.000100", **more: Any) -> Json:
    """Somebody mentions the agent in a channel."""
    return {
        "type": "app_mention",
        "user": PERSON,
        "text": text,
        "ts": ts,
        "client_msg_id": "5f1e0a3a-9f0c-4d0e-8f2b-3f2f4f3e1d11",
        "team": TEAM,
        "channel": CHANNEL,
        "event_ts": ts,
        **more,
    }


def channel_message(text: str, ts: str, **more: Any) -> Json:
    """Somebody writes in a channel."""
    return {**mention(text, ts), "type": "message", "channel_type": "channel", **more}


def direct_message(text: str = "Where is my order?", ts: str = "1700000000.000100", **more: Any) -> Json:
    """Somebody writes to the agent alone."""
    return {**channel_message(text, ts), "channel": DIRECT, "channel_type": "im", **more}


def bot_message(text: str = "done", ts: str = "1700000050.000100") -> Json:
    return {
        "type": "message",
        "subtype": "bot_message",
        "ts": ts,
        "text": text,
        "bot_id": "B0OTHER",
        "username": "deploys",
        "channel": DIRECT,
        "channel_type": "im",
        "event_ts": ts,
    }


def own_message(ts: str = "1700000060.000100") -> Json:
    """What the agent itself posts comes back as an event."""
    profile = {"id": "B0BOT", "app_id": "A0THREAD", "name": "threadmill", "deleted": False}
    return direct_message("It is on its way.", ts, user=BOT, bot_id="B0BOT", app_id="A0THREAD", bot_profile=profile)


def changed_message(ts: str = "1700000070.000100") -> Json:
    message = {"type": "message", "user": PERSON, "text": "Where is it?", "ts": "1700000000.000100"}
    return {
        "type": "message",
        "subtype": "message_changed",
        "hidden": True,
        "channel": DIRECT,
        "ts": ts,
        "message": {**message, "edited": {"user": PERSON, "ts": ts}},
        "previous_message": message,
        "channel_type": "im",
        "event_ts": ts,
    }


def deleted_message(ts: str = "1700000080.000100") -> Json:
    return {
        "type": "message",
        "subtype": "message_deleted",
        "hidden": True,
        "channel": DIRECT,
        "ts": ts,
        "deleted_ts": "1700000000.000100",
        "channel_type": "im",
        "event_ts": ts,
    }


def shared_file(url: str, **more: Any) -> Json:
    """A file as an event describes it."""
    return {
        "id": "F0NOTES",
        "created": 1700000000,
        "timestamp": 1700000000,
        "name": "notes.txt",
        "title": "notes",
        "mimetype": "text/plain",
        "filetype": "text",
        "pretty_type": "Plain Text",
        "user": PERSON,
        "user_team": TEAM,
        "editable": True,
        "size": 12,
        "mode": "hosted",
        "is_external": False,
        "external_type": "",
        "is_public": True,
        "public_url_shared": False,
        "url_private": url,
        "url_private_download": url,
        "permalink": "https://acme.slack.com/files/U0ANN/F0NOTES/notes.txt",
        "file_access": "visible",
        **more,
    }


def press(action_id: str, value: str, *, channel: str = CHANNEL, user: str = PERSON, team: str = TEAM) -> Json:
    """Somebody pressed a button under a message of the agent's."""
    return {
        "type": "block_actions",
        "user": {"id": user, "username": "ann", "name": "ann", "team_id": team},
        "api_app_id": "A0THREAD",
        "token": "XXYYZZ",
        "container": {
            "type": "message",
            "message_ts": "1800000000.000001",
            "channel_id": channel,
            "is_ephemeral": False,
            "thread_ts": "1700000000.000100",
        },
        "trigger_id": "12466734323.1395872398",
        "team": {"id": team, "domain": "acme"},
        "enterprise": None,
        "is_enterprise_install": False,
        "channel": {"id": channel, "name": "sales"},
        "message": {"bot_id": "B0BOT", "type": "message", "user": BOT, "ts": "1800000000.000001"},
        "state": {"values": {}},
        "response_url": "https://hooks.slack.com/actions/T0ACME/1/abc",
        "actions": [
            {
                "action_id": action_id,
                "block_id": "=qXel",
                "type": "button",
                "value": value,
                "text": {"type": "plain_text", "text": "Stop"},
                "action_ts": "1700000090.926119",
            }
        ],
    }


def signed(body: bytes, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """The headers of a request of Slack's."""
    timestamp = str(int(time.time() if at is None else at))
    return {
        "Content-Type": "application/json",
        "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": sign(secret, timestamp, body),
    }


def as_form(payload: Json) -> bytes:
    """The body of an interaction."""
    return urlencode({"payload": json.dumps(payload)}).encode()
