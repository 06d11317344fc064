"""A raw psycopg connection is borrowed as it is, and given back as it was."""

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db.backends.postgresql.psycopg_any import register_tzloader
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, namedtuple_row
from sqlalchemy import select, text

from conversation.errors import InvalidInput, UnknownAgent
from producers.producer import Producer
from store.database.caller_connection import _CallerOwnedConnection, borrow_connection
from store.database.engine import Database
from store.tables import turns
from tests.integration.producers.backend import NOTHING, break_inbox, counts, make_orders, orders


@pytest.fixture
def raw(database: Database, database_url: str) -> Iterator[psycopg.Connection[Any]]:
    make_orders(database)
    with psycopg.connect(database_url) as connection:
        yield connection


def transaction_id(raw: psycopg.Connection[Any]) -> object:
    return psycopg.Cursor(raw, row_factory=psycopg.rows.tuple_row).execute("SELECT pg_current_xact_id()").fetchone()


def test_the_transaction_stays_the_callers_own(
    raw: psycopg.Connection[Any], producer: Producer, database: Database
) -> None:
    break_inbox(database)
    raw.execute("INSERT INTO orders VALUES ('earlier')")
    before = transaction_id(raw)

    producer.send("t", "hello", connection=raw)
    with pytest.raises(UnknownAgent):
        producer.send("t", "hello", agent="nobody", connection=raw)
    with pytest.raises(Exception, match="disk is on fire"):
        producer.send("t", "burn", connection=raw)

    assert raw.info.transaction_status is TransactionStatus.INTRANS
    assert transaction_id(raw) == before
    assert not raw.closed
    raw.commit()
    assert (orders(database), counts(database)["turns"]) == (["earlier"], 1)


def test_the_first_loan_of_a_process_does_not_end_the_transaction(
    raw: psycopg.Connection[Any], producer: Producer, database: Database
) -> None:
    from store.database import caller_connection

    caller_connection._engine_for_caller.cache_clear()
    raw.execute("INSERT INTO orders VALUES ('earlier')")
    before = transaction_id(raw)

    producer.send("t", "hello", connection=raw)

    assert transaction_id(raw) == before
    assert (orders(database), counts(database)) == ([], NOTHING)
    raw.rollback()
    assert (orders(database), counts(database)) == ([], NOTHING)


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_a_loan_is_deaf_to_every_word_about_transactions(raw: psycopg.Connection[Any], end: str) -> None:
    before = transaction_id(raw)

    getattr(_CallerOwnedConnection(raw), end)()

    assert transaction_id(raw) == before


@pytest.mark.parametrize("row_factory", [dict_row, namedtuple_row])
def test_the_shape_of_the_callers_rows_is_no_concern_of_ours(
    raw: psycopg.Connection[Any], producer: Producer, database: Database, row_factory: Any
) -> None:
    raw.row_factory = row_factory

    turn = producer.send("t", "hello", idempotency_key="k", connection=raw)
    again = producer.send("t", "hello", idempotency_key="k", connection=raw)
    raw.commit()

    assert (again.id, counts(database)["turns"]) == (turn.id, 1)
    assert raw.row_factory is row_factory


def test_times_are_read_right_on_a_connection_that_reads_them_naive_and_in_its_own_zone(
    raw: psycopg.Connection[Any], producer: Producer
) -> None:
    """As Django's with USE_TZ=False."""
    later = datetime(2100, 1, 1, tzinfo=UTC)
    raw.execute("SET TIME ZONE 'Asia/Tokyo'")
    register_tzloader(None, raw)
    producer.send("t", "tomorrow", not_before=later, connection=raw)

    with borrow_connection(raw) as ours:
        assert ours.execute(select(turns.c.not_before)).scalar_one() == later

    (naive,) = raw.execute("SELECT not_before FROM turns").fetchone() or ()
    assert naive == datetime(2100, 1, 1, 9)  # noqa: DTZ001 - the owner still reads as it did


def test_many_loans_leave_nothing_behind_on_the_connection(
    raw: psycopg.Connection[Any], producer: Producer, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(5):
        producer.send("t", f"message {n}", connection=raw)

    with caplog.at_level(logging.INFO, logger="sqlalchemy"):
        raw.execute("DO $$ BEGIN RAISE NOTICE 'for its owner' ; END $$")

    assert [record for record in caplog.records if "for its owner" in record.getMessage()] == []


def test_a_connection_in_autocommit_is_refused_and_accepted_inside_a_transaction(
    database: Database, database_url: str, producer: Producer
) -> None:
    with psycopg.connect(database_url, autocommit=True) as raw:
        with pytest.raises(InvalidInput, match="connection: commits after every statement; open a trans"):
            producer.send("t", "hello", connection=raw)
        assert counts(database) == NOTHING
        assert raw.info.transaction_status is TransactionStatus.IDLE

        with raw.transaction():
            producer.send("t", "hello", connection=raw)
            assert counts(database) == NOTHING

    assert counts(database)["turns"] == 1


def test_a_closed_connection_is_refused(raw: psycopg.Connection[Any], producer: Producer) -> None:
    raw.close()

    with pytest.raises(InvalidInput, match="connection: is closed"):
        producer.send("t", "hello", connection=raw)


def test_two_threads_with_two_connections_do_not_mix(database: Database, database_url: str, producer: Producer) -> None:
    """One of them commits and one rolls back, in step, again and again."""
    from store.database import caller_connection

    caller_connection._engine_for_caller.cache_clear()
    make_orders(database)
    together = threading.Barrier(2, timeout=20)
    failures: list[BaseException] = []

    def send(name: str, *, commits: bool) -> None:
        try:
            with psycopg.connect(database_url) as raw:
                for n in range(20):
                    raw.execute("INSERT INTO orders VALUES (%s)", [f"{name}-{n:02}"])
                    together.wait()
                    producer.send(f"{name}-{n}", name, connection=raw)
                    together.wait()
                    (raw.commit if commits else raw.rollback)()
        except BaseException as error:  # noqa: BLE001 - a thread's failure is told below
            failures.append(error)
            together.abort()

    threads = [
        threading.Thread(target=send, args=["kept"], kwargs={"commits": True}),
        threading.Thread(target=send, args=["dropped"], kwargs={"commits": False}),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert orders(database) == [f"kept-{n:02}" for n in range(20)]
    contents = database.run(lambda c: c.execute(text("SELECT content FROM inbox_messages")).scalars().all())
    assert contents == ["kept"] * 20


def test_sending_inside_a_callback_of_another_loan_works(
    raw: psycopg.Connection[Any], producer: Producer, database: Database, database_url: str
) -> None:
    """Two loans of one thread, one within the other, each to its own connection."""
    with psycopg.connect(database_url) as other, borrow_connection(raw) as ours:
        producer.send("inner", "hello", connection=other)
        ours.execute(text("INSERT INTO orders VALUES ('outer')"))
        other.commit()

    assert counts(database)["turns"] == 1
    raw.commit()
    assert orders(database) == ["outer"]
