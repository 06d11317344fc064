"""What is asked of people in Slack: all of the arguments in view, or no button."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from conversation.ids import new_id
from conversation.pending_call import DecisionKind, PendingCall, PendingKind, digest_of
from producers.slack.mrkdwn import escape
from producers.slack.prompts import read_reference, show_call, show_decision

TURN = new_id()


def make_call(kind: PendingKind = PendingKind.APPROVAL, **values: Any) -> PendingCall:
    arguments = values.pop("arguments", '{"amount": 5, "to": "<!channel>"}')
    now = datetime.now(UTC)
    return PendingCall(
        **{
            "turn_id": TURN,
            "call_id": "call-1",
            "tenant": "acme",
            "step_index": 1,
            "kind": kind,
            "name": "refund",
            "arguments": arguments,
            "arguments_digest": digest_of("refund", arguments),
            **dict.fromkeys(("question", "choices", "schema", "decision", "decided_by", "decided_at")),
            "requested_at": now,
            "expires_at": now,
            **values,
        }
    )


def buttons_of(body: Any) -> list[dict[str, Any]]:
    rows = [block["elements"] for block in body["blocks"] if block["type"] == "actions"]
    return [element for row in rows for element in row if element["type"] == "button"]


def text_of(body: Any) -> str:
    return "".join(block["text"]["text"] for block in body["blocks"] if block["type"] == "section")


def test_an_approval_shows_the_arguments_and_its_button_carries_their_digest() -> None:
    call = make_call()

    body = show_call(call)

    assert '"amount": 5' in text_of(body)
    assert "&lt;!channel&gt;" in text_of(body)
    approve, deny = buttons_of(body)
    reference = read_reference(approve["value"])
    assert reference is not None
    assert (reference.turn_id, reference.call_id, reference.digest) == (TURN, "call-1", call.arguments_digest)
    assert (approve["action_id"], deny["action_id"]) == ("threadmill_approve", "threadmill_deny")


def test_long_arguments_are_shown_whole_over_several_blocks() -> None:
    text = "a & b > c " * 400

    body = show_call(make_call(arguments=json.dumps({"text": text})))

    assert body is not None
    assert escape(text).strip() in text_of(body).replace("\n```", "").replace("```\n", "")
    # Slack refuses a message whose blocks are longer together.
    assert len(text_of(body)) < 11_000
    # No block ends within an escaped sign.
    assert not any(re.search(r"&[a-z]*\n```$", block["text"]["text"]) for block in body["blocks"][:-1])
    assert all(len(block["text"]["text"]) <= 3000 for block in body["blocks"] if block["type"] == "section")
    assert len(buttons_of(body)) == 2


@pytest.mark.parametrize(
    "call",
    [
        make_call(arguments=json.dumps("x" * 10_000)),
        make_call(call_id="c" * 2000),
        make_call(PendingKind.QUESTION, question="<" * 1_000),
    ],
)
def test_what_cannot_be_shown_whole_has_no_button(call: PendingCall) -> None:
    body = show_call(call)

    assert buttons_of(body) == []
    assert "Too long to be decided here" in text_of(body)
    assert all(len(block["text"]["text"]) <= 3000 for block in body["blocks"])


def test_choices_are_buttons_and_many_are_a_menu() -> None:
    few = show_call(make_call(PendingKind.QUESTION, question="Which colour?", choices=["red", 7, "x" * 99]))
    many = show_call(make_call(PendingKind.QUESTION, question="Which?", choices=list(range(50))))

    assert [button["text"]["text"] for button in buttons_of(few)] == ["red", "7", "x" * 74 + "…", "Skip"]
    assert len({button["action_id"] for button in buttons_of(few)}) == 4
    assert many is not None
    (menu,) = [block["elements"][0] for block in many["blocks"] if block.get("block_id")]
    assert [option["value"] for option in menu["options"]] == [str(place) for place in range(50)]


def test_a_question_without_choices_has_a_field() -> None:
    body = show_call(make_call(PendingKind.QUESTION, question="How much?"))

    assert body is not None
    (field,) = [block for block in body["blocks"] if block["type"] == "input"]
    assert field["dispatch_action"] is True
    assert read_reference(field["block_id"]) is not None


def test_what_no_person_decides_is_not_asked() -> None:
    assert show_call(make_call(PendingKind.CHILD)) is None
    assert show_call(make_call(PendingKind.CLIENT_TOOL)) is None


def test_a_decision_says_who_made_it() -> None:
    assert show_decision("refund", DecisionKind.DENY, "U0ANN")["text"] == "`refund`: denied by <@U0ANN>"
    assert show_decision("refund", DecisionKind.APPROVE, "<!here>")["text"] == "`refund`: approved by &lt;!here&gt;"
    assert show_decision("refund", DecisionKind.CLOSED, None) == {"text": "`refund`: not decided", "blocks": []}


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"t": 1}', '{"t": "x", "c": "y"}', "[" * 9999])
def test_a_value_of_another_form_names_no_call(text: str) -> None:
    assert read_reference(text) is None
