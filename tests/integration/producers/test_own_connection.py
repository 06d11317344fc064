"""A backend lends its own open connection: its rows and our message share one fate."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from conversation.errors import DatabaseUnavailable, IdempotencyConflict, InvalidInput, UnknownAgent
from producers.producer import Producer
from store.database.engine import Database, driver_url
from store.settings import Settings
from tests.integration.producers.backend import (
    NOTHING,
    SpyNotifier,
    break_inbox,
    counts,
    is_committed,
    make_orders,
    orders,
    queued_wake_ups,
)
from tests.integration.producers.lenders import LENDERS, Lender


@pytest.fixture(params=LENDERS)
def lender(request: pytest.FixtureRequest, database: Database, database_url: str) -> Iterator[Lender]:
    make_orders(database)
    opened = LENDERS[request.param](database_url)
    yield opened
    opened.close()


def test_the_callers_row_and_our_message_commit_together(
    lender: Lender, producer: Producer, database: Database
) -> None:
    lender.insert("earlier")
    turn = lender.send(producer, "hello")
    lender.insert("later")
    assert (orders(database), counts(database)) == ([], NOTHING)

    lender.commit()

    assert orders(database) == ["earlier", "later"]
    assert is_committed(database, turn.id)


def test_they_roll_back_together(lender: Lender, producer: Producer, database: Database) -> None:
    lender.insert("earlier")
    lender.send(producer, "hello")

    lender.rollback()
    lender.commit()

    assert (orders(database), counts(database)) == ([], NOTHING)


def test_nobody_is_notified_by_itself_and_the_handle_notifies_after_the_commit(
    lender: Lender, producer: Producer, settings: Settings, database: Database, spy: SpyNotifier
) -> None:
    turn = lender.send(producer, "hello")
    lender.commit()
    assert (queued_wake_ups(settings), spy.notified) == ([], [])

    producer.connections.notifier.notify(turn._wake_up())

    assert spy.notified == [(turn.id, True)]


def test_the_callers_transaction_survives_our_refusals(lender: Lender, producer: Producer, database: Database) -> None:
    producer.send("t", "taken", idempotency_key="k")
    lender.insert("earlier")

    with pytest.raises(UnknownAgent):
        lender.send(producer, "hello", agent="nobody")
    with pytest.raises(IdempotencyConflict):
        lender.send(producer, "something else", idempotency_key="k")
    with pytest.raises(InvalidInput, match="content"):
        lender.send(producer, "")

    lender.insert("later")
    lender.commit()
    assert orders(database) == ["earlier", "later"]
    assert counts(database)["turns"] == 1


def test_the_callers_transaction_survives_a_failure_of_the_database_in_our_statements(
    lender: Lender, producer: Producer, database: Database
) -> None:
    break_inbox(database)
    lender.insert("earlier")

    with pytest.raises(DatabaseRefused, match="disk is on fire"):
        lender.send(producer, "burn")

    lender.insert("later")
    lender.commit()
    assert (orders(database), counts(database)) == (["earlier", "later"], NOTHING)


def test_a_lock_that_is_not_to_be_had_is_told_and_leaves_the_callers_transaction_usable(
    lender: Lender, producer: Producer, database: Database
) -> None:
    lender.insert("earlier'); SET lock_timeout = '100ms' --")

    with database.engine.begin() as other:
        other.execute(text("LOCK TABLE turns IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            lender.send(producer, "hello")

    lender.insert("later")
    lender.commit()
    assert (orders(database), counts(database)) == (["earlier", "later"], NOTHING)


def test_a_duplicate_gives_the_first_turn_and_does_not_abort_the_callers_transaction(
    lender: Lender, producer: Producer, database: Database
) -> None:
    first = producer.send("t", "hello", idempotency_key="k")
    lender.insert("earlier")

    again = lender.send(producer, "hello", idempotency_key="k")
    lender.insert("later")
    lender.commit()

    assert (again.id, again.is_new) == (first.id, False)
    assert orders(database) == ["earlier", "later"]
    assert (counts(database)["turns"], counts(database)["inbox_messages"]) == (1, 1)


def test_several_messages_of_one_transaction_are_all_stored(
    lender: Lender, producer: Producer, database: Database
) -> None:
    sent = {lender.send(producer, f"message {n}").id for n in range(12)}
    lender.commit()

    assert len(sent) == 12
    assert counts(database)["turns"] == 12


def test_a_connection_that_commits_by_itself_is_refused(
    producer: Producer, database: Database, database_url: str
) -> None:
    engine = create_engine(driver_url(database_url), isolation_level="AUTOCOMMIT")

    with engine.connect() as connection:
        with pytest.raises(InvalidInput, match="commits after every statement"):
            producer.send("t", "hello", connection=connection)
        assert not connection.in_transaction()

    assert counts(database) == NOTHING
    engine.dispose()


async def test_an_async_connection_that_commits_by_itself_is_refused(
    async_producer: Producer, database: Database, database_url: str
) -> None:
    engine = create_async_engine(driver_url(database_url), isolation_level="AUTOCOMMIT")

    async with engine.connect() as connection:
        with pytest.raises(InvalidInput, match="commits after every statement"):
            await async_producer.send_async("t", "hello", connection=connection)

    assert counts(database) == NOTHING
    await engine.dispose()


def test_a_failed_transaction_is_refused_with_its_remedy(
    lender: Lender, producer: Producer, database: Database
) -> None:
    with pytest.raises(Exception, match="no_such_table"):
        lender.insert("x'); SELECT * FROM no_such_table WHERE ('' = '")

    with pytest.raises(InvalidInput, match="failed transaction; roll it back"):
        lender.send(producer, "hello")

    lender.rollback()
    lender.send(producer, "hello")
    lender.commit()
    assert counts(database)["turns"] == 1


@pytest.mark.parametrize("wrong", [object(), "postgresql://", 5])
async def test_what_is_no_connection_is_refused_by_its_type(async_producer: Producer, wrong: object) -> None:
    with pytest.raises(InvalidInput, match=f"connection: is {type(wrong).__name__}; pass"):
        async_producer.send("t", "hello", connection=wrong)
    with pytest.raises(InvalidInput, match=f"connection: is {type(wrong).__name__}; pass"):
        await async_producer.send_async("t", "hello", connection=wrong)
