"""What Slack sends, read: messages of people to the agent, and nothing else."""

from itertools import repeat
from typing import Any

import pytest

from conversation.errors import InvalidInput
from producers.slack.payloads import IncomingMessage, read_message, read_payload, read_presses, team_of
from producers.slack.workspace import SlackWorkspace
from tests.stub_slack import payloads
from tests.stub_slack.payloads import BOT, CHANNEL, DIRECT, PERSON, TEAM

WORKSPACE = SlackWorkspace(tenant="acme", bot_token="xoxb-1")


def read(event: dict[str, Any], /, **more: Any) -> IncomingMessage | None:
    return read_message({**payloads.envelope(event), **more}, TEAM, WORKSPACE)


def test_a_mention_begins_a_thread_under_itself() -> None:
    incoming = read(payloads.mention())

    assert incoming is not None
    message = incoming.message
    assert not incoming.only_in_known_threads
    assert (message.tenant, message.user_id, message.content) == ("acme", PERSON, "Where is my order?")
    assert message.reply_to == "1700000000.000100"
    assert message.thread_id == f"slack-{TEAM}-{CHANNEL}-1700000000.000100"


def test_a_reply_in_the_thread_belongs_to_it_without_a_mention_if_the_agent_takes_part() -> None:
    incoming = read(payloads.channel_message("And now?", "1700000009.000100", thread_ts="1700000000.000100"))

    assert incoming is not None
    assert incoming.only_in_known_threads
    assert incoming.message.thread_id == f"slack-{TEAM}-{CHANNEL}-1700000000.000100"


def test_a_direct_conversation_is_one_thread_answered_in_the_channel_itself() -> None:
    first, second = read(payloads.direct_message()), read(payloads.direct_message("And?", "1700000009.000100"))

    assert first is not None
    assert second is not None
    assert not first.only_in_known_threads
    assert first.message.reply_to is None
    assert first.message.thread_id == second.message.thread_id == f"slack-{TEAM}-{DIRECT}"


def test_a_thread_of_a_direct_conversation_is_its_own() -> None:
    incoming = read(payloads.direct_message("And?", "1700000009.000100", thread_ts="1700000000.000100"))

    assert incoming is not None
    assert incoming.message.thread_id == f"slack-{TEAM}-{DIRECT}-1700000000.000100"
    assert incoming.message.reply_to == "1700000000.000100"


def test_the_event_of_a_mention_and_that_of_its_message_are_of_one_message() -> None:
    text = f"<@{BOT}> Where is my order?"
    mention, message = read(payloads.mention(text)), read(payloads.channel_message(text, "1700000000.000100"))

    assert mention == message


@pytest.mark.parametrize(
    "event",
    [
        payloads.bot_message(),
        payloads.own_message(),
        payloads.changed_message(),
        payloads.deleted_message(),
        payloads.direct_message(user=BOT),
        payloads.direct_message(subtype="channel_join"),
        payloads.direct_message(edited={"user": PERSON, "ts": "1"}),
        {"type": "reaction_added", "user": PERSON, "item": {"type": "message", "channel": CHANNEL}},
        payloads.direct_message(user=None),
        payloads.direct_message(channel=["C0"]),
        payloads.direct_message(ts="yesterday"),
        payloads.direct_message(channel="C/../x"),
    ],
)
def test_bots_edits_and_what_is_no_message_are_passed_over(event: dict[str, Any]) -> None:
    assert read(event) is None


@pytest.mark.parametrize("envelope", [{"event": None}, {"event": []}, {"event_id": 7}, {"event": {"type": "message"}}])
def test_an_envelope_of_another_form_is_passed_over(envelope: dict[str, Any]) -> None:
    assert read(payloads.mention(), **envelope) is None


def test_of_a_file_what_fetches_it_is_kept() -> None:
    file = payloads.shared_file("https://files.slack.com/files-pri/T-F/notes.txt", preview="x" * 9999)

    incoming = read(payloads.direct_message(subtype="file_share", files=[file, "no file"]))

    assert incoming is not None
    (kept,) = incoming.message.files
    assert kept["url_private_download"] == "https://files.slack.com/files-pri/T-F/notes.txt"
    assert kept["name"] == "notes.txt"
    assert "preview" not in kept


def test_what_no_database_can_hold_is_left_out_of_a_message() -> None:
    file = payloads.shared_file("https://files.slack.com/x", name="a\x00\ud800.txt", size=-1)

    incoming = read(payloads.direct_message("a\x00b\ud800", subtype="file_share", files=[file]))

    assert incoming is not None
    assert incoming.message.content == "ab?"
    assert (incoming.message.files[0]["name"], "size" in incoming.message.files[0]) == ("a?.txt", False)


@pytest.mark.parametrize("value", [None, [], {"a": object()}, {"a": repeat({"b": 1, "c": 2})}, {1: "a"}])
def test_what_is_no_json_object_is_no_payload(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^payload: "):
        read_payload("payload", value)


@pytest.mark.parametrize(
    "changed", [{"tenant": "a\x00"}, {"bot_token": " "}, {"agent": 7}, {"approvers": "U01"}, {"approvers": [1]}]
)
def test_a_workspace_whose_fields_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"^{next(iter(changed))}: "):
        SlackWorkspace(**{"tenant": "acme", "bot_token": "xoxb-1", **changed})


def test_in_a_shared_channel_the_workspace_is_the_one_that_has_the_app() -> None:
    envelope = payloads.envelope(payloads.mention())

    assert team_of({**envelope, "team_id": "T0OTHER"}) == TEAM
    assert team_of({"team_id": "T0OTHER"}) == "T0OTHER"
    assert team_of({"team_id": 7, "authorizations": "x"}) is None


def test_a_press_is_read_with_who_where_and_what() -> None:
    (press,) = read_presses(payloads.press("threadmill_stop", "turn"))

    assert (press.team_id, press.channel_id, press.user_id) == (TEAM, CHANNEL, PERSON)
    assert (press.action_id, press.value, press.input) == ("threadmill_stop", "turn", None)


def test_what_was_typed_and_chosen_is_read_with_its_block() -> None:
    typed = {"type": "plain_text_input", "action_id": "a", "block_id": "b", "value": "blue"}
    chosen = {
        "type": "static_select",
        "action_id": "a",
        "block_id": "b",
        "selected_option": {"text": {"type": "plain_text", "text": "Red"}, "value": "red"},
    }

    presses = list(read_presses({**payloads.press("x", "y"), "actions": [typed, chosen, {"type": "datepicker"}, 7]}))

    assert [(press.value, press.input) for press in presses] == [("b", "blue"), ("b", "red")]


@pytest.mark.parametrize(
    "changed", [{"type": "view_submission"}, {"user": None}, {"channel": {}}, {"container": 1}, {"actions": {}}]
)
def test_an_interaction_of_another_form_is_passed_over(changed: dict[str, Any]) -> None:
    assert list(read_presses({**payloads.press("x", "y"), **changed})) == []
