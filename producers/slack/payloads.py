"""Payloads of Slack's, read: events that are messages to the agent, and what people press.

What stays true: a message that a bot wrote, the agent itself above all, is passed over, and so are edits, deletions
and whatever else is no new message of a person; nothing is taken from a payload without a look at its kind.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from conversation.attachment import SIZE_MAX
from conversation.errors import InvalidInput
from conversation.quotation import quote
from conversation.storable_text import make_storable
from conversation.validation import check_json_shape
from producers.slack.mrkdwn import read_mrkdwn
from producers.slack.workspace import SlackWorkspace
from store.slack_messages import NewSlackMessage

#: Ids of Slack's workspaces, channels, people, events and files.
_ID = re.compile(r"[A-Z][A-Za-z0-9]{1,31}")
_TS = re.compile(r"[0-9]{1,12}\.[0-9]{1,6}")
#: The kinds of messages that a person writes; all others tell of something that happened.
_SUBTYPES_OF_PEOPLE = (None, "file_share", "thread_broadcast", "me_message")
#: Files of a message that are looked at, at most.
FILES_MAX = 50
#: The fields of a file that are kept.
_FILE_FIELDS = ("id", "name", "title", "mimetype", "size", "mode", "url_private_download", "url_private", "file_access")
#: Characters of such a field, at most.
_FILE_FIELD_CHARS = 2000

Json = Mapping[str, Any]
#: Bytes of a payload of Slack's, at most.
PAYLOAD_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMessage:
    """A message of a person that may be for the agent."""

    message: NewSlackMessage
    #: It mentions nobody: it is for the agent only where that takes part in the thread.
    only_in_known_threads: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """A button that somebody pressed, or a field that they filled in."""

    team_id: str
    channel_id: str
    user_id: str
    #: The message that it stands in, and the one under which that stands; None for the channel itself.
    message_ts: str
    thread_ts: str | None
    action_id: str
    #: What we gave the button; of a field, its block.
    value: str
    #: What was chosen or typed; None for a button.
    input: str | None


def read_payload(field: str, payload: object) -> dict[str, Any]:
    """A payload as plain values, whosever mapping it is. Raises `InvalidInput`."""
    if not isinstance(payload, Mapping):
        raise InvalidInput(field, f"is {quote(payload)}", "pass what Slack sent, as a dict")
    try:
        check_json_shape(field, payload, PAYLOAD_MAX_BYTES, check_leaf=_check_scalar)
        plain: dict[str, Any] = json.loads(json.dumps(payload, default=dict))
    except InvalidInput:
        raise
    except Exception as error:
        # A value of somebody else's type, whose own code fails.
        raise InvalidInput(field, f"cannot be read ({type(error).__name__})", "pass what Slack sent") from error
    return plain


def _check_scalar(field: str, value: object) -> None:
    if not isinstance(value, str | int | float | None):
        raise InvalidInput(field, f"is no JSON (it holds {type(value).__name__})", "pass what Slack sent")


def team_of(envelope: Json) -> str | None:
    """The workspace for which an event is: where the app is installed, which in a shared channel may be another."""
    for authorization in _objects(envelope.get("authorizations")):
        if _is_id(authorization.get("team_id")):
            return str(authorization["team_id"])
    team_id = envelope.get("team_id")
    return team_id if _is_id(team_id) else None


def read_message(envelope: Json, team_id: str, workspace: SlackWorkspace) -> IncomingMessage | None:
    """The message that an event tells of; None where it is none of a person to the agent."""
    event, event_id = envelope.get("event"), envelope.get("event_id")
    if not isinstance(event, dict) or not _is_id(event_id) or not _is_of_person(event):
        return None
    channel_id, user_id, ts = event.get("channel"), event.get("user"), event.get("ts")
    if not (_is_id(channel_id) and _is_id(user_id) and _is_ts(ts)):
        return None
    bot_user_id = _bot_user_of(envelope)
    if user_id == bot_user_id:
        return None
    text = event["text"] if isinstance(event.get("text"), str) else ""
    is_direct = event.get("channel_type") == "im" or channel_id.startswith("D")
    thread_ts = event.get("thread_ts")
    thread_ts = thread_ts if _is_ts(thread_ts) else None
    reply_to = thread_ts if is_direct else thread_ts or ts
    place = f"-{reply_to}" if reply_to else ""
    message = NewSlackMessage(
        tenant=workspace.tenant,
        team_id=team_id,
        channel_id=channel_id,
        ts=ts,
        event_id=event_id,
        thread_id=f"slack-{team_id}-{channel_id}{place}",
        reply_to=reply_to,
        user_id=user_id,
        content=make_storable(read_mrkdwn(text, bot_user_id=bot_user_id)),
        files=[_read_file(file) for file in _objects(event.get("files"))][:FILES_MAX],
    )
    is_mention = event["type"] == "app_mention" or (bot_user_id is not None and f"<@{bot_user_id}>" in text)
    return IncomingMessage(message=message, only_in_known_threads=not (is_direct or is_mention))


def _is_of_person(event: Json) -> bool:
    if event.get("type") not in ("message", "app_mention") or event.get("subtype") not in _SUBTYPES_OF_PEOPLE:
        return False
    return not (event.get("bot_id") or event.get("hidden") or event.get("edited"))


def _bot_user_of(envelope: Json) -> str | None:
    for authorization in _objects(envelope.get("authorizations")):
        if authorization.get("is_bot") and _is_id(authorization.get("user_id")):
            return str(authorization["user_id"])
    return None


def _read_file(file: Json) -> dict[str, Any]:
    kept = {name: file[name] for name in _FILE_FIELDS if isinstance(file.get(name), str)}
    texts = {name: make_storable(value[:_FILE_FIELD_CHARS]) for name, value in kept.items()}
    size = file.get("size")
    return texts | ({"size": size} if type(size) is int and 0 <= size <= SIZE_MAX else {})


def read_presses(payload: Json) -> Iterable[Press]:
    """Read what somebody pressed, of an interaction with a message."""
    if payload.get("type") != "block_actions":
        return
    team_id, user_id = _id_in(payload, "team"), _id_in(payload, "user")
    channel_id, container = _id_in(payload, "channel"), payload.get("container")
    container = container if isinstance(container, dict) else {}
    message_ts, thread_ts = container.get("message_ts"), container.get("thread_ts")
    if not (team_id and user_id and channel_id and _is_ts(message_ts)):
        return
    for action in _objects(payload.get("actions")):
        action_id = action.get("action_id")
        value, entered = _read_value(action)
        if isinstance(action_id, str) and isinstance(value, str):
            yield Press(
                team_id=team_id,
                channel_id=channel_id,
                user_id=user_id,
                message_ts=message_ts,
                thread_ts=thread_ts if _is_ts(thread_ts) else None,
                action_id=action_id,
                value=value,
                input=entered,
            )


def _read_value(action: Json) -> tuple[Any, str | None]:
    match action.get("type"):
        case "button":
            return action.get("value"), None
        case "plain_text_input":
            return action.get("block_id"), str(action.get("value") or "")
        case "static_select":
            option = action.get("selected_option")
            return action.get("block_id"), str(option.get("value")) if isinstance(option, dict) else ""
        case _:
            return None, None


def _id_in(payload: Json, name: str) -> str | None:
    value = payload.get(name)
    identifier = value.get("id") if isinstance(value, dict) else None
    return identifier if _is_id(identifier) else None


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_ts(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _TS.fullmatch(value) is not None
