"""A send by the function in the database and by plain statements: the same rows, the same refusals, one request."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import text

from conversation.attachment import Attachment
from conversation.errors import DatabaseUnavailable, IdempotencyConflict, LimitReached, ThreadmillError, UnknownAgent
from conversation.ids import new_id
from conversation.message import Message
from conversation.parts import TextPart
from producers.producer import Producer
from store.database.engine import Database
from store.database.function_calls import FunctionCall, call_within, has_functions
from store.settings import Settings
from store.turns import inbox
from store.turns.send_function import call_of
from store.turns.send_request import UNLIMITED, SendLimits, SendRequest
from tests.integration.producers.backend import counts, turn_row

Send = Callable[..., Any]
LATER = datetime(2100, 1, 1, 12, 30, 15, 120, tzinfo=timezone(timedelta(hours=5, minutes=30)))


def producer_on(settings: Settings, *, use_functions: bool) -> Producer:
    opened = Producer(settings)
    opened.connections.database = Database(settings, use_functions=use_functions)
    return opened


@pytest.fixture
def roads(settings: Settings, worker: str) -> Iterator[list[Producer]]:
    """A producer on each road to one database."""
    opened = [producer_on(settings, use_functions=use_functions) for use_functions in (True, False)]
    yield opened
    for one in opened:
        one.close()


@pytest.fixture(params=["function first", "statements first"])
def in_turn(request: pytest.FixtureRequest, roads: list[Producer]) -> list[Producer]:
    return roads if request.param == "function first" else roads[::-1]


REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {"content": "hello"},
    "a user": {"content": "hello", "user": "ann"},
    "everything": {
        "content": "  white \n space\t\u2028 'quotes' \\ %s %(x)s $$ \U0001f600 \x01",
        "tenant": "acme",
        "user": "ann@example.com",
        "role": "system",
        "agent": "nobody-yet",
        "allow_unknown_agent": True,
        "priority": 9,
        "metadata": {"b": [1, 2.5, None, True, {"ä": "\U0001f600"}], "a": {}, "n": 10**30, "f": 1e-7},
        "not_before": LATER,
        "deadline": LATER + timedelta(days=1),
        "idempotency_key": "k",
    },
    "with a file": {"content": "", "attachments": [Attachment(filename="a.txt", content=b"one")]},
}

#: What each send makes anew.
OWN_VALUES = ("id", "turn_id", "thread_key", "key", "arrival_seq", "created_at", "updated_at", "notified_at")


def rows_of(database: Database, turn_id: str) -> dict[str, Any]:
    """All that is stored of a turn, without what each send makes anew; times of which one shows that they are set."""
    selects = {
        "turns": "select * from turns where id = :id",
        "inbox_messages": "select * from inbox_messages where turn_id = :id",
        "threads": "select threads.* from threads join turns on thread_key = key where turns.id = :id",
        "attachments": (
            "select sha256, filename, index from attachments"
            " where message_id in (select id from inbox_messages where turn_id = :id)"
        ),
    }

    def read(connection: Any) -> dict[str, Any]:
        stored = {
            name: connection.execute(text(sql), {"id": turn_id}).mappings().all() for name, sql in selects.items()
        }
        return {
            name: [
                {key: value is None if key in OWN_VALUES else value for key, value in row.items() if key != "tableoid"}
                for row in rows
            ]
            for name, rows in stored.items()
        }

    return database.run(read)


@pytest.mark.parametrize("options", REQUESTS.values(), ids=REQUESTS)
def test_both_store_the_same_rows(roads: list[Producer], database: Database, options: dict[str, Any]) -> None:
    stored = []
    for number, producer in enumerate(roads):
        keyed = {"idempotency_key": f"k-{number}"} if "idempotency_key" in options else {}
        turn = producer.send("t", **{**options, **keyed, "tenant": f"tenant-{number}"})
        stored.append(rows_of(database, turn.id))

    for table in stored[0]:
        for one, other in zip(stored[0][table], stored[1][table], strict=True):
            differing = {name for name in one if one[name] != other[name]}
            assert differing <= {"tenant", "idempotency_key"}, (table, one, other)
    assert stored[0]["turns"]


def test_both_store_the_parts_name_and_source_of_a_message(roads: list[Producer], database: Database) -> None:
    stored = []
    for number, producer in enumerate(roads):
        message = Message(
            role="user",
            parts=(TextPart(text="one"), TextPart(text="two")),
            name="Anna",
            source={"importer": "x"},
            metadata={"of": "the message"},
        )
        request = SendRequest(
            turn_id=new_id(),
            tenant=f"tenant-{number}",
            thread_id="t",
            message=message,
            agent="assistant",
            local_process_id=new_id(),
            metadata={"of": "the turn"},
        )
        inbox.accept_alone(producer.database, request)
        stored.append(rows_of(database, request.turn_id)["inbox_messages"])

    assert stored[0] == stored[1]
    assert (stored[0][0]["name"], stored[0][0]["source"]) == ("Anna", {"importer": "x"})
    assert stored[0][0]["metadata"] == {"of": "the message"}


@pytest.mark.parametrize("options", REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_the_same_on_either_road(
    in_turn: list[Producer], database: Database, options: dict[str, Any]
) -> None:
    options = options | {"idempotency_key": "k"}
    first = in_turn[0].send("t", **options)
    stored = counts(database)

    again = in_turn[1].send("t", **options)

    assert (again.id, again.is_new) == (first.id, False)
    with pytest.raises(IdempotencyConflict, match=r"^idempotency_key: 'k' was used with another"):
        in_turn[1].send("t", **{**options, "content": "something else"})
    assert counts(database) == stored


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[SendLimits], None]:
    """Sets the limits of all sends."""
    return lambda limits: monkeypatch.setattr("producers.producer.limits_of", lambda settings: limits)


@pytest.mark.parametrize(
    ("error", "agent", "limits"),
    [
        (UnknownAgent, "nobody", UNLIMITED),
        (LimitReached, "assistant", SendLimits(tenant_max_unfinished_turns=1)),
        (LimitReached, "nobody", SendLimits(tenant_max_unfinished_turns=1)),
    ],
)
def test_both_refuse_in_the_same_words_and_store_nothing(
    roads: list[Producer],
    limited: Callable[[SendLimits], None],
    error: type[ThreadmillError],
    agent: str,
    limits: SendLimits,
) -> None:
    database = roads[0].database
    roads[0].send("t", "hello")
    stored = counts(database)
    refusals = []

    for producer in roads:
        limited(limits)
        with pytest.raises(error) as refused:
            producer.send("another", "hello", agent=agent)
        refusals.append(str(refused.value))

    assert refusals[0] == refusals[1]
    assert counts(database) == stored


def test_a_turn_that_is_there_already_is_found_by_its_id_on_either_road(roads: list[Producer]) -> None:
    """As after a commit whose answer was lost."""
    message = Message(role="user", content="hello")
    request = SendRequest(turn_id=new_id(), tenant="default", thread_id="t", message=message, agent="assistant")

    accepted = [inbox.accept_alone(producer.database, request) for producer in (*roads, *roads)]

    assert {(one.turn_id, one.is_new) for one in accepted} == {(request.turn_id, True)}
    assert [one.thread_key is None for one in accepted] == [False, True, True, True]


def test_both_mark_a_turn_as_notified_only_where_its_caller_notifies(roads: list[Producer], database: Database) -> None:
    for producer in roads:
        with producer.database.engine.begin() as connection:
            lent = producer.send("t", "hello", connection=connection)
        assert turn_row(database, lent.id).notified_at is None
        assert turn_row(database, producer.send("t", "hello").id).notified_at is not None
        assert turn_row(database, producer.send("t", "hello", not_before=LATER).id).notified_at is None


async def test_a_send_on_the_event_loop_takes_either_road(settings: Settings, worker: str, database: Database) -> None:
    for use_functions in (True, False):
        producer = producer_on(settings, use_functions=use_functions)
        turn = await producer.send_async("t", "hello", idempotency_key=str(use_functions))
        again = await producer.send_async("t", "hello", idempotency_key=str(use_functions))
        assert (again.id, again.is_new, turn.is_new) == (turn.id, False, True)
        with pytest.raises(UnknownAgent, match=re.escape("registered 'nobody' (known: assistant)")):
            await producer.send_async("t", "hello", agent="nobody")
        await producer.close_async()


def test_a_database_without_the_functions_is_told_as_not_migrated(producer: Producer, database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("DROP SCHEMA threadmill CASCADE"))

    with pytest.raises(DatabaseUnavailable, match="does not have the schema of this release"):
        producer.send("t", "hello")
    with (
        database.engine.connect() as connection,
        pytest.raises(DatabaseUnavailable, match="does not have the schema of this release"),
    ):
        producer.send("t", "hello", connection=connection)


def test_another_driver_of_a_caller_gets_plain_statements(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.engine.connect() as connection:
        assert has_functions(connection)
        monkeypatch.setattr(connection.dialect, "driver", "psycopg2")
        assert not has_functions(connection)


def test_a_plan_of_an_empty_table_reads_few_rows_of_a_full_one(producer: Producer) -> None:
    """One connection keeps its plans while the tables fill up, and nobody analyzes them."""

    def call(number: int) -> FunctionCall:
        message = Message(role="user", content="hello")
        thread_id, key = f"t-{number}", f"k-{number}"
        request = SendRequest(
            turn_id=new_id(), tenant="default", thread_id=thread_id, message=message, agent="assistant",
            idempotency_key=key,
        )  # fmt: skip
        return call_of(request, SendLimits(tenant_max_unfinished_turns=10), mark_notified=True)

    fill = """
        insert into threads (tenant, id, metadata, created_at, updated_at)
        select 'default', 'full-' || n, '{}', now(), now() from generate_series(1, 2000) n;
        insert into turns (thread_key, id, tenant, state, agent, metadata, idempotency_key, created_at)
        select key, gen_random_uuid(), 'default', 'completed', 'assistant', '{}', 'full-' || id, now() from threads
    """
    read = "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) from pg_stat_xact_user_tables"

    with producer.database.engine.connect() as connection:
        for number in range(8):
            call_within(connection, call(number))
        connection.commit()
        connection.exec_driver_sql(fill, execution_options={"no_parameters": True})
        connection.commit()
        read_before = connection.execute(text(read)).scalar_one()
        # Another turn with this key, a thread that is there, a new one.
        for number in (1, 2, 1000):
            call_within(connection, call(number))
        read_rows = connection.execute(text(read)).scalar_one() - read_before

    assert read_rows < 100
