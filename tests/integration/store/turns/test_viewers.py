"""What the store does for a viewer, on each database: threads, messages, turns, context and files that it may see."""

from collections.abc import Callable
from typing import Any

import pytest

from conversation.errors import InvalidInput, ThreadmillError, ThreadNotFound, TurnNotFound
from conversation.ids import new_id
from conversation.message import Message
from conversation.thread import Thread
from store.database.engine import Database
from store.files.attachable import FileChoice, resolve_files
from store.retention.delete_thread import delete_visible_thread
from store.threads.editing import create_thread, edit_thread, version_of
from store.threads.forks import fork_visible_thread
from store.threads.listing import ThreadFilter
from store.threads.thread_context import delete_context, list_context, put_context
from store.threads.thread_views import list_views, read_view, read_views
from store.threads.visible_threads import Viewer
from store.turns.message_pages import list_messages
from store.turns.send_request import UNLIMITED, SendRequest
from store.turns.thread_turns import list_of_thread
from store.turns.visible_send import accept_of_viewer, check_send
from store.turns.visible_turns import cancel_turn, read_turn, requeue_turn
from tests.integration.desk import Desk

ADA, BOB, TENANT = Viewer("default", "ada"), Viewer("default", "bob"), Viewer("default")
RIVAL = Viewer("rival")


def request(thread: str = "t", content: str = "and now?") -> SendRequest:
    message = Message(role="user", content=content)
    return SendRequest(turn_id=new_id(), tenant="default", thread_id=thread, message=message, agent="a", user="ada")


def test_a_viewer_reads_and_changes_its_own(any_database: Database) -> None:
    run = any_database.run
    desk = Desk(any_database)

    assert run(create_thread, Thread("t", user="ada", title="first", metadata={"a": 1})) is not None
    assert run(create_thread, Thread("t")) is None
    desk.settle(desk.claim())
    sent = run(accept_of_viewer, ADA, request(), UNLIMITED)
    view = run(read_view, ADA, "t")
    page = run(list_messages, ADA, "t", limit=5, order="desc")
    edited = run(edit_thread, ADA, "t", title=None, versions=[version_of(view.title, view.metadata, view.user)])
    copy = run(fork_visible_thread, ADA, "t", "copy", at=2)

    assert (view.messages, view.running_turn, view.user) == (2, None, "ada")
    assert [message.seq for message in page.messages] == [2, 1]
    assert [pending.turn_id for pending in page.pending] == [sent.accepted.turn_id]
    assert view.last_event_id > max(page.numbers.values())
    assert edited is not None
    assert copy is not None
    assert (edited.title, copy.messages, copy.last_event_id > 0) == (None, 2, True)
    assert run(edit_thread, ADA, "t", title="x", versions=["other"]) is None
    assert [each.id for each in run(list_views, ThreadFilter(user="ada"), limit=5)] == ["copy", "t"]
    assert set(run(read_views, ThreadFilter(user="ada"), ["t", "none"])) == {"t"}
    assert run(put_context, ADA, "t", "place", "Lisbon").content == "Lisbon"
    assert [text.key for text in run(list_context, ADA, "t")] == ["place"]
    assert [run(delete_context, ADA, "t", "place") for _ in range(2)] == [True, False]
    assert run(read_turn, ADA, sent.accepted.turn_id).position == 0
    assert run(cancel_turn, ADA, sent.accepted.turn_id, by="ada")[1].record.state == "cancelled"
    ids = {"new_turn_id": new_id(), "new_message_id": new_id()}
    assert run(requeue_turn, ADA, sent.accepted.turn_id, **ids)[1].record.state == "queued"
    run(delete_visible_thread, ADA, "t")
    assert [each.id for each in run(list_views, ThreadFilter(), limit=5)] == ["copy"]


@pytest.mark.parametrize("viewer", [BOB, RIVAL], ids=["bob", "rival"])
def test_what_a_viewer_may_not_see_is_not_there(any_database: Database, viewer: Viewer) -> None:
    desk = Desk(any_database)
    any_database.run(create_thread, Thread("t", user="ada"))
    desk.settle(desk.claim())
    turn = any_database.run(accept_of_viewer, ADA, request(), UNLIMITED).accepted.turn_id
    ids = {"new_turn_id": new_id(), "new_message_id": new_id()}
    row = desk.row()
    tries: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
        (read_view, (viewer, "t"), {}),
        (edit_thread, (viewer, "t"), {"title": "x"}),
        (fork_visible_thread, (viewer, "t", "copy"), {}),
        (list_messages, (viewer, "t"), {"limit": 5}),
        (list_of_thread, (viewer.tenant, "t"), {"limit": 5, "user": viewer.user}),
        (list_context, (viewer, "t"), {}),
        (put_context, (viewer, "t", "k", "x"), {}),
        (delete_context, (viewer, "t", "k"), {}),
        (delete_visible_thread, (viewer, "t"), {}),
        (accept_of_viewer, (viewer, request(), UNLIMITED), {}),
        (read_turn, (viewer, turn), {}),
        (cancel_turn, (viewer, turn), {"by": "x"}),
        (requeue_turn, (viewer, turn), ids),
    ]

    for operation, arguments, options in tries:
        with pytest.raises((ThreadNotFound, TurnNotFound)):
            any_database.run(operation, *arguments, **options)
    assert desk.row() == row


def test_a_hash_alone_attaches_nothing(any_database: Database) -> None:
    sha256 = "0" * 64
    for thread in (None, 1):
        with pytest.raises(InvalidInput, match=r"attachments\.sha256"):
            any_database.run(resolve_files, "default", None, thread, [FileChoice(sha256)])
    assert any_database.run(check_send, ADA, "new", []) == []
    with pytest.raises(ThreadmillError):
        any_database.run(check_send, ADA, "new", [FileChoice(sha256)])
