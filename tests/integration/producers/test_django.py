"""Django's own connection inside `atomic()`: real Django, real PostgreSQL, nothing of it replaced."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, connections, transaction
from psycopg.pq import TransactionStatus
from sqlalchemy import select

from conversation.errors import IdempotencyConflict, InvalidInput, UnknownAgent
from producers import api
from producers.api import send_message
from producers.django import send_message_in_atomic
from producers.producer import Producer
from store.database.caller_connection import borrow_connection
from store.database.engine import Database
from store.tables import turns
from tests.integration.producers.backend import (
    NOTHING,
    SpyNotifier,
    break_inbox,
    counts,
    make_orders,
    orders,
    said,
    turn_row,
)
from tests.integration.producers.django_backend import configure

LATER = datetime(2100, 1, 1, tzinfo=UTC)


class Changed(Exception):
    """The backend changes its mind."""


@pytest.fixture(autouse=True)
def backend(
    database: Database, database_url: str, producer: Producer, spy: SpyNotifier, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    make_orders(database)
    monkeypatch.setattr(api, "_default", producer)
    configure(database_url)
    yield
    connections.close_all()


def insert(note: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (%s)", [note])


def test_the_requests_row_and_the_message_commit_together_and_then_it_notifies(
    database: Database, spy: SpyNotifier
) -> None:
    with transaction.atomic():
        insert("mine")
        turn = send_message_in_atomic("t", "hello", metadata={"a": [1, {"b": None}]}, not_before=None)
        assert (orders(database), counts(database), spy.notified) == ([], NOTHING, [])

    assert orders(database) == ["mine"]
    assert spy.notified == [(turn.id, True)]
    assert said(database, turn.id).metadata == {"a": [1, {"b": None}]}


def test_they_roll_back_together_and_nobody_is_notified(database: Database, spy: SpyNotifier) -> None:
    with suppress(Changed), transaction.atomic():
        insert("mine")
        send_message_in_atomic("t", "hello")
        raise Changed

    insert("another")
    assert (orders(database), counts(database), spy.notified) == (["another"], NOTHING, [])


def test_a_nested_atomic_block_notifies_with_the_outermost_commit(database: Database, spy: SpyNotifier) -> None:
    with transaction.atomic():
        insert("outer")
        with transaction.atomic():
            turn = send_message_in_atomic("t", "hello")
        assert spy.notified == []
        with suppress(Changed), transaction.atomic():
            send_message_in_atomic("t", "never mind")
            raise Changed

    assert spy.notified == [(turn.id, True)]
    assert (orders(database), counts(database)["turns"]) == (["outer"], 1)


def test_the_transaction_survives_whatever_goes_wrong_with_ours(database: Database, spy: SpyNotifier) -> None:
    break_inbox(database)
    with transaction.atomic():
        insert("earlier")
        first = send_message_in_atomic("t", "hello", idempotency_key="k")
        again = send_message_in_atomic("t", "hello", idempotency_key="k")
        with pytest.raises(UnknownAgent):
            send_message_in_atomic("t", "hello", agent="nobody")
        with pytest.raises(IdempotencyConflict):
            send_message_in_atomic("t", "else", idempotency_key="k")
        with pytest.raises(Exception, match="disk is on fire"):
            send_message_in_atomic("t", "burn")
        insert("later")

    assert orders(database) == ["earlier", "later"]
    assert (again.id, again.is_new) == (first.id, False)
    assert (spy.notified, counts(database)["turns"]) == ([(first.id, True)], 1)


def test_django_goes_on_as_before_with_its_own_types(database: Database) -> None:
    """It reads jsonb as text and times in its own zone; the store reads both as what they are."""
    with transaction.atomic():
        turn = send_message_in_atomic(
            "t", "hello", metadata={"a": 1}, not_before=LATER, idempotency_key="k", attachments=[]
        )
        with connection.cursor() as cursor:
            cursor.execute("SELECT metadata, not_before FROM turns")
            metadata, not_before = cursor.fetchone()
        with borrow_connection(connection.connection) as ours:
            row = ours.execute(select(turns.c.metadata, turns.c.not_before)).one()

    assert (row.metadata, row.not_before, row.not_before.tzinfo) == ({"a": 1}, LATER, UTC)
    assert json.loads(metadata) == {"a": 1}
    assert not_before == LATER
    assert turn_row(database, turn.id).not_before == LATER


def test_outside_of_atomic_it_is_refused_with_the_remedy(database: Database) -> None:
    with pytest.raises(InvalidInput, match=r"not in atomic\(\); send inside transaction.atomic\(\)"):
        send_message_in_atomic("t", "hello")
    connection.ensure_connection()
    with pytest.raises(InvalidInput, match="commits after every statement"):
        send_message("t", "hello", connection=connection.connection)

    assert counts(database) == NOTHING


def test_a_block_that_django_will_roll_back_is_refused(database: Database) -> None:
    with suppress(Changed), transaction.atomic():
        with pytest.raises(IntegrityError), connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders VALUES (NULL)")
        with pytest.raises(InvalidInput, match="failed transaction"):
            send_message_in_atomic("t", "hello")
        raise Changed

    insert("another")
    assert (orders(database), counts(database)) == (["another"], NOTHING)


def test_the_plain_verb_on_djangos_connection_leaves_notifying_to_its_caller(
    database: Database, spy: SpyNotifier
) -> None:
    with transaction.atomic():
        connection.ensure_connection()
        turn = send_message("t", "hello", connection=connection.connection)
        assert connection.connection.info.transaction_status is TransactionStatus.INTRANS
    assert spy.notified == []

    turn.notify()

    assert spy.notified == [(turn.id, True)]


def test_messages_for_later_do_not_notify_with_the_commit(spy: SpyNotifier) -> None:
    with transaction.atomic():
        send_message_in_atomic("t", "tomorrow", not_before=LATER)

    assert spy.notified == []


def test_two_threads_of_a_server_do_not_mix(database: Database) -> None:
    together = threading.Barrier(2, timeout=20)
    failures: list[BaseException] = []

    def serve(name: str, *, commits: bool) -> None:
        try:
            for n in range(10):
                with transaction.atomic():
                    insert(f"{name}-{n}")
                    together.wait()
                    send_message_in_atomic(f"{name}-{n}", name)
                    together.wait()
                    transaction.set_rollback(not commits)
        except BaseException as error:  # noqa: BLE001 - a thread's failure is told below
            failures.append(error)
            together.abort()
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=serve, args=["kept"], kwargs={"commits": True}),
        threading.Thread(target=serve, args=["dropped"], kwargs={"commits": False}),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert orders(database) == [f"kept-{n}" for n in range(10)]
    assert counts(database)["turns"] == 10
