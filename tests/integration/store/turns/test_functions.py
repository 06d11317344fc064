"""The functions of claim and settle beside the plain statements: the same bytes, good plans, versions side by side."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from functools import partial
from math import nan
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from conversation.errors import DatabaseUnavailable, Fault
from conversation.ids import new_id
from conversation.message import Message, ToolCall, Usage
from conversation.step import Step
from conversation.turn import (
    ClaimedTurn,
    Completed,
    Ending,
    Failed,
    FinalEnding,
    HandOver,
    Lease,
    RetryLater,
    TurnError,
)
from conversation.window import window_start
from store import tables
from store.database.engine import Database
from store.settings import load
from store.turns import claim_call, claims, inbox, send_function, settle_call, sweep, workers
from store.turns.claims import ClaimRequest
from store.turns.inbox import SendLimits, SendRequest
from store.turns.settle import settle
from store.turns.sweep_request import SweepRequest

WORKER = "a0000000-0000-0000-0000-000000000001"
CLAIMANT = ClaimRequest(worker=WORKER, agents={"assistant": "1"}, max_messages={"assistant": 50})
EAST = timezone(timedelta(hours=5, minutes=30))
HOSTILE = "100% it's \"here\" \\n \\ \u2028 \U0001f600 Ж $$ %(x)s '; drop table threads; --"


@pytest.fixture
def open_database(database_url: str) -> Iterator[Callable[..., Database]]:
    """Opens PostgreSQL with its functions, or in plain statements."""
    opened: list[Database] = []

    def open_one(*, use_functions: bool = True) -> Database:
        opened.append(Database(load(database_url=database_url), use_functions=use_functions))
        opened[-1].run(
            workers.register, worker=WORKER, host="here", pid=1, serves={"assistant": "1"}, lease_duration_seconds=600
        )
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


def test_of_the_calls_those_alone_commit_lazily_of_which_nobody_is_told() -> None:
    lease = Lease(thread_key=1, worker=WORKER, fencing_token=1)
    request = SendRequest(
        turn_id=new_id(), tenant="default", thread_id="t", agent="assistant", message=Message(role="user", content="hi")
    )

    lazy = [claim_call.build("default", "t", CLAIMANT, None), sweep.build_call(SweepRequest(grace_seconds=0, limit=1))]
    others = [
        settle_call.build(
            lease, new_id(), Completed(messages=(Message(role="assistant", content="hi"),)), release=True
        ),
        settle_call.build(lease, new_id(), HandOver(), release=True),
        send_function.call_of(request, SendLimits(), mark_notified=True),
    ]

    assert [call.commits_lazily for call in lazy] == [True] * 2
    assert [call.commits_lazily for call in others] == [False] * 3


def send(database: Database, thread: str, message: Message | None = None) -> None:
    request = SendRequest(
        turn_id=new_id(),
        tenant="default",
        thread_id=thread,
        message=message or Message(role="user", content="hello"),
        agent="assistant",
        metadata={"text": HOSTILE, "numbers": [1, 2.5, 1e23, None, True]},
    )
    database.run(inbox.accept, request=request)


def claim(connection: Connection, thread: str) -> ClaimedTurn:
    claimed = claims.claim(connection, "default", thread, CLAIMANT)
    assert isinstance(claimed, ClaimedTurn), claimed
    return claimed


# The same as the plain statements.


def final(**fields: Any) -> dict[str, Any]:
    reply = Message(
        role="assistant",
        content=HOSTILE,
        tool_calls=(ToolCall("c1", "add", '{"b": 1, "a": 2}'),),
        reasoning="hm\n\t",
        # Kept as text: in its order, with characters that jsonb refuses.
        provider_fields={"z": "\x00\ud800", "a": [1.0, 1e23], "signature": HOSTILE},
        source={"model": "m", "nothing": None},
        metadata={"z": [1.0, 1e-7, 10**30], "a": {HOSTILE: None}},
        usage=Usage(3, 2, 1, is_estimate=True),
        created_at=datetime(1999, 12, 31, 23, 59, 59, 100_000, tzinfo=EAST),
    )
    result = Message(role="tool", tool_call_id="c1", name="add", content="3")
    steps = (
        Step(index=0, kind="model", name="m", state="finished", result={"content": HOSTILE, "n": None}, cost=0.1 + 0.2),
        Step(index=1, kind="model", name="m", state="started", usage=Usage(1, 2), cost=nan),
    )
    return {"messages": (reply, result), "steps": steps, "usage": Usage(9, 8), **fields}


ERROR = TurnError("model_error", f"a\x00b {HOSTILE}" * 100, retryable=True)
ENDINGS: dict[str, Ending] = {
    "completed": Completed(**final(cost=nan, omitted={"messages": ["x"], "cut": {HOSTILE: 3}}, window_tokens=1000)),
    "empty": Completed(),
    "failed": Failed(**final(cost=1 / 3, error=ERROR)),
    "retry": RetryLater(after=timedelta(seconds=90), error=ERROR, steps=final()["steps"]),
    "put off": RetryLater(after=timedelta(seconds=90), error=ERROR, is_put_off=True, waits_for="m:1"),
    "hand over": HandOver(),
    "exhausted": HandOver(error=TurnError("exhausted", "threads ran out", fault=Fault.OPERATOR)),
}

#: Columns that differ from run to run: ids, and times of the clock.
VARYING = {
    *("key", "thread_key", "arrival_seq", "id", "turn_id", "lease_owner", "request_digest"),
    *("created_at", "updated_at", "started_at", "finished_at", "notified_at", "retry_at"),
    *("failing_since", "attempt_started_at", "ended_at", "next_try_at"),
}


def picture_of(connection: Connection, thread_key: int) -> dict[str, list[tuple[Any, ...]]]:
    """All that a thread's turns left behind, as text."""
    of_thread = "(select id from turns where thread_key = :key)"
    sources = {
        tables.threads: "key = :key",
        tables.turns: "thread_key = :key order by arrival_seq",
        tables.messages: "thread_key = :key order by seq",
        tables.steps: f"turn_id in {of_thread} order by index",
        tables.turn_attempts: f"turn_id in {of_thread} order by number",
    }
    picture = {}
    for table, condition in sources.items():
        names = [f"{column.name}::text" for column in table.c if column.name not in VARYING]
        if table is tables.messages:
            names.append("case role when 'user' then '' else created_at::text end")
        if table in (tables.turns, tables.steps):
            names.append("finished_at is null")
        if table is tables.turns:
            names += ["failing_since is null", "attempt_started_at is null"]
            names.append("extract(epoch from retry_at - clock_timestamp())::integer between 60 and 90")
        if table is tables.turn_attempts:
            names += ["next_try_at is null", "started_at <= ended_at"]
        words = f"select {', '.join(names)} from {table.name} where {condition}"
        picture[table.name] = [tuple(row) for row in connection.execute(text(words), {"key": thread_key})]
    return picture


@pytest.mark.parametrize("name", ENDINGS)
def test_a_turn_leaves_the_same_behind_by_either_road(open_database: Callable[..., Database], name: str) -> None:
    pictures, windows, outcomes = [], [], []
    for use_functions in (True, False):
        database, thread = open_database(use_functions=use_functions), f"{name} {use_functions}"
        send(database, thread)
        send(database, thread)
        with database.engine.begin() as connection:
            claimed = claim(connection, thread)
        ending = ENDINGS[name]
        with database.engine.begin() as connection:
            outcome = settle(connection, claimed.lease, claimed.id, ending, release=True)
        with database.engine.begin() as connection:
            key = {"key": claimed.lease.thread_key}
            pictures.append(picture_of(connection, claimed.lease.thread_key))
            connection.execute(text("update turns set retry_at = null where thread_key = :key"), key)
            going_on = claim(connection, thread)
            windows.append([m.to_json() | {"turn_id": ""} for m in going_on.window if m.role != "user"])
        outcomes.append((asdict(outcome) | {"next_turn_id": outcome.next_turn_id is not None}, going_on.metadata))

    assert pictures[0] == pictures[1]
    assert windows[0] == windows[1]
    assert outcomes[0] == outcomes[1]
    if isinstance(ENDINGS[name], FinalEnding) and windows[0]:
        assert list(windows[0][0]["provider_fields"]) == ["z", "a", "signature"]


@pytest.mark.parametrize("use_functions", [True, False])
@pytest.mark.parametrize("result", [{"a": "\x00"}, {"a": "\ud800"}, {"a": nan}, {"\x00": 1}], ids=repr)
def test_a_value_that_no_column_takes_is_refused_by_either_road(
    open_database: Callable[..., Database], use_functions: bool, result: dict[str, Any]
) -> None:
    database = open_database(use_functions=use_functions)
    send(database, "t")
    with database.engine.begin() as connection:
        claimed = claim(connection, "t")
    ending = Completed(steps=(Step(index=0, kind="model", state="finished", result=result),))

    with pytest.raises(DBAPIError) as refused, database.engine.begin() as connection:
        settle(connection, claimed.lease, claimed.id, ending, release=True)

    assert refused.value.orig is not None
    assert refused.value.orig.sqlstate in ("22P05", "22P02")  # type: ignore[attr-defined]


def test_a_refused_send_leaves_no_thread_behind_in_a_transaction_that_goes_on(
    open_database: Callable[..., Database],
) -> None:
    send = text(
        "select threadmill.send_turn_v1(gen_random_uuid(), 'default', :thread, :agent, gen_random_uuid()::text, "
        "content => 'hello', idempotency_key => 'k', request_digest => :thread)"
    )

    def send_all(connection: Connection) -> list[str | None]:
        sends = [("kept", "assistant"), ("another", "assistant"), ("unknown", "nobody")]
        values = [connection.execute(send, {"thread": thread, "agent": agent}).scalar_one() for thread, agent in sends]
        return [value.get("refusal") for value in values]

    database = open_database()

    # The key of the second was used with another request.
    assert database.run(send_all) == [None, "idempotency_conflict", "idempotency_conflict"]
    threads = database.run(lambda connection: connection.execute(text("select id from threads")).scalars().all())
    assert threads == ["kept"]


def test_the_window_of_the_function_begins_where_the_model_of_it_does(open_database: Callable[..., Database]) -> None:
    formula = "select to_seq, size, threadmill.window_start_v1(to_seq, size) from {} to_seq, {} size"
    near = formula.format("generate_series(0, 260)", "generate_series(1, 90)")
    far = formula.format("unnest(array[999, 100000, 2147483648, 9007199254740991])", "unnest(array[1, 2, 3, 200, 201])")
    with open_database().engine.begin() as connection:
        rows = [*connection.execute(text(near)), *connection.execute(text(far))]
        without_limit = connection.execute(text("select threadmill.window_start_v1(500, null)")).scalar_one()

    assert [(to_seq, size, start) for to_seq, size, start in rows if start != window_start(to_seq, size)] == []
    assert len(rows) > 20_000
    assert without_limit == 0


# Plans.

#: Months of use: one long thread with its ended turns, and many others, of which some wait.
FILL = (
    """
    insert into threads (tenant, id, metadata, created_at, updated_at, last_seq)
    select 'default', 'long', '{}'::jsonb, now(), now(), 4000
    union all select 'default', 'other-' || n, '{}', now(), now(), 4 from generate_series(1, 5000) n
    """,
    """
    insert into messages (thread_key, seq, id, role, content, metadata, created_at)
    select key, n, 'm-' || n, case n % 2 when 1 then 'user' else 'assistant' end, 'text', '{}', now()
    from threads, generate_series(1, last_seq) n where id = 'long' or id like 'other-%'
    """,
    """
    insert into turns (id, thread_key, tenant, state, agent, metadata, created_at, attempt, finished_at)
    select gen_random_uuid(), thread_key, 'default',
        case when seq = 3 and threads.id <> 'long' then 'queued' else 'completed' end,
        'assistant', '{}', now(), 1, now()
    from messages join threads on key = thread_key where role = 'user' and turn_id is null
    """,
)
#: Rows that a claim and a settling of a window of 50 may read, those of foreign keys' checks included.
ROWS_MAX = 150


@contextmanager
def counting_rows(connection: Connection) -> Iterator[dict[str, int]]:
    """Counts what is read in a transaction: rows by index, and rows by scan of a table."""
    counted = (
        "select coalesce(sum(seq_tup_read), 0) as scanned, coalesce(sum(idx_tup_fetch), 0) as fetched"
        " from pg_stat_xact_user_tables"
    )
    rows: dict[str, int] = {}
    before = connection.execute(text(counted)).one()
    yield rows
    after = connection.execute(text(counted)).one()
    rows |= {"scanned": after.scanned - before.scanned, "fetched": after.fetched - before.fetched}


@pytest.mark.parametrize("plans_are_older", [True, False], ids=["made while empty", "made while full"])
def test_a_turn_of_a_full_database_reads_its_own_rows_alone(
    open_database: Callable[..., Database], plans_are_older: bool
) -> None:
    """Plans stay with a connection: those that it made on empty tables serve for as long as it lives."""
    database, filler = open_database(), open_database(use_functions=False)
    with database.engine.connect() as connection:
        if plans_are_older:
            for number in range(8):
                send(filler, f"warm-{number}")
                answer(connection, f"warm-{number}")
                connection.commit()
        for statement in FILL:
            filler.run(lambda c, words=statement: c.execute(text(words)))
        if not plans_are_older:
            filler.run(lambda c: c.execute(text("analyze")))
        for _ in range(8):
            send(filler, "long")
            with counting_rows(connection) as rows:
                answer(connection, "long")
            connection.commit()

            assert rows["scanned"] == 0, rows
            assert rows["fetched"] < ROWS_MAX, rows


def answer(connection: Connection, thread: str) -> None:
    claimed = claim(connection, thread)
    replies = (Message(role="assistant", content="fine"),)
    step = Step(index=0, kind="model", state="finished", result={"content": "fine"})
    settle(connection, claimed.lease, claimed.id, Completed(messages=replies, steps=(step,)), release=True)


# Versions.


def test_a_worker_goes_on_beside_the_functions_of_the_next_release(open_database: Callable[..., Database]) -> None:
    """A release adds its versions before the first of its workers starts; the next one drops the old."""
    database = open_database()
    with database.engine.begin() as connection:
        definition = connection.execute(
            text("select pg_get_functiondef('threadmill.claim_turn_v1'::regproc)")
        ).scalar_one()
        newer = definition.replace("claim_turn_v1(", "claim_turn_v2(p_region text, ").replace(
            "RETURN NULL", "RETURN '{}'"
        )
        connection.exec_driver_sql(newer, execution_options={"no_parameters": True})

    send(database, "t")
    with database.engine.begin() as connection:
        answer(connection, "t")


def test_a_function_that_is_not_there_is_the_operators_to_install(open_database: Callable[..., Database]) -> None:
    database = open_database()
    with database.engine.begin() as connection:
        connection.execute(text("drop function threadmill.claim_turn_v1"))

    with pytest.raises(DatabaseUnavailable, match="does not have the schema of this release"):
        database.run(partial(claims.claim, tenant="default", thread_id="t", claimant=CLAIMANT))
