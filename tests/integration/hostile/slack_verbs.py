"""The verbs of an agent's app for Slack, with what Slack sends, and each of its fields: nothing is written to Slack."""

from typing import Any

from producers.slack import SlackApp, SlackWorkspace
from tests.integration.hostile.stage import Stage
from tests.integration.hostile.verb import Make, Verb, just
from tests.stub_slack import payloads

_EVENT = payloads.mention()
_FILE = payloads.shared_file("https://files.slack.com/files-pri/T0ACME-F0NOTES/notes.txt")
_EVENT_FIELDS: dict[str, Make] = {
    name: just(_EVENT.get(name))
    for name in (
        *("type", "subtype", "user", "text", "ts", "channel", "channel_type", "thread_ts", "bot_id", "hidden"),
        *("edited", "files"),
    )
}
_FILE_FIELDS: dict[str, Make] = {
    f"file_{name}": just(_FILE[name]) for name in ("id", "name", "mimetype", "size", "mode", "url_private")
}
_ENVELOPE_FIELDS: dict[str, Make] = {
    f"envelope_{name}": just(payloads.envelope(_EVENT).get(name))
    for name in ("team_id", "event", "event_id", "authorizations")
}
_PRESS = payloads.press("threadmill_approve", "{}")
_PRESS_FIELDS: dict[str, Make] = {
    f"press_{name}": just(_PRESS.get(name)) for name in ("type", "team", "user", "channel", "container", "actions")
}
_ACTION_FIELDS: dict[str, Make] = {
    f"action_{name}": just(None) for name in ("action_id", "block_id", "type", "value", "selected_option")
}
_WORKSPACE: dict[str, Make] = {
    "tenant": just("acme"),
    "bot_token": just("xoxb-1"),
    "agent": just(None),
    "approvers": just(["U0ANN"]),
}


def _app(stage: Stage) -> SlackApp:
    """An app that takes what comes, and whose answers nobody writes."""
    workspaces = {payloads.TEAM: SlackWorkspace(tenant="default", bot_token="xoxb-1")}
    app = SlackApp(stage.producer, payloads.SECRET, workspaces)
    app.start = lambda: None  # type: ignore[method-assign]
    app._presses._tell = lambda *_: None  # type: ignore[method-assign]
    return app


def _handle_event(stage: Stage, **values: Any) -> Any:
    """Hear an envelope of which one field is another value."""
    ((path, value),) = values.items() or [("envelope_team_id", payloads.TEAM)]
    if path == "envelope":
        return _app(stage).handle_event(value)
    event, place, name = dict(_EVENT), *path.partition("_")[::2]
    if place == "file":
        event |= {"files": [{**_FILE, name: value}]}
    elif place != "envelope":
        event[path] = value
    envelope = payloads.envelope(event)
    return _app(stage).handle_event({**envelope, name: value} if place == "envelope" else envelope)


def _handle_interaction(stage: Stage, **values: Any) -> Any:
    """Hear a press of which one field is another value."""
    ((path, value),) = values.items() or [("press_type", "block_actions")]
    if path == "payload":
        return _app(stage).handle_interaction(value)
    place, _, name = path.partition("_")
    payload = payloads.press("threadmill_stop", str(stage.turn.id))
    if place == "press":
        payload[name] = value
    else:
        payload["actions"][0][name] = value
    return _app(stage).handle_interaction(payload)


SLACK: dict[str, Verb] = {
    "SlackApp.handle_event": Verb(
        _handle_event,
        {"envelope": just(payloads.envelope(_EVENT))} | _EVENT_FIELDS | _FILE_FIELDS | _ENVELOPE_FIELDS,
        is_alone=True,
    ),
    "SlackApp.handle_interaction": Verb(
        _handle_interaction, {"payload": just(_PRESS)} | _PRESS_FIELDS | _ACTION_FIELDS, is_alone=True
    ),
    "SlackWorkspace": Verb(lambda _, **given: SlackWorkspace(**given), _WORKSPACE),
}
