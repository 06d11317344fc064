"""Answers in Slack: one turn and one message, whatever is lost, late or doubled, and whichever process dies."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import select

from conversation.errors import Fault
from conversation.message import Message
from conversation.turn import Cancelled, Failed, TurnError
from producers.slack import SlackWorkspace
from producers.slack.desk import Desk
from store import tables
from tests.integration.producers.slack.stage import TENANT, THREAD, TOKEN, Stage
from tests.stub_slack import payloads
from tests.stub_slack.payloads import CHANNEL, DIRECT, PERSON, TEAM


async def test_a_mention_is_answered_once_under_its_message(stage: Stage) -> None:
    process = stage.process()

    response = await process.deliver(payloads.mention())
    claimed = await stage.answer("It is **on its way**.")

    await stage.sees("It is *on its way*.")
    assert (response.status_code, response.json()) == (200, {})
    (message,) = stage.slack.channels[CHANNEL].values()
    assert (message["thread_ts"], message["blocks"]) == ("1700000000.000100", [])
    assert [each.content for each in claimed.window] == ["Where is my order?"]
    assert claimed.user == PERSON
    assert claimed.metadata["slack"]["channel"] == CHANNEL
    assert {token for _, _, token in stage.slack.calls} == {TOKEN}


async def test_a_thread_goes_on_with_all_that_was_said_before(stage: Stage) -> None:
    process = stage.process()
    await process.deliver(payloads.mention())
    await stage.answer("On its way.")

    reply = payloads.channel_message("And when?", "1700000009.000100", thread_ts="1700000000.000100")
    await process.deliver(reply, "Ev02")
    claimed = await stage.answer("Tomorrow.")

    await stage.sees("On its way.", "Tomorrow.")
    assert [each.content for each in claimed.window] == ["Where is my order?", "On its way.", "And when?"]


async def test_what_people_say_to_each_other_is_not_for_the_agent(stage: Stage) -> None:
    process = stage.process()

    await process.deliver(payloads.channel_message("Lunch?", "1700000009.000100"))

    assert stage.rows() == []


async def test_a_direct_conversation_is_answered_in_its_channel(stage: Stage) -> None:
    process = stage.process()

    await process.deliver(payloads.direct_message())
    await stage.answer("On its way.", f"slack-{TEAM}-{DIRECT}")

    await stage.sees("On its way.", channel=DIRECT)
    (message,) = stage.slack.channels[DIRECT].values()
    assert message["thread_ts"] is None


async def test_an_event_that_comes_five_times_slowly_over_two_processes_is_one_turn(stage: Stage) -> None:
    one, other = stage.process(), stage.process()

    # Slack waits three seconds, then sends it again while the first delivery is still on its way.
    deliveries = [
        asyncio.create_task(process.deliver(payloads.mention(), retry=number))
        for number, process in enumerate([one, other, one, other])
    ]
    responses = await asyncio.gather(*deliveries)
    await stage.answer("It is on its way.")
    await stage.sees("It is on its way.")
    # The last one comes minutes later.
    responses.append(await other.deliver(payloads.mention(), retry=4))
    await asyncio.sleep(0.1)

    assert [response.status_code for response in responses] == [200] * 5
    assert stage.turns() == 1
    await stage.sees("It is on its way.")
    assert stage.slack.count("chat.postMessage") == 1


async def test_both_events_of_a_mention_are_one_turn(stage: Stage) -> None:
    process = stage.process()
    text = f"<@{payloads.BOT}> Where is my order?"

    await process.deliver(payloads.channel_message(text, "1700000000.000100"), "Ev01")
    await process.deliver(payloads.mention(text), "Ev02")
    await stage.answer()

    await stage.sees("It is on its way.")
    assert stage.turns() == 1


@pytest.mark.parametrize("event", [payloads.own_message(), payloads.bot_message(), payloads.changed_message()])
async def test_the_agent_does_not_answer_itself_other_bots_and_edits(stage: Stage, event: Any) -> None:
    response = await stage.process().deliver(event)

    assert response.status_code == 200
    assert stage.rows() == []


async def test_messages_of_one_thread_are_sent_in_the_order_in_which_they_were_written(stage: Stage) -> None:
    one, other = stage.process(), stage.process()
    first = payloads.direct_message("first")
    stage.slack.files["/files-pri/notes.txt"] = ("text/plain", b"hello world\n")
    first |= {"subtype": "file_share", "files": [payloads.shared_file(f"{stage.slack.url}/files-pri/notes.txt")]}

    await one.deliver(first, "Ev01")
    for number in range(1, 5):
        process = (one, other)[number % 2]
        await process.deliver(payloads.direct_message(f"message {number}", f"170000000{number}.000100"), f"Ev1{number}")
    thread_id = f"slack-{TEAM}-{DIRECT}"
    said = [(await stage.answer("ok", thread_id)).window[-1].content for _ in range(5)]
    await stage.until(stage.is_quiet)

    assert said == ["first", "message 1", "message 2", "message 3", "message 4"]


async def test_files_come_with_their_message(stage: Stage) -> None:
    process = stage.process()
    stage.slack.files["/files-pri/notes.txt"] = ("text/plain", b"hello world\n")
    file = payloads.shared_file(f"{stage.slack.url}/files-pri/notes.txt")

    await process.deliver(payloads.direct_message("read this", subtype="file_share", files=[file]))
    claimed = await stage.answer("Read.", f"slack-{TEAM}-{DIRECT}")

    (attachment,) = claimed.window[-1].attachments
    assert (attachment.filename, attachment.size) == ("notes.txt", 12)
    await stage.sees("Read.", channel=DIRECT)
    assert ("GET", {"path": "/files-pri/notes.txt"}, f"Bearer {TOKEN}") in stage.slack.calls


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"url_private_download": "https://evil.example/x", "url_private": "x"}, "it is not stored at Slack"),
        ({"url_private_download": "https://files.slack.com.evil.example/x"}, "it is not stored at Slack"),
        ({"url_private_download": "https://files.slack.com@evil.example/x"}, "it is not stored at Slack"),
        ({"url_private_download": "http://files.slack.com/x"}, "it is not stored at Slack"),
        ({"mode": "external"}, "it is not stored at Slack"),
        ({"mode": "tombstone"}, "it was deleted"),
        ({"size": 10**12}, "it has 1000000000000 bytes"),
        ({"url_private_download": None, "url_private": None}, "Slack gives no address of it"),
        ({"url_private_download": "/login"}, "Slack asks to log in for it"),
    ],
)
async def test_a_file_that_cannot_be_had_is_named_to_the_agent(
    stage: Stage, changed: dict[str, Any], reason: str
) -> None:
    url = f"{stage.slack.url}/files-pri/notes.txt"
    stage.slack.files["/files-pri/notes.txt"] = ("text/plain", b"hello world\n")
    if changed.get("url_private_download") == "/login":
        changed = {"url_private_download": f"{stage.slack.url}/login"}
    file = payloads.shared_file(url, **changed)

    await stage.process().deliver(payloads.direct_message("read this", subtype="file_share", files=[file]))
    claimed = await stage.answer("I cannot.", f"slack-{TEAM}-{DIRECT}")

    assert claimed.window[-1].attachments == []
    assert claimed.window[-1].content.startswith(f"read this\n\n[The file 'notes.txt' is not attached: {reason}")
    await stage.sees("I cannot.", channel=DIRECT)


async def test_a_file_of_another_workspace_is_asked_for_first(stage: Stage) -> None:
    stage.slack.files["/files-pri/notes.txt"] = ("text/plain", b"hello world\n")
    stage.slack.infos["F0NOTES"] = payloads.shared_file(f"{stage.slack.url}/files-pri/notes.txt")
    hint = {"id": "F0NOTES", "mode": "file_access", "file_access": "check_file_info", "created": 0, "user": ""}

    await stage.process().deliver(payloads.direct_message("read this", subtype="file_share", files=[hint]))
    claimed = await stage.answer("Read.", f"slack-{TEAM}-{DIRECT}")

    assert [each.filename for each in claimed.window[-1].attachments] == ["notes.txt"]
    await stage.until(stage.is_quiet)


async def test_a_message_that_cannot_be_taken_is_refused_in_words(stage: Stage) -> None:
    await stage.process().deliver(payloads.mention(f"<@{payloads.BOT}>"))

    await stage.until(lambda: len(stage.slack.texts(CHANNEL)) == 1 and stage.is_quiet())
    assert "Your message was not taken: content: is empty" in stage.slack.texts(CHANNEL)[0]
    assert stage.turns() == 0


async def test_a_process_that_dies_while_it_shows_an_answer_is_replaced(stage: Stage) -> None:
    one = stage.process()
    await one.deliver(payloads.mention())
    claimed = await stage.take()
    await stage.until(lambda: stage.slack.texts(CHANNEL) != [])
    await one.die()
    await stage.let_claims_end()

    stage.process().app.start()
    stage.settle(claimed, "It is on its way.")

    await stage.sees("It is on its way.")
    assert stage.slack.count("chat.postMessage") == 1


async def test_a_process_that_ends_in_order_is_replaced_at_once(stage: Stage) -> None:
    one = stage.process()
    await one.deliver(payloads.mention())
    claimed = await stage.take()
    await stage.until(lambda: stage.slack.texts(CHANNEL) != [])
    await one.app.close_async()

    stage.process().app.start()
    stage.settle(claimed, "It is on its way.")

    await stage.sees("It is on its way.")
    assert stage.slack.count("chat.postMessage") == 1


@pytest.mark.parametrize("moment", ["send_async", "mark_sent", "note_answer"])
async def test_a_process_that_dies_between_two_writes_leaves_one_turn_and_one_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    one = stage.process()
    hangs = asyncio.Event()
    run, complete = one.app._desk.run, one.app._desk.complete

    async def hang() -> None:
        hangs.set()
        await asyncio.Event().wait()

    async def run_or_hang(_: Any, tenant: str, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(operation, "__name__", "") == moment:
            await hang()
        return await run(tenant, operation, *args, **kwargs)

    async def complete_and_hang(_: Any, work: Any) -> Any:
        result = await complete(work)
        if work.__name__ == moment:
            await hang()
        return result

    monkeypatch.setattr(Desk, "run", run_or_hang)
    monkeypatch.setattr(Desk, "complete", complete_and_hang)
    await one.deliver(payloads.mention())
    await asyncio.wait_for(hangs.wait(), 10)
    await one.die()
    monkeypatch.undo()
    await stage.let_claims_end()

    stage.process().app.start()
    await stage.answer("It is on its way.")

    await stage.sees("It is on its way.")
    assert stage.turns() == 1
    assert stage.slack.count("chat.postMessage") == 1


async def test_a_post_whose_answer_was_lost_is_found_and_not_made_again(stage: Stage) -> None:
    stage.slack.fail("chat.postMessage", "lost")

    await stage.process().deliver(payloads.mention())
    await stage.answer("It is on its way.")

    await stage.sees("It is on its way.")
    assert stage.slack.count("chat.postMessage") == 1


async def test_a_post_that_was_not_made_is_made_again(stage: Stage) -> None:
    stage.slack.fail("chat.postMessage", "broken", "limited")

    await stage.process().deliver(payloads.mention())
    await stage.answer("It is on its way.")

    await stage.sees("It is on its way.")
    assert stage.slack.count("chat.postMessage") == 3


async def test_edits_that_are_limited_lost_or_broken_are_made_again(stage: Stage) -> None:
    stage.slack.fail("chat.update", "limited", "ratelimited", "broken", "lost", "internal_error")

    await stage.process().deliver(payloads.mention())
    await stage.answer("It is on its way.")

    await stage.sees("It is on its way.")


async def test_a_message_that_may_not_be_edited_any_more_is_followed_by_the_answer(stage: Stage) -> None:
    await stage.process().deliver(payloads.mention())
    claimed = await stage.take()
    await stage.until(lambda: stage.slack.texts(CHANNEL) != [])
    stage.slack.fail("chat.update", *["edit_window_closed"] * 3)
    stage.settle(claimed, "It is on its way.")

    await stage.until(stage.is_quiet)
    assert stage.slack.texts(CHANNEL)[-1] == "It is on its way."


@pytest.mark.parametrize("code", ["channel_not_found", "token_revoked", "is_archived"])
async def test_an_answer_that_slack_does_not_take_is_given_up(stage: Stage, code: str) -> None:
    stage.slack.fail("chat.postMessage", code)

    await stage.process().deliver(payloads.mention())
    await stage.until(lambda: bool(stage.rows()) and stage.is_quiet())

    assert [(row.state, row.error) for row in stage.rows()] == [("failed", code)]
    assert stage.turns() == 1


async def test_a_long_answer_is_several_messages_and_a_short_end_leaves_one(stage: Stage) -> None:
    words = " ".join(f"word{number}" for number in range(900))

    await stage.process().deliver(payloads.mention())
    await stage.answer(words)

    await stage.until(lambda: len(stage.slack.texts(CHANNEL)) == 3 and stage.is_quiet())
    assert " ".join(stage.slack.texts(CHANNEL)).split() == words.split()


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (Failed(error=TurnError("step_limit", "secret words", fault=Fault.MODEL)), ":warning: _The answer failed"),
        (Cancelled(messages=(Message(role="assistant", content="It is", state="partial"),)), "It is\n\n_Stopped._"),
    ],
)
async def test_an_answer_that_does_not_end_well_says_so(stage: Stage, ending: Any, text: str) -> None:
    await stage.process().deliver(payloads.mention())
    stage.settle(await stage.take(), ending=ending)

    await stage.until(lambda: bool(stage.rows()) and stage.is_quiet())
    (shown,) = stage.slack.texts(CHANNEL)
    assert shown.startswith(text)
    assert "secret" not in shown


async def test_a_turn_is_stopped_by_the_button_under_its_answer(stage: Stage) -> None:
    process = stage.process()
    await process.deliver(payloads.mention())
    claimed = await stage.take()

    elsewhere = await process.press("threadmill_stop", claimed.id, channel="C0OTHER")
    before = cancel_requests(stage)
    response = await process.press("threadmill_stop", claimed.id)

    assert (elsewhere.status_code, response.status_code) == (200, 200)
    assert (before, cancel_requests(stage)) == ([None], [PERSON])


async def test_workspaces_are_tenants_that_never_meet(stage: Stage) -> None:
    stage.workspaces["T0RIVAL"] = SlackWorkspace(tenant="rival", bot_token="xoxb-rival")
    process = stage.process()

    for team in (TEAM, "T0RIVAL", "T0NOBODY"):
        body = json.dumps(payloads.envelope(payloads.mention(), team=team)).encode()
        assert (await process.post("/slack/events", body)).status_code == 200
    await stage.answer("for acme")
    rival = await stage.take("slack-T0RIVAL-C0SALES-1700000000.000100", tenant="rival")
    stage.settle(rival, "for the rival")

    await stage.until(lambda: len(stage.slack.texts(CHANNEL)) == 2 and stage.is_quiet())
    assert sorted(row.tenant for row in stage.rows()) == ["acme", "rival"]
    tokens = {(args["text"], token) for name, args, token in stage.slack.calls if name == "chat.update"}
    assert ("for acme", TOKEN) in tokens
    assert ("for the rival", "xoxb-rival") in tokens


async def test_a_thread_that_is_deleted_under_its_answer_ends_it(stage: Stage) -> None:
    await stage.process().deliver(payloads.mention())
    await stage.take()
    await stage.until(lambda: stage.slack.texts(CHANNEL) != [])

    def delete(connection: Any) -> None:
        of_thread = (tables.threads.c.tenant == TENANT) & (tables.threads.c.id == THREAD)
        connection.execute(tables.threads.delete().where(of_thread))

    await asyncio.to_thread(stage.database.run, delete)

    await stage.until(lambda: stage.rows() == [])


def cancel_requests(stage: Stage) -> list[str | None]:
    return stage.database.run(lambda c: list(c.execute(select(tables.turns.c.cancel_requested_by)).scalars()))
