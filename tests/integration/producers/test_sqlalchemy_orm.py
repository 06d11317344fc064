"""The helpers for ORM sessions: they notify after the commit that makes a message visible, or never."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from producers import api, sqlalchemy_orm
from producers.producer import Producer
from producers.sqlalchemy_orm import send_message_in, send_message_in_async
from store.database.engine import Database, driver_url
from tests.integration.producers.backend import NOTHING, SpyNotifier, break_inbox, counts, make_orders, orders


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    note: Mapped[str] = mapped_column(primary_key=True)


@pytest.fixture(autouse=True)
def producer_of_process(producer: Producer, spy: SpyNotifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_default", producer)


@pytest.fixture
def session(database: Database, database_url: str) -> Iterator[Session]:
    make_orders(database)
    engine = create_engine(driver_url(database_url))
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def test_a_message_notifies_after_its_sessions_commit(session: Session, spy: SpyNotifier, database: Database) -> None:
    session.add(Order(note="mine"))
    turn = send_message_in(session, "t", "hello")
    assert spy.notified == []

    session.commit()

    assert spy.notified == [(turn.id, True)]
    assert orders(database) == ["mine"]


def test_all_messages_of_a_transaction_notify_and_none_of_them_again_after_the_next(
    session: Session, spy: SpyNotifier
) -> None:
    sent = [send_message_in(session, f"t-{n}", "hello").id for n in range(3)]
    session.commit()
    assert spy.notified == [(turn_id, True) for turn_id in sent]

    session.add(Order(note="another"))
    session.commit()
    last = send_message_in(session, "t", "hello")
    session.commit()

    assert spy.notified == [(turn_id, True) for turn_id in [*sent, last.id]]


@pytest.mark.parametrize("end", ["rollback", "close", "reset"])
def test_a_message_whose_transaction_ends_without_a_commit_never_notifies(
    session: Session, spy: SpyNotifier, database: Database, end: str
) -> None:
    send_message_in(session, "t", "hello")

    getattr(session, end)()
    session.add(Order(note="mine"))
    session.commit()

    assert (spy.notified, orders(database), counts(database)) == ([], ["mine"], NOTHING)


def test_a_savepoints_release_does_not_notify(session: Session, spy: SpyNotifier) -> None:
    with session.begin_nested(), session.begin_nested():
        turn = send_message_in(session, "t", "hello")
    assert spy.notified == []

    session.commit()

    assert spy.notified == [(turn.id, True)]


@pytest.mark.parametrize("end", ["rollback", "close"])
def test_a_message_in_a_savepoint_that_is_rolled_back_never_notifies_and_others_do(
    session: Session, spy: SpyNotifier, end: str
) -> None:
    before = send_message_in(session, "t-1", "before")
    savepoint = session.begin_nested()
    with session.begin_nested():
        send_message_in(session, "t-2", "inside")
    getattr(savepoint, end)()
    after = send_message_in(session, "t-3", "after")

    session.commit()

    assert spy.notified == [(before.id, True), (after.id, True)]


def test_a_failed_flush_takes_the_wake_up_with_it(session: Session, spy: SpyNotifier) -> None:
    send_message_in(session, "t", "hello")
    session.add(Order(note=None))  # type: ignore[arg-type]
    with pytest.raises(Exception, match="may not store NULL"):
        session.commit()
    session.rollback()

    again = send_message_in(session, "t", "hello again")
    session.commit()

    assert spy.notified == [(again.id, True)]


def test_rows_that_wait_to_be_flushed_survive_a_failure_of_ours(
    session: Session, spy: SpyNotifier, database: Database
) -> None:
    break_inbox(database)
    session.add(Order(note="waiting"))

    with pytest.raises(Exception, match="disk is on fire"):
        send_message_in(session, "t", "burn")
    session.commit()

    assert (orders(database), spy.notified) == (["waiting"], [])


def test_a_scoped_session_notifies_for_itself_and_not_for_other_sessions(session: Session, spy: SpyNotifier) -> None:
    factory = sessionmaker(session.get_bind())
    scoped: Any = scoped_session(factory)
    turn = send_message_in(scoped, "t", "hello")

    with factory() as other:
        other.add(Order(note="other"))
        other.commit()
    assert spy.notified == []
    scoped.commit()
    scoped.remove()

    assert spy.notified == [(turn.id, True)]


def test_duplicates_and_messages_for_later_do_not_notify(session: Session, spy: SpyNotifier) -> None:
    from datetime import UTC, datetime

    first = send_message_in(session, "t", "hello", idempotency_key="k")
    session.commit()

    send_message_in(session, "t", "hello", idempotency_key="k")
    send_message_in(session, "t", "tomorrow", not_before=datetime(2100, 1, 1, tzinfo=UTC))
    session.commit()

    assert spy.notified == [(first.id, True)]


async def test_an_async_session_notifies_after_its_commit_and_not_after_a_rollback(
    session: Session, database_url: str, spy: SpyNotifier, producer: Producer
) -> None:
    engine = create_async_engine(driver_url(database_url))

    async with AsyncSession(engine) as asynchronous:
        await send_message_in_async(asynchronous, "t", "never mind")
        await asynchronous.rollback()
        await asynchronous.execute(text("INSERT INTO orders VALUES ('mine')"))
        turn = await send_message_in_async(asynchronous, "t", "hello")
        assert spy.notified == []
        await asynchronous.commit()

    assert spy.notified == [(turn.id, True)]
    await engine.dispose()


def test_a_session_that_sends_often_listens_once(session: Session, spy: SpyNotifier) -> None:
    for _ in range(5):
        send_message_in(session, "t", "hello")
        session.commit()

    assert len(spy.notified) == 5
    assert session.info[sqlalchemy_orm._PENDING] == []
