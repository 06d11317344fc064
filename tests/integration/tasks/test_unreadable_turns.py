"""A claim that fails on what is stored ends its turn as failed, once; one that fails on an outage ends nothing."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, ProgrammingError

from conversation.errors import DatabaseRefused, DatabaseUnavailable, FileStoreUnavailable
from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import ClaimedTurn, Completed, RefusedTurn
from store import tables
from store.database.engine import Database
from store.settings import load
from store.turns import claims, inbox, sweep, workers
from store.turns.claims import ClaimRequest, NothingDue
from store.turns.requeue import requeue
from store.turns.send_request import SendRequest
from store.turns.turn_store import TurnStore
from store.turns.unreadable import UNREADABLE, error_of
from tasks import maintenance, publish
from tests.tries import check_tries

CLAIMANT = ClaimRequest(worker=new_id(), agents={"a": "1"}, max_messages={"a": 50})
OF_TURN, OF_THREAD = "where id = :turn", "where key = :thread_key"
#: A message of a history that was there before.
OLD = (
    "insert into messages (thread_key, seq, id, role, content, metadata, created_at, {column}) "
    "values (:thread_key, 1, 'old', 'assistant', 'x', '{{}}', {moment}, {value})"
)
ONE_BEFORE = f"update threads set last_seq = 1 {OF_THREAD}"
#: A turn of which an earlier attempt broke off.
BEGUN = f"update turns set attempt = 1, window_to_seq = 0 {OF_TURN}"
DEEP = '{"a": ' + "[" * 3000 + "]" * 3000 + "}"


def old(column: str, value: str, moment: str = "'2026-01-01T00:00:00+00:00'") -> list[str]:
    return [OLD.format(column=column, value=f"'{value}'", moment=moment), ONE_BEFORE]


#: What is done to the rows of a turn that was sent, by what is wrong with them then.
DAMAGES: dict[str, list[str]] = {
    "no seq left": [f"update threads set last_seq = 9223372036854775807 {OF_THREAD}"],
    "no token left": [f"update threads set fencing_token = 9223372036854775807 {OF_THREAD}"],
    "a part of an unknown type": old("parts", '[{"type": "hologram"}]'),
    "parts that are no list": old("parts", "7"),
    "usage of another form": old("usage", '{"prompt": 1}'),
    "tool calls of another form": old("tool_calls", '[{"id": "c"}]'),
    "a seq that is taken": old("name", "n")[:1],
    "an id that is taken": [*old("name", "n"), "update inbox_messages set id = 'old' where turn_id = :turn"],
    "a summary that is missing": [f"{BEGUN}", f"update turns set window_summary_id = :other {OF_TURN}"],
    "metadata that is too deep": [f"update turns set metadata = '{DEEP}' {OF_TURN}"],
    "a step of another form": [
        BEGUN,
        """insert into steps (
            turn_id, index, kind, call_id, name, state, fencing_token, request_digest, usage, started_at
        ) values (
            :turn, 0, 'model', 'c', 'm', 'finished', 1, 'd', '{"prompt": 1}', '2026-01-01T00:00:00+00:00'
        )""",
    ],
}
OF_POSTGRES = {
    "no attempt left": [f"update turns set attempt = 2147483647, window_to_seq = 0 {OF_TURN}"],
    "a moment that Python cannot count": old("name", "n", "'12000-01-01T00:00:00+00:00'"),
}
OF_SQLITE = {"a moment that is none": old("name", "n", "'yesterday'"), "JSON that is none": old("parts", "{")}


@pytest.fixture
async def each_database(any_database: Database) -> AsyncIterator[Database]:
    """A database of each kind, whose connections on the loop are closed."""
    yield any_database
    await any_database.close_async()


def send(database: Database, thread_id: str) -> tuple[str, int]:
    request = SendRequest(
        turn_id=new_id(),
        tenant="default",
        thread_id=thread_id,
        message=Message(role="user", content="hello"),
        agent="a",
        allow_unknown_agent=True,
    )
    database.run(inbox.accept, request=request)
    find = text("select key from threads where id = :id")
    return request.turn_id, database.run(lambda connection: connection.execute(find, {"id": thread_id}).scalar_one())


def damage(connection: Connection, statements: list[str], turn_id: str, thread_key: int) -> None:
    on_sqlite = connection.dialect.name == "sqlite"
    for statement in statements:
        words = statement.replace(" index,", ' "index",')
        if on_sqlite:
            words = words.replace("T00:00:00+00:00", " 00:00:00.000000")
        ids = {"turn": as_stored(turn_id, is_sqlite=on_sqlite), "other": as_stored(new_id(), is_sqlite=on_sqlite)}
        values = ids | {"thread_key": thread_key}
        connection.execute(text(words.replace("{{", "{")).bindparams(**_bound(words, values)))


def as_stored(our_id: str, *, is_sqlite: bool) -> object:
    return our_id.replace("-", "") if is_sqlite else uuid.UUID(our_id)


def _bound(words: str, values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if f":{name}" in words}


async def end(database: Database, thread_id: str) -> RefusedTurn | ClaimedTurn | None:
    """Claim a thread's turn, and end it if that is all that can be done."""
    store = TurnStore(database)
    turn = await store.claim("default", thread_id, CLAIMANT)
    if isinstance(turn, RefusedTurn):
        await store.settle(turn, turn.ending, release=True)
    return turn if isinstance(turn, RefusedTurn | ClaimedTurn) else None


async def test_a_turn_whose_thread_cannot_be_read_ends_as_failed_and_others_go_on(
    database_url: str, sqlite_url: str
) -> None:
    roads = {
        "functions": (Database(load(database_url=database_url)), DAMAGES | OF_POSTGRES),
        "plain": (Database(load(database_url=database_url), use_functions=False), DAMAGES | OF_POSTGRES),
        "sqlite": (Database(load(database_url=sqlite_url)), DAMAGES | OF_SQLITE),
    }
    survivors: list[tuple[str, str, object]] = []

    for road, (database, damages) in roads.items():
        database.run(workers.register, worker=CLAIMANT.worker, host="h", pid=1, serves={}, lease_duration_seconds=600)
        for name, statements in damages.items():
            thread_id = f"{road}-{name}".replace(" ", "-")
            turn_id, thread_key = send(database, thread_id)
            database.run(damage, statements, turn_id, thread_key)

            await end(database, thread_id)

            state = state_of(database, turn_id)
            again = await TurnStore(database).claim("default", thread_id, CLAIMANT)
            if (state, again, count_questions(database, turn_id)) != (("failed", UNREADABLE), NothingDue(), 1):
                survivors.append((thread_id, *state))
        other, _ = send(database, f"{road}-other")
        picked = database.run(sweep.pick_wake_ups, grace_seconds=0, limit=100)
        assert [wake_up.turn_id for wake_up in picked] == [other]
        assert isinstance(await end(database, f"{road}-other"), ClaimedTurn)
        await database.close_async()
        database.close()

    assert survivors == []
    tries = sum(len(damages) for _, damages in roads.values())
    check_tries("stored rows that cannot be read back, on each road of a claim", tries=tries, successes=len(survivors))


def state_of(database: Database, turn_id: str) -> tuple[str, str | None]:
    """The state of a turn, and the kind of its error."""
    query = select(tables.turns.c.state, tables.turns.c.error_kind).where(tables.turns.c.id == turn_id)
    row = database.run(lambda connection: connection.execute(query).one())
    return row.state, row.error_kind


def count_questions(database: Database, turn_id: str) -> int:
    """How often the turn's question is stored."""
    count = text(
        "select (select count(*) from messages where turn_id = :turn and role = 'user') "
        "+ (select count(*) from inbox_messages where turn_id = :turn)"
    )
    bound = count.bindparams(turn=as_stored(turn_id, is_sqlite=database.is_sqlite))
    return database.run(lambda connection: int(connection.execute(bound).scalar_one()))


async def test_a_turn_that_could_not_be_read_is_answered_once_its_thread_is_mended(each_database: Database) -> None:
    turn_id, thread_key = send(each_database, "t")
    each_database.run(damage, DAMAGES["no seq left"], turn_id, thread_key)
    await end(each_database, "t")
    mend = text("update threads set last_seq = 0 where key = :key")
    each_database.run(lambda connection: connection.execute(mend, {"key": thread_key}))

    each_database.run(requeue, turn_id, new_turn_id=new_id(), new_message_id=new_id())

    turn = await end(each_database, "t")
    assert isinstance(turn, ClaimedTurn)
    assert [message.content for message in turn.window] == ["hello"]


HELD_DAMAGES = {
    "no seq left": DAMAGES["no seq left"],
    "a part of an unknown type": [
        'update messages set parts = \'[{"type": "hologram"}]\' where thread_key = :thread_key'
    ],
}


@pytest.mark.parametrize("name", HELD_DAMAGES)
async def test_a_thread_that_goes_on_comes_to_the_end_of_a_turn_that_cannot_be_read(
    each_database: Database, name: str
) -> None:
    """The claimant holds the thread from the turn before."""
    send(each_database, "t")
    turn_id, thread_key = send(each_database, "t")
    store = TurnStore(each_database)
    each_database.run(workers.register, worker=CLAIMANT.worker, host="h", pid=1, serves={}, lease_duration_seconds=600)
    first = await store.claim("default", "t", CLAIMANT)
    assert isinstance(first, ClaimedTurn)
    outcome = await store.settle(first, Completed(), release=False)
    assert outcome.keeps_lease
    each_database.run(damage, HELD_DAMAGES[name], turn_id, thread_key)

    turn = await store.claim("default", "t", CLAIMANT, held=first.lease)

    assert isinstance(turn, RefusedTurn)
    assert turn.lease.fencing_token > first.lease.fencing_token
    await store.settle(turn, turn.ending, release=True)
    assert state_of(each_database, turn_id) == ("failed", UNREADABLE)


def refused(cause: Exception) -> DatabaseRefused:
    error = DatabaseRefused("the database refuses it")
    error.__cause__ = cause
    return error


class Driver(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("failure", "is_of_data"),
    [
        (refused(DataError(None, None, Driver("22003"))), True),
        (refused(IntegrityError(None, None, Driver("23505"))), True),
        (refused(OperationalError(None, None, Driver("54000"))), True),
        (refused(IntegrityError(None, None, Driver(None))), True),
        (refused(OverflowError("too large")), True),
        (json.JSONDecodeError("no JSON", "x", 0), True),
        (KeyError("role"), True),
        (refused(ProgrammingError(None, None, Driver("42601"))), False),
        (refused(OperationalError(None, None, Driver("XX001"))), False),
        (refused(OperationalError(None, None, Driver(None))), False),
        (DatabaseUnavailable("away"), False),
        (FileStoreUnavailable("away"), False),
        (OSError("no route"), False),
        (MemoryError(), False),
    ],
)
def test_only_what_stored_data_brings_about_ends_a_turn(failure: Exception, is_of_data: bool) -> None:
    assert (error_of(failure) is not None) == is_of_data


async def test_a_claim_that_fails_on_an_outage_leaves_its_turn_as_it_is(
    each_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_id, _ = send(each_database, "t")

    def fail(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("away")

    async def fail_later(*_: object, **__: object) -> None:
        fail()

    monkeypatch.setattr(claims, "claim", fail)
    monkeypatch.setattr(Database, "call_async", fail_later)
    with pytest.raises(DatabaseUnavailable):
        await TurnStore(each_database).claim("default", "t", CLAIMANT)

    assert state_of(each_database, turn_id) == ("queued", None)


def test_a_sweep_ends_an_overdue_turn_that_cannot_be_read_and_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_database", lambda: database)
    turn_ids = []
    for thread_id in ("first", "second"):
        turn_id, thread_key = send(database, thread_id)
        turn_ids.append(turn_id)
        if thread_id == "first":
            database.run(damage, DAMAGES["no seq left"], turn_id, thread_key)
    overdue = text("update turns set deadline = created_at")
    database.run(lambda connection: connection.execute(overdue))

    assert maintenance._end_overdue_turns(10) == 2
    states = [state_of(database, turn_id) for turn_id in turn_ids]
    assert states == [("failed", UNREADABLE), ("failed", "deadline")]


def test_a_wake_up_that_cannot_be_published_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Publisher:
        def publish(self, _: object) -> None:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    monkeypatch.setattr(publish, "_publisher", Publisher)
    wake_up = publish.WakeUp(tenant="default", thread_id="t", turn_id=new_id(), priority=-3)

    assert publish.publish_wake_up(wake_up) is False
    assert wake_up.broker_priority() == 9
