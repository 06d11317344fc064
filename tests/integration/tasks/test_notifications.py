"""The listener of the maintenance worker: what commits bring about is seen to at once, once, and after every outage."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

import tasks.notifications
from conversation.ids import new_id
from conversation.message import Message
from conversation.task_contract import WakeUp
from conversation.when_busy import WhenBusy
from store.database.engine import Database
from store.notifications import Heard, open_notifications
from store.settings import load
from store.turns import inbox
from store.turns.send_request import UNLIMITED, SendRequest
from store.turns.sweep import pick_wake_ups
from tasks.notifications import NotificationListener
from tests.integration.store.database.faults.pooler import Pooler
from tests.integration.store.webhooks.conftest import KEY
from tests.integration.webhook_scene import WebhookScene

SEND = "SELECT threadmill.send_message(%s, 'hello', allow_unknown_agent => true)::text"
PATIENCE = 10


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[WakeUp]:
    """The wake-ups that listeners published."""
    wake_ups: list[WakeUp] = []

    def publish(wake_up: WakeUp) -> bool:
        wake_ups.append(wake_up)
        return True

    monkeypatch.setattr(tasks.notifications, "publish_wake_up", publish)
    monkeypatch.setattr(tasks.notifications, "RECONNECT_FIRST_SECONDS", 0.05)
    return wake_ups


@pytest.fixture
def raw(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def listen(database_url: str, published: list[WakeUp]) -> Iterator[Callable[[], NotificationListener]]:
    """Start a listener, and wait until it listens."""
    listeners: list[NotificationListener] = []

    def start() -> NotificationListener:
        listeners.append(NotificationListener(load(database_url=database_url)))
        listeners[-1].start()
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.stop()
        assert not listener._thread.is_alive()


def listening(raw: psycopg.Connection[Any]) -> set[int]:
    """The processes of the server that listen, for connections of this database."""
    rows = raw.execute(
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN %' AND state = 'idle'"
    ).fetchall()
    return {pid for (pid,) in rows}


def wait_until(is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < give_up_at, "it never came"
        time.sleep(0.01)


def send(raw: psycopg.Connection[Any], thread_id: str) -> str:
    row = raw.execute(SEND, [thread_id]).fetchone()
    assert row is not None
    return str(row[0])


def test_two_listeners_publish_each_thread_once(
    raw: psycopg.Connection[Any],
    listen: Callable[[], NotificationListener],
    published: list[WakeUp],
    database: Database,
) -> None:
    listen(), listen()
    wait_until(lambda: len(listening(raw)) == 2)

    sent = {send(raw, f"t-{number}") for number in range(20)}
    with raw.transaction():
        sent |= {send(raw, f"u-{number}") for number in range(200)}

    wait_until(lambda: len(published) >= len(sent))
    assert {wake_up.turn_id for wake_up in published} == sent
    time.sleep(0.2)
    assert len(published) == len(sent)
    assert database.run(pick_wake_ups, grace_seconds=10, limit=500) == []


def test_a_thread_that_waits_for_an_earlier_turn_is_not_published_twice(
    raw: psycopg.Connection[Any], listen: Callable[[], NotificationListener], published: list[WakeUp]
) -> None:
    listen()
    wait_until(lambda: bool(listening(raw)))
    first = send(raw, "t")
    wait_until(lambda: len(published) == 1)

    send(raw, "t")
    other = send(raw, "u")

    wait_until(lambda: len(published) == 2)
    assert [wake_up.turn_id for wake_up in published] == [first, other]


def test_a_listener_whose_connection_was_cut_listens_again(
    raw: psycopg.Connection[Any], listen: Callable[[], NotificationListener], published: list[WakeUp]
) -> None:
    listen()
    cut: set[int] = set()
    for round_number in range(3):
        wait_until(lambda cut=cut: bool(listening(raw) - cut))
        sent = send(raw, f"t-{round_number}")
        wait_until(lambda sent=sent: sent in {wake_up.turn_id for wake_up in published})
        cut.update(listening(raw))
        raw.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [list(cut)])


@pytest.mark.parametrize(
    "payload", ["", "²", "-1", " 7", "9" * 30, "9" * 5_000, "7@", "7@-1", "7@" + "9" * 20, "'; drop table turns; --"]
)
def test_a_notification_of_anybody_else_disturbs_no_listener(
    raw: psycopg.Connection[Any], listen: Callable[[], NotificationListener], published: list[WakeUp], payload: str
) -> None:
    listen()
    wait_until(lambda: bool(listening(raw)))
    (pid,) = listening(raw)

    raw.execute("SELECT pg_notify('threadmill_turns', %s)", [payload])
    sent = send(raw, "t")

    wait_until(lambda: sent in {wake_up.turn_id for wake_up in published})
    assert listening(raw) == {pid}


def test_nothing_listens_behind_a_pooler(database_url: str, raw: psycopg.Connection[Any]) -> None:
    """It would leave a server's connection listening, and hear nothing itself."""
    with Pooler(database_url) as pooler:
        listener = NotificationListener(load(database_url=pooler.url))
        listener.start()
        wait_until(lambda: not listener._thread.is_alive())
        listener.stop()

    assert listening(raw) == set()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the sender to webhooks was asked for."""
    moments: list[float] = []

    def note(*, expires_seconds: float) -> bool:
        assert expires_seconds > 0
        moments.append(time.monotonic())
        return True

    monkeypatch.setattr(tasks.notifications, "request_webhooks", note)
    return moments


@pytest.mark.parametrize("use_functions", [True, False])
def test_a_turn_that_waits_for_more_messages_is_woken_when_it_has_waited_enough(
    raw: psycopg.Connection[Any],
    listen: Callable[[], NotificationListener],
    published: list[WakeUp],
    database_url: str,
    use_functions: bool,
) -> None:
    listen()
    wait_until(lambda: bool(listening(raw)))
    with closing(Database(load(database_url=database_url), use_functions=use_functions)) as database:
        begun_at = time.monotonic()
        first, second = (send_to_be_merged(database, seconds) for seconds in (0.2, 30.0))
        assert not published

        wait_until(lambda: bool(published))

    # The window of the first one counts, and nobody sweeps.
    assert 0.2 <= time.monotonic() - begun_at < 2
    assert [wake_up.turn_id for wake_up in published] == [first]
    assert second != first


def test_of_several_windows_of_a_thread_that_are_heard_at_once_the_first_counts(
    raw: psycopg.Connection[Any], database: Database
) -> None:
    with open_notifications(database) as notifications:
        notifications.listen()
        with raw.transaction():
            for payload in ("7@200", "7@30000", "8", "9@50"):
                raw.execute("SELECT pg_notify('threadmill_turns', %s)", [payload])

        heard = notifications.wait(PATIENCE)

    assert heard == Heard(threads=frozenset({8}), windows={7: 0.2, 9: 0.05})


def send_to_be_merged(database: Database, seconds: float) -> str:
    request = SendRequest(
        turn_id=new_id(),
        tenant="default",
        thread_id="t",
        message=Message(role="user", content="hello"),
        agent="a",
        allow_unknown_agent=True,
        when_busy=WhenBusy.MERGE,
        merge_window_seconds=seconds,
    )
    accepted = database.run(inbox.accept, request, UNLIMITED, mark_notified=True)
    assert not accepted.needs_wake_up
    return accepted.turn_id


def test_the_sender_to_webhooks_is_asked_for_at_once_and_not_for_what_it_has_in_hand(
    raw: psycopg.Connection[Any], listen: Callable[[], NotificationListener], asked: list[float], database_url: str
) -> None:
    listen()
    wait_until(lambda: bool(listening(raw)))
    database = Database(load(database_url=database_url, webhook_encryption_keys=KEY))
    with closing(database), WebhookScene.open(database, database.settings) as scene:
        scene.turn("nobody is told")
        scene.webhook()
        scene.turn("t")
        wait_until(lambda: len(asked) == 1)
        # The sender looks again once it has told of the first one.
        for number in range(5):
            scene.turn(f"u{number}")
        assert scene.send() == {"delivered": 6}
        scene.turn("t")
        wait_until(lambda: len(asked) == 2)

    time.sleep(0.1)
    assert len(asked) == 2
    assert asked[1] - asked[0] >= tasks.notifications.WEBHOOKS_PAUSE_SECONDS
