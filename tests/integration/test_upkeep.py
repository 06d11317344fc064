"""Summaries and retention: what they cover, what they delete, and what they never touch."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, update

from conversation.attachment import Attachment
from conversation.ids import new_id
from conversation.message import Message, ToolCall, Usage
from conversation.thread import Thread
from conversation.turn import ClaimedTurn
from store import blob_gc, claims, inbox, schedule, summaries, tables, threads, workers
from store.claims import Claimant
from store.engine import Database
from store.files import LocalBlobs
from store.inbox import Request
from store.retention.audit import hash_of
from store.settings import Settings, load
from tasks import upkeep
from tasks.retention import run_retention

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def save(database: Database, thread: Thread) -> Thread:
    threads.apply(thread, database.run(partial(threads.save, thread=thread, new=thread.new_messages)))
    return thread


def chat(thread_id: str, count: int, *, with_tools: bool = False) -> Thread:
    thread = Thread(thread_id)
    for index in range(count):
        thread.add_message(Message(role="user", content=f"question {index}"))
        if with_tools:
            thread.add_message(Message(role="assistant", tool_calls=(ToolCall(f"c{index}", "look", "{}"),)))
            thread.add_message(Message(role="tool", tool_call_id=f"c{index}", content='"seen"'))
        thread.add_message(Message(role="assistant", content=f"answer {index}"))
    return thread


def claim(database: Database, thread_id: str) -> ClaimedTurn:
    worker = new_id()
    register = partial(workers.register, worker=worker, host="", pid=1, serves={"a": "1"}, lease_seconds=60)
    database.run(register)
    request = Request(
        turn_id=new_id(),
        tenant="default",
        thread_id=thread_id,
        message=Message(role="user", content="and now?"),
        agent="a",
    )
    database.run(partial(inbox.accept, request=request))
    claimant = Claimant(worker=worker, agents={"a": "1"})
    claimed = database.run(partial(claims.claim, tenant="default", thread_id=thread_id, claimant=claimant))
    assert isinstance(claimed, ClaimedTurn)
    return claimed


def age(database: Database, thread_id: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(
            update(tables.threads).where(tables.threads.c.id == thread_id).values(updated_at=LONG_AGO)
        )


@pytest.mark.parametrize("with_tools", [False, True])
def test_a_summary_covers_whole_turns_and_stands_before_the_rest(
    any_database: Database, *, with_tools: bool
) -> None:
    thread = save(any_database, chat("t", 10, with_tools=with_tools))

    draft = any_database.run(partial(summaries.draft, tenant="default", thread_id="t", keep_messages=5))
    assert draft is not None
    assert draft.covered[-1].content.startswith("answer")
    put = partial(summaries.put, draft=draft, content="they talked", model="m", usage=Usage())
    assert any_database.run(put)
    claimed = claim(any_database, "t")

    assert claimed.context == ("Summary of the conversation before:\nthey talked",)
    assert claimed.window[0].role == "user"
    assert claimed.window[0].seq == draft.to_seq + 1
    assert claimed.window[-1].content == "and now?"
    stored = any_database.run(partial(threads.load, tenant="default", thread_id="t"))
    assert [m.id for m in stored.messages[:-1]] == [m.id for m in thread.messages]


def test_of_two_summaries_at_once_the_first_one_stands(any_database: Database) -> None:
    save(any_database, chat("t", 10))
    draft = any_database.run(partial(summaries.draft, tenant="default", thread_id="t", keep_messages=4))
    assert draft is not None

    first = any_database.run(partial(summaries.put, draft=draft, content="one", model="m", usage=Usage()))
    second = any_database.run(partial(summaries.put, draft=draft, content="two", model="m", usage=Usage()))

    assert (first, second) == (True, False)
    assert claim(any_database, "t").context[0].endswith("one")


def test_a_summary_that_is_dropped_shows_the_messages_again(any_database: Database) -> None:
    save(any_database, chat("t", 10))
    draft = any_database.run(partial(summaries.draft, tenant="default", thread_id="t", keep_messages=4))
    assert draft is not None
    any_database.run(partial(summaries.put, draft=draft, content="one", model="m", usage=Usage()))

    assert any_database.run(partial(summaries.drop, tenant="default", thread_id="t"))

    claimed = claim(any_database, "t")
    assert claimed.context == ()
    assert len(claimed.window) == 21


def test_threads_are_summarized_when_they_are_overdue_and_then_no_more(
    database: Database, database_url: str
) -> None:
    settings = load(database_url=database_url, summarize_after_messages=30, summarize_keep_messages=10)
    save(database, chat("long", 20))
    save(database, chat("short", 5))

    assert upkeep.run_summaries(database, settings) == 1
    assert upkeep.run_summaries(database, settings) == 0

    with database.engine.begin() as connection:
        rows = connection.execute(select(tables.summaries.c.to_seq, tables.summaries.c.model)).all()
    assert [tuple(row) for row in rows] == [(30, "offline/recall")]


@pytest.fixture
def kept(any_database: Database, tmp_path: Path) -> tuple[Database, Settings, LocalBlobs]:
    settings = load(
        database_url=any_database.settings.database_url,
        file_store=str(tmp_path / "files"),
        retention_days=30,
        blob_grace_days=0,
    )
    return any_database, settings, LocalBlobs(tmp_path / "files")


def with_file(thread_id: str, blobs: LocalBlobs, content: bytes) -> Thread:
    file = Attachment(filename="a.txt", content=content, mime_type="text/plain")
    assert file.sha256 is not None
    blobs.put("default", file.sha256, content, "text/plain")
    thread = Thread(thread_id)
    thread.add_message(Message(role="user", content="see", attachments=[file]))
    return thread


def test_old_threads_go_with_the_blobs_that_nobody_else_has(
    kept: tuple[Database, Settings, LocalBlobs],
) -> None:
    database, settings, blobs = kept
    for thread_id, content in (("old", b"mine"), ("old2", b"shared"), ("new", b"shared")):
        save(database, with_file(thread_id, blobs, content))
    age(database, "old")
    age(database, "old2")

    first = run_retention(database, settings)

    assert (first.threads, first.blobs) == (2, 1)
    assert len(list(blobs.list("default"))) == 1
    assert [thread.id for thread in database.run(partial(threads_listed))] == ["new"]
    with database.engine.begin() as connection:
        gone = select(tables.audit.c.thread_id).where(tables.audit.c.action == "retention.thread_deleted")
        audited = set(connection.execute(gone).scalars())
    assert audited == {hash_of("default", "old"), hash_of("default", "old2")}


def test_a_blob_stays_for_its_grace(kept: tuple[Database, Settings, LocalBlobs]) -> None:
    database, settings, blobs = kept
    save(database, with_file("old", blobs, b"mine"))
    age(database, "old")

    done = run_retention(database, settings.model_copy(update={"blob_grace_days": 7}))

    assert (done.threads, done.blobs) == (1, 0)
    assert len(list(blobs.list("default"))) == 1


def test_a_thread_under_legal_hold_or_with_work_ahead_stays(
    kept: tuple[Database, Settings, LocalBlobs],
) -> None:
    database, settings, _ = kept
    save(database, chat("held", 1))
    save(database, chat("busy", 1))
    claim(database, "busy")
    with database.engine.begin() as connection:
        held = update(tables.threads).where(tables.threads.c.id == "held").values(legal_hold=True)
        connection.execute(held)
    age(database, "held")
    age(database, "busy")

    assert run_retention(database, settings).threads == 0


def test_retention_is_off_unless_days_are_set(kept: tuple[Database, Settings, LocalBlobs]) -> None:
    database, settings, _ = kept
    save(database, chat("old", 1))
    age(database, "old")

    assert run_retention(database, settings.model_copy(update={"retention_days": 0})).threads == 0
    assert run_retention(database, settings.model_copy(update={"retention_days": 1})).threads == 1


def test_a_crash_between_object_and_row_is_made_up_for(
    kept: tuple[Database, Settings, LocalBlobs],
) -> None:
    database, settings, blobs = kept
    save(database, with_file("old", blobs, b"mine"))
    age(database, "old")
    database.run(partial(threads.delete_thread, tenant="default", thread_id="old"))
    database.run(blob_gc.mark_unused_blobs)
    for sha256 in list(blobs.list("default")):
        blobs.delete("default", sha256)

    assert run_retention(database, settings).blobs == 1


def test_two_beats_run_a_schedule_once_a_period(any_database: Database) -> None:
    hour = timedelta(hours=1).total_seconds()

    runs = [any_database.run(partial(schedule.claim_run, schedule="s", every_seconds=hour)) for _ in range(2)]

    assert runs[0] is not None
    # The second is None, unless the hour struck between the two.
    assert runs[1] is None or runs[1] > runs[0]
    any_database.run(partial(schedule.finish_run, schedule="s", due_at=runs[0], outcome={"written": 1}))


def threads_listed(connection: object) -> list[Thread]:
    from store.listing import ThreadFilter, list_threads

    return list_threads(connection, ThreadFilter())  # type: ignore[arg-type]
