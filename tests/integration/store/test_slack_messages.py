"""Messages out of Slack in the database: entered once, claimed by one process at a time, in their thread's order."""

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import pytest
from sqlalchemy import select, update

from conversation.ids import new_id
from conversation.message import Message
from conversation.thread import Thread
from store import slack_messages
from store.blobs import MemoryBlobs
from store.database.column_types import clock
from store.database.engine import Database
from store.erasure import export_rows
from store.erasure.export import UserExport
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.slack_messages import NewSlackMessage, SlackMessage
from store.tables import slack_messages as table
from store.threads import repository

CHANNEL, THREAD = "C01", "slack-T01-C01-1700000000.000100"


def new_message(ts: str = "1700000000.000100", thread_id: str = THREAD, **values: Any) -> NewSlackMessage:
    given: dict[str, Any] = {
        "tenant": "default",
        "team_id": "T01",
        "channel_id": CHANNEL,
        "ts": ts,
        "event_id": "Ev01",
        "thread_id": thread_id,
        "reply_to": "1700000000.000100",
        "user_id": "U01",
        "content": "Where is my order?",
    }
    return NewSlackMessage(**{**given, **values})


def claim(database: Database, process: str, *, limit: int = 10, lease_seconds: float = 60) -> list[SlackMessage]:
    return database.run(
        slack_messages.claim_due, tenant="default", claim=process, lease_seconds=lease_seconds, limit=limit
    )


def row(database: Database, ts: str = "1700000000.000100") -> Any:
    return database.run(lambda c: c.execute(select(table).where(table.c.ts == ts)).one())


def save_thread(database: Database) -> None:
    thread = Thread(THREAD, messages=[Message(role="user", content="hello")])
    database.run(repository.save, thread=thread, new=thread.new_messages)


def test_a_message_is_entered_once_whichever_event_tells_of_it(any_database: Database) -> None:
    first = any_database.run(slack_messages.enter, new_message())
    again = any_database.run(slack_messages.enter, new_message())
    as_another_event = any_database.run(slack_messages.enter, new_message(event_id="Ev02"))

    assert (first, again, as_another_event) == (True, False, False)
    assert row(any_database).event_id == "Ev01"


def test_the_same_channel_in_another_workspace_is_another_one(any_database: Database) -> None:
    any_database.run(slack_messages.enter, new_message())

    assert any_database.run(slack_messages.enter, new_message(team_id="T02"))
    assert any_database.run(slack_messages.enter, new_message(tenant="other"))


def test_many_deliveries_at_once_enter_one_message(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        entered = list(pool.map(lambda _: database.run(slack_messages.enter, new_message()), range(16)))

    assert entered.count(True) == 1


def test_a_message_without_a_mention_is_for_the_agent_only_where_it_takes_part(any_database: Database) -> None:
    later = new_message("1700000009.000100")

    unknown = any_database.run(slack_messages.enter, later, only_in_known_threads=True)
    save_thread(any_database)
    known = any_database.run(slack_messages.enter, later, only_in_known_threads=True)

    assert (unknown, known) == (False, True)


def test_a_thread_is_known_as_soon_as_its_first_message_came(any_database: Database) -> None:
    any_database.run(slack_messages.enter, new_message())

    assert any_database.run(slack_messages.enter, new_message("1700000009.000100"), only_in_known_threads=True)


def test_a_message_is_claimed_by_one_process_until_its_claim_ends(any_database: Database) -> None:
    any_database.run(slack_messages.enter, new_message())
    one, other = new_id(), new_id()

    claimed, refused = claim(any_database, one), claim(any_database, other)
    any_database.run(lambda c: c.execute(update(table).values(due_at=clock(plus_seconds=-1))) and None)
    taken_over = claim(any_database, other)

    assert [message.content for message in claimed] == ["Where is my order?"]
    assert refused == []
    assert [message.attempts for message in taken_over] == [2]


def test_many_processes_at_once_claim_a_message_once(database: Database) -> None:
    for number in range(10):
        database.run(slack_messages.enter, new_message(f"170000000{number}.000100", f"thread-{number}"))

    with ThreadPoolExecutor(6) as pool:
        claims = list(pool.map(lambda _: claim(database, new_id(), limit=4), range(6)))

    keys = [message.key for messages in claims for message in messages]
    assert len(keys) == len(set(keys)) == 10


def test_of_one_thread_a_message_waits_until_the_one_before_has_its_turn(any_database: Database) -> None:
    save_thread(any_database)
    first, second = new_message(), new_message("1700000009.000100")
    for message in (second, first):
        any_database.run(slack_messages.enter, message)
    process = new_id()

    claimed = claim(any_database, process)
    blocked = claim(any_database, process)
    any_database.run(slack_messages.mark_sent, claimed[0], process, new_id())
    freed = claim(any_database, process)

    assert [message.ts for message in claimed] == [first.ts]
    assert blocked == []
    assert [message.ts for message in freed] == [second.ts]


def test_what_was_written_goes_as_soon_as_a_turn_has_it(any_database: Database) -> None:
    save_thread(any_database)
    any_database.run(slack_messages.enter, new_message(files=[{"id": "F01"}]))
    process, turn_id = new_id(), new_id()
    (message,) = claim(any_database, process)

    assert any_database.run(slack_messages.mark_sent, message, process, turn_id)

    stored = row(any_database)
    assert (stored.state, stored.content, stored.files, stored.turn_id) == ("sent", None, None, turn_id)
    assert stored.thread_key is not None


@pytest.mark.parametrize("verb", ["mark_sent", "note_answer", "postpone", "finish"])
def test_whoever_lost_the_claim_writes_nothing(any_database: Database, verb: str) -> None:
    any_database.run(slack_messages.enter, new_message())
    (message,) = claim(any_database, new_id())
    before = row(any_database)
    arguments = {"mark_sent": {"turn_id": new_id()}, "note_answer": {"answer": {}}, "postpone": {"seconds": 9}}

    written = any_database.run(getattr(slack_messages, verb), message, new_id(), **arguments.get(verb, {}))

    assert written is False
    assert row(any_database) == before


def test_claims_that_are_extended_go_on(any_database: Database) -> None:
    any_database.run(slack_messages.enter, new_message())
    one, other = new_id(), new_id()
    (message,) = claim(any_database, one, lease_seconds=-1)

    assert any_database.run(slack_messages.extend_claim, "default", one, [message.key], lease_seconds=60) == 1
    assert claim(any_database, other) == []


def test_a_process_that_ends_gives_its_messages_to_others_at_once(any_database: Database) -> None:
    any_database.run(slack_messages.enter, new_message())
    one, other = new_id(), new_id()
    claim(any_database, one)

    any_database.run(slack_messages.release, "default", one)

    assert len(claim(any_database, other)) == 1


def test_a_message_whose_turn_waits_is_taken_up_when_it_is_decided(any_database: Database) -> None:
    save_thread(any_database)
    any_database.run(slack_messages.enter, new_message())
    process, turn_id = new_id(), new_id()
    (message,) = claim(any_database, process)
    any_database.run(slack_messages.mark_sent, message, process, turn_id)
    any_database.run(slack_messages.postpone, message, process, seconds=300, is_waiting=True)

    asleep = claim(any_database, process)
    any_database.run(slack_messages.wake, "default", turn_id)
    awake = claim(any_database, process)

    assert asleep == []
    assert [each.state for each in awake] == ["waiting"]


def test_what_is_over_is_not_claimed_again_and_is_forgotten_later(any_database: Database) -> None:
    any_database.run(slack_messages.enter, new_message())
    process = new_id()
    (message,) = claim(any_database, process)
    any_database.run(slack_messages.finish, message, process, error="channel_not_found")

    assert claim(any_database, process) == []
    assert any_database.run(slack_messages.enter, new_message()) is False
    assert any_database.run(slack_messages.forget_finished, "default", days=7) == 0
    assert any_database.run(slack_messages.forget_finished, "default", days=-1) == 1


@pytest.mark.parametrize("subject", [{"user": "U01"}, {"thread_id": THREAD}, {"whole_tenant": True}])
def test_an_erasure_takes_a_message_that_has_no_turn_yet(
    any_database: Database, tmp_path: Any, subject: dict[str, Any]
) -> None:
    from store.blobs import open_file_store
    from store.settings import load

    any_database.run(slack_messages.enter, new_message())
    any_database.run(slack_messages.enter, new_message("1700000001.000100", "another", user_id="U02", tenant="other"))
    files = open_file_store(load(file_store_url=str(tmp_path)))

    certificate = run_erasure(any_database, files, Subject(tenant="default", **subject))

    left = any_database.run(lambda c: list(c.execute(select(table.c.user_id)).scalars()))
    assert left == ["U02"]
    assert certificate["counts"]["slack_messages"] == 1


@pytest.mark.parametrize("subject", [{"user": "U01"}, {"thread_id": THREAD}])
def test_an_export_has_the_messages_of_its_subject(
    any_database: Database, monkeypatch: pytest.MonkeyPatch, subject: dict[str, Any]
) -> None:
    monkeypatch.setattr(export_rows, "PAGE", 1)
    for number in range(2):
        any_database.run(slack_messages.enter, new_message(f"170000000{number}.000100", files=[{"id": "F01"}]))
    any_database.run(slack_messages.enter, new_message("1700000005.000100", "another", user_id="U02"))
    target = BytesIO()

    UserExport(any_database, MemoryBlobs(), Subject(tenant="default", **subject)).write(target)

    lines = [json.loads(line) for line in ZipFile(target).read("slack.jsonl").splitlines()]
    assert [line["ts"] for line in lines] == ["1700000000.000100", "1700000001.000100"]
    assert (lines[0]["content"], lines[0]["files"], lines[0]["state"]) == (
        "Where is my order?",
        [{"id": "F01"}],
        "received",
    )
