"""Messages that were sent and not claimed: a reader of their thread sees them, once, and they stay what they are."""

from typing import Any

import pytest
from sqlalchemy import Connection

from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from conversation.ids import new_id
from conversation.message import Message
from conversation.thread import Thread
from store import thread_store
from store.database.engine import Database
from store.files.ingest import FileIngest
from store.threads import repository
from store.turns import claims, inbox
from store.turns.cancel import request_cancel
from store.turns.requeue import requeue
from store.turns.send_request import SendRequest
from tests.integration.desk import Desk


@pytest.fixture
def desk(any_database: Database) -> Desk:
    return Desk(any_database)


def send(desk: Desk, content: str, *, tenant: str = "default", files: list[Attachment] | None = None) -> str:
    """Send a message to thread `t`; returns its turn."""
    message = Message(role="user", content=content, attachments=files or [], metadata={"from": "web"})
    request = SendRequest(
        turn_id=new_id(), tenant=tenant, thread_id="t", message=message, agent="a", allow_unknown_agent=True
    )
    return desk.database.run(inbox.accept, request=request).turn_id


def read(desk: Desk, **options: Any) -> Thread:
    return desk.database.run(repository.load, "default", "t", **options)


def shown(thread: Thread) -> tuple[list[str], list[tuple[str, str, str]]]:
    """What was said, and what waits."""
    waiting = [(each.message.content, each.turn_id, each.turn_state.value) for each in thread.pending]
    return [message.content for message in thread.messages], waiting


def test_a_message_is_pending_until_it_is_claimed_and_in_the_history_from_then_on(desk: Desk) -> None:
    turns_sent = [send(desk, content) for content in ("one", "two", "three")]
    send(desk, "of another tenant", tenant="acme")
    assert shown(read(desk)) == (
        [],
        [(c, t, "queued") for c, t in zip(("one", "two", "three"), turns_sent, strict=True)],
    )

    desk.database.run(claims.claim, tenant="default", thread_id="t", claimant=desk.claimant)
    desk.database.run(request_cancel, turn_id=turns_sent[1])

    thread = read(desk)
    assert shown(thread) == (["one"], [("three", turns_sent[2], "queued")])
    (waiting,) = thread.pending
    assert (waiting.message.seq, waiting.message.turn_id, waiting.message.role) == (None, turns_sent[2], "user")
    assert waiting.message.metadata == {"from": "web"}
    desk.database.run(requeue, turns_sent[1], new_turn_id=(again := new_id()), new_message_id=new_id())
    assert shown(read(desk))[1] == [("three", turns_sent[2], "queued"), ("two", again, "queued")]


def test_a_bounded_read_shows_the_newest_ones(desk: Desk) -> None:
    for content in ("one", "two", "three"):
        send(desk, content)

    assert [content for content, *_ in shown(read(desk, last=2))[1]] == ["two", "three"]
    with pytest.raises(InvalidInput, match="last: is 0"):
        read(desk, last=0)


def test_a_pending_message_shows_its_files(desk: Desk, tmp_path: Any) -> None:
    from store.blobs import open_file_store

    file = Attachment(filename="a.txt", content=b"some text", media_type="text/plain")
    settings = desk.database.settings.model_copy(update={"file_store_url": str(tmp_path)})
    FileIngest(desk.database, open_file_store(settings)).store("default", [file])

    send(desk, "with a file", files=[file])

    (waiting,) = read(desk).pending
    assert [(each.filename, each.size, each.content) for each in waiting.message.attachments] == [("a.txt", 9, None)]


def test_a_message_that_is_claimed_in_the_middle_of_a_read_is_seen_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = send(desk, "one")
    load_pending = repository.load_pending
    claimant = Database(desk.database.settings)

    def claim_behind(connection: Connection, *args: Any, **options: Any) -> Any:
        pending = load_pending(connection, *args, **options)
        claimant.run(claims.claim, tenant="default", thread_id="t", claimant=desk.claimant)
        return pending

    monkeypatch.setattr(repository, "load_pending", claim_behind)

    # SQLite reads all of it as it was when the reading began.
    seen = ([], [("one", turn, "queued")]) if desk.database.is_sqlite else (["one"], [])
    assert shown(read(desk)) == seen
    claimant.close()


async def test_saving_what_was_read_stores_nothing_of_what_is_pending(desk: Desk) -> None:
    turn = send(desk, "one")
    settings = desk.database.settings
    async with thread_store.ThreadStore(settings) as store:
        thread = await store.get_thread("t")
        written = thread.to_json()
        thread.title = "Hello"
        await store.save_thread(thread)

        assert [(p["content"], p["turn_id"], p["turn_state"]) for p in written["pending"]] == [("one", turn, "queued")]
        assert Thread.from_json(written).pending == ()
        assert shown(await store.get_thread("t")) == ([], [("one", turn, "queued")])
        (listed,) = await store.list_threads()
        assert listed.pending == ()
