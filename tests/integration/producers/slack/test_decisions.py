"""What a turn waits for, decided in Slack: by buttons, once, by who may, and with nothing held meanwhile."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, select

from conversation.errors import Fault
from conversation.pending_call import Decision, PendingKind, PendingRequest
from conversation.turn import Failed, TurnError
from producers.slack import SlackWorkspace
from store import tables
from store.turns import decisions
from tests.integration.producers.slack.stage import TENANT, TOKEN, Process, Stage
from tests.stub_slack import payloads
from tests.stub_slack.payloads import CHANNEL, PERSON, TEAM

REFUND = PendingRequest(
    call_id="call-1", step_index=1, kind=PendingKind.APPROVAL, name="refund", arguments='{"amount": 5}'
)
PAY = PendingRequest(call_id="call-2", step_index=2, kind=PendingKind.APPROVAL, name="pay", arguments='{"amount": 7}')
COLOUR = PendingRequest(
    call_id="call-3", step_index=1, kind=PendingKind.QUESTION, name="ask", question="Which?", choices=["red", "blue"]
)
AMOUNT = PendingRequest(
    call_id="call-4",
    step_index=1,
    kind=PendingKind.QUESTION,
    name="ask",
    question="How much?",
    schema={"type": "integer"},
)


async def begin(stage: Stage, *requests: PendingRequest) -> tuple[Process, str]:
    """A turn that waits for decisions, and has asked for them."""
    process = stage.process()
    await process.deliver(payloads.mention())
    claimed = await stage.take()
    stage.wait_for(claimed, *requests)
    await stage.until(lambda: [row.state for row in stage.rows()] == ["waiting"] and stage.is_quiet())
    return process, claimed.id


def prompt_of(stage: Stage, text: str) -> dict[str, Any]:
    """The message in which something is asked."""
    (prompt,) = [message for message in stage.slack.channels[CHANNEL].values() if text in message["text"]]
    return prompt


def buttons_of(prompt: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = [block["elements"] for block in prompt["blocks"] if block["type"] == "actions"]
    return {element["text"]["text"]: element for row in rows for element in row}


async def push(process: Process, stage: Stage, text: str, label: str, **who: Any) -> None:
    button = buttons_of(prompt_of(stage, text))[label]
    response = await process.press(button["action_id"], button["value"], **who)
    assert response.status_code == 200


def decided(stage: Stage) -> list[tuple[str, str | None, str | None, Any]]:
    calls = tables.pending_calls.c
    query = select(calls.call_id, calls.decision, calls.decided_by, calls.value).order_by(calls.call_id)
    return [tuple(row) for row in stage.database.run(lambda c: list(c.execute(query).all()))]


async def test_a_call_is_approved_by_a_button_and_the_answer_goes_on(stage: Stage) -> None:
    process, _ = await begin(stage, REFUND)

    await push(process, stage, "May `refund` run?", "Approve")
    await stage.answer("Refunded.")

    await stage.sees("Refunded.", f"`refund`: approved by <@{PERSON}>")
    assert decided(stage) == [("call-1", "approve", PERSON, {"value": None})]


async def test_several_calls_are_decided_one_by_one_in_any_order(stage: Stage) -> None:
    process, _ = await begin(stage, REFUND, PAY)

    await push(process, stage, "May `pay` run?", "Deny")
    await stage.until(lambda: f"`pay`: denied by <@{PERSON}>" in stage.slack.texts(CHANNEL) and stage.is_quiet())
    await push(process, stage, "May `refund` run?", "Approve")
    await stage.answer("Refunded, and nothing paid.")

    await stage.until(lambda: stage.slack.texts(CHANNEL)[0] == "Refunded, and nothing paid." and stage.is_quiet())
    assert [row[:3] for row in decided(stage)] == [("call-1", "approve", PERSON), ("call-2", "deny", PERSON)]


@pytest.mark.parametrize(("label", "value"), [("blue", "blue"), ("red", "red")])
async def test_a_question_is_answered_by_a_choice(stage: Stage, label: str, value: str) -> None:
    process, _ = await begin(stage, COLOUR)

    await push(process, stage, "Which?", label)

    assert [row[1:] for row in decided(stage)] == [("answer", PERSON, {"value": value})]


async def test_a_question_is_answered_by_what_was_typed(stage: Stage) -> None:
    process, _ = await begin(stage, AMOUNT)
    (field,) = [block for block in prompt_of(stage, "How much?")["blocks"] if block["type"] == "input"]
    typed = {"type": "plain_text_input", "action_id": "threadmill_answer", "block_id": field["block_id"], "value": "12"}

    body = payloads.as_form({**payloads.press("x", "y"), "actions": [typed]})
    await process.post("/slack/interactivity", body, **{"Content-Type": "application/x-www-form-urlencoded"})

    assert [row[1:] for row in decided(stage)] == [("answer", PERSON, {"value": 12})]


async def test_a_second_decision_changes_nothing_and_is_told_to_who_made_it(stage: Stage) -> None:
    process, _ = await begin(stage, REFUND)
    prompt = buttons_of(prompt_of(stage, "May `refund` run?"))

    await process.press("threadmill_approve", prompt["Approve"]["value"])
    await process.press("threadmill_approve", prompt["Approve"]["value"])
    await process.press("threadmill_deny", prompt["Deny"]["value"], user="U0EVE")

    assert [row[:3] for row in decided(stage)] == [("call-1", "approve", PERSON)]
    await stage.until(lambda: stage.slack.count("chat.postEphemeral") == 1)


async def test_other_arguments_than_those_that_were_shown_are_not_approved(stage: Stage) -> None:
    process, _ = await begin(stage, REFUND)
    value = buttons_of(prompt_of(stage, "May `refund` run?"))["Approve"]["value"]

    for changed in (value.replace('"d":"', '"d":"0'), value.replace('"d"', '"e"')):
        assert (await process.press("threadmill_approve", changed)).status_code == 200

    assert decided(stage) == [("call-1", None, None, None)]


async def test_who_is_no_approver_decides_nothing(stage: Stage) -> None:
    stage.workspaces[TEAM] = SlackWorkspace(tenant=TENANT, bot_token=TOKEN, approvers=("U0BOSS",))
    process, _ = await begin(stage, REFUND)

    await push(process, stage, "May `refund` run?", "Approve")
    before = decided(stage)
    await push(process, stage, "May `refund` run?", "Approve", user="U0BOSS")

    assert before == [("call-1", None, None, None)]
    assert [row[:3] for row in decided(stage)] == [("call-1", "approve", "U0BOSS")]
    (told,) = [arguments for name, arguments, _ in stage.slack.calls if name == "chat.postEphemeral"]
    assert (told["user"], told["text"]) == (PERSON, "You may not decide this.")


async def test_a_button_works_in_its_channel_and_its_workspace_alone(stage: Stage) -> None:
    stage.workspaces["T0RIVAL"] = SlackWorkspace(tenant="rival", bot_token="xoxb-rival")
    process, _ = await begin(stage, REFUND)

    await push(process, stage, "May `refund` run?", "Approve", channel="C0OTHER")
    await push(process, stage, "May `refund` run?", "Approve", team="T0RIVAL")

    assert decided(stage) == [("call-1", None, None, None)]


async def test_a_turn_that_waits_outlives_the_process_that_asked(stage: Stage) -> None:
    process, _ = await begin(stage, REFUND)
    await process.die()

    later = stage.process()
    await push(later, stage, "May `refund` run?", "Approve")
    await stage.answer("Refunded.")

    await stage.sees("Refunded.", f"`refund`: approved by <@{PERSON}>")
    assert stage.slack.count("chat.postMessage") == 2


async def test_what_is_decided_elsewhere_is_shown(stage: Stage) -> None:
    _, turn_id = await begin(stage, REFUND)

    await asyncio.to_thread(
        stage.database.run, decisions.decide, turn_id=turn_id, call_id="call-1", decision=Decision.deny("no"), by="boss"
    )
    await stage.answer("Then not.")

    await stage.sees("Then not.", "`refund`: denied by boss")


async def test_a_prompt_that_slack_does_not_take_says_where_it_is_decided(stage: Stage) -> None:
    stage.slack.fail("chat.postMessage", "", "msg_blocks_too_long")

    await begin(stage, REFUND)

    assert "decided over HTTP" in stage.slack.texts(CHANNEL)[1]


async def test_a_turn_that_is_cancelled_elsewhere_while_it_waits_loses_its_buttons(stage: Stage) -> None:
    process, turn_id = await begin(stage, REFUND)

    turn = await process.producer.find_turn_async(turn_id, tenant=TENANT)
    await turn.cancel(by="boss")
    await stage.end_refused()

    await stage.sees("_Stopped._", "`refund`: not decided")
    assert [message["blocks"] for message in stage.slack.channels[CHANNEL].values()] == [[], []]


async def test_a_turn_that_waited_too_long_loses_its_buttons(stage: Stage) -> None:
    process, _ = await begin(stage, replace(REFUND, expire_seconds=0.5))
    button = buttons_of(prompt_of(stage, "May `refund` run?"))["Approve"]

    await stage.end_refused()
    await stage.until(lambda: "`refund`: not decided" in stage.slack.texts(CHANNEL) and stage.is_quiet())
    await process.press(button["action_id"], button["value"])

    answer, _ = stage.slack.texts(CHANNEL)
    assert answer.startswith(":warning: _The answer failed")
    assert [row.state for row in stage.rows()] == ["answered"]
    # Whoever had the button on their screen is told.
    await stage.until(lambda: stage.slack.count("chat.postEphemeral") == 1)


async def test_who_presses_a_button_whose_thread_was_deleted_is_told(stage: Stage) -> None:
    process, _ = await begin(stage, REFUND)
    button = buttons_of(prompt_of(stage, "May `refund` run?"))["Approve"]
    await asyncio.to_thread(stage.database.run, lambda c: c.execute(delete(tables.threads)) and None)

    await process.press(button["action_id"], button["value"])

    await stage.until(lambda: stage.slack.count("chat.postEphemeral") == 1)
    ((_, told, _),) = [call for call in stage.slack.calls if call[0] == "chat.postEphemeral"]
    assert (told["text"], told["thread_ts"]) == ("This is not there any more.", "1700000000.000100")


async def leave_open(stage: Stage, request: PendingRequest = REFUND) -> tuple[Process, str]:
    """A turn that went on without a decision, has answered, and has asked for it."""
    process = stage.process()
    await process.deliver(payloads.mention())
    claimed = await stage.take()
    stage.leave_open(claimed, request, "I asked for the refund.")
    await stage.until(lambda: [row.state for row in stage.rows()] == ["waiting"] and stage.is_quiet())
    return process, claimed.id


async def test_a_call_that_its_turn_left_open_is_decided_later_and_answered_in_its_thread(stage: Stage) -> None:
    process, _ = await leave_open(stage)
    asked, call_count = stage.slack.texts(CHANNEL), len(stage.slack.calls)

    await push(process, stage, "May `refund` run?", "Approve")
    await stage.answer("Refunded.")

    assert asked == ["I asked for the refund.", ":raised_hand: May `refund` run?"]
    await stage.sees("I asked for the refund.", f"`refund`: approved by <@{PERSON}>", "Refunded.")
    assert [(row.state, row.follows is None) for row in stage.rows()] == [("answered", True), ("answered", False)]
    assert {message["thread_ts"] for message in stage.slack.channels[CHANNEL].values()} == {"1700000000.000100"}
    # The answer that stood there already did not flicker.
    edits = [arguments for name, arguments, _ in stage.slack.calls[call_count:] if name == "chat.update"]
    first_ts = min(stage.slack.channels[CHANNEL])
    assert {arguments["text"] for arguments in edits if arguments["ts"] == first_ts} <= {"I asked for the refund."}


async def test_a_later_answer_whose_post_was_lost_is_found_and_not_made_again(stage: Stage) -> None:
    process, _ = await leave_open(stage)
    stage.slack.fail("chat.postMessage", "lost")

    await push(process, stage, "May `refund` run?", "Deny")
    await stage.answer("Then not.")

    await stage.sees("I asked for the refund.", f"`refund`: denied by <@{PERSON}>", "Then not.")
    assert stage.slack.count("chat.postMessage") == 3


async def test_what_was_left_open_and_is_decided_elsewhere_is_answered_in_its_thread(stage: Stage) -> None:
    process, turn_id = await leave_open(stage)
    await process.die()
    await asyncio.to_thread(
        stage.database.run, decisions.decide, turn_id=turn_id, call_id="call-1", decision=Decision.approve(), by="boss"
    )

    stage.process().app.start()
    await stage.answer("Refunded.")

    await stage.sees("I asked for the refund.", "`refund`: approved by boss", "Refunded.")


async def test_what_was_left_open_and_nobody_decides_loses_its_buttons(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.slack.delivery.EXPIRY_SECONDS", 0.0)
    await leave_open(stage, replace(REFUND, expire_seconds=0.5))

    await stage.sees("I asked for the refund.", "`refund`: not decided")
    assert [row.state for row in stage.rows()] == ["answered"]


async def test_a_turn_that_is_queued_again_answers_where_it_failed(stage: Stage) -> None:
    process = stage.process()
    await process.deliver(payloads.mention())
    failed = await stage.take()
    stage.settle(failed, ending=Failed(error=TurnError("step_limit", "too many", fault=Fault.MODEL)))
    await stage.until(lambda: [row.state for row in stage.rows()] == ["answered"])
    (before,) = stage.slack.texts(CHANNEL)

    await process.producer.requeue_async(failed.id, tenant=TENANT)
    await stage.answer("It is on its way.")

    assert before.startswith(":warning:")
    await stage.sees("It is on its way.")
    assert stage.slack.count("chat.postMessage") == 1


async def test_a_turn_that_is_queued_again_behind_others_answers_in_its_thread_anew(stage: Stage) -> None:
    process = stage.process()
    await process.deliver(payloads.mention())
    failed = await stage.take()
    stage.settle(failed, ending=Failed(error=TurnError("step_limit", "too many", fault=Fault.MODEL)))
    await process.deliver(payloads.channel_message("And?", "1700000009.000100", thread_ts="1700000000.000100"), "Ev02")
    await stage.answer("Soon.")
    await stage.until(lambda: len(stage.slack.texts(CHANNEL)) == 2 and stage.is_quiet())

    await process.producer.requeue_async(failed.id, tenant=TENANT)
    await stage.answer("It is on its way.")

    await stage.until(lambda: stage.slack.texts(CHANNEL)[1:] == ["Soon.", "It is on its way."] and stage.is_quiet())


async def test_while_a_turn_waits_nothing_is_held(stage: Stage) -> None:
    process, _ = await begin(stage, REFUND)

    assert process.app._deliveries is not None
    await stage.until(lambda: process.app._deliveries._tasks == {})  # type: ignore[union-attr]
    assert [row.claim for row in stage.rows()] == [None]
