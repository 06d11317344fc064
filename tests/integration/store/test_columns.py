"""Each column of `threads` and `turns`, and what a fork, an import and a requeue do with it: said, then seen.

A new column fails here until somebody has decided about it. Both databases hold to the same table.
"""

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import Column, Connection, DefaultClause, Table, func, insert, select, update

from conversation.ids import new_id
from store import tables
from store.database.engine import Database
from store.threads.export import Export, read_next_page
from store.threads.forks import fork
from store.threads.importer import import_thread
from store.turns.requeue import requeue

Row = dict[str, Any]


class Does(StrEnum):
    """What an operation does with a column of the row that it makes, or changes."""

    #: The value of the row that it was made of; the row's own value where no row is made.
    COPIES = "copies"
    #: The value of a row of which nothing is known: the column's default, or null.
    RESETS = "resets"
    #: A value of its own: a new id, the present time, a count.
    SETS = "sets"
    #: It makes no such row, and changes none.
    LEAVES = "leaves"


COPIES, RESETS, SETS, LEAVES = Does

#: The columns that say whose history a row shares, and which branch its id stands for: `turns/test_branches.py` and
#: `threads/test_branch_exports.py` see what is done with them.
OF_BRANCHES = {"root_key", "parent_key", "shared_to_seq", "lineage", "branch_origin", "branch_name"} | {
    *("chosen_key", "chosen_fence", "chosen_after_seq", "deleted_at")
}
#: What a fork, and what an export that is imported under another id, does with each column of a thread.
THREADS: dict[str, tuple[Does, Does]] = {
    "key": (SETS, SETS),
    "tenant": (COPIES, COPIES),
    "id": (SETS, SETS),
    "owner": (COPIES, COPIES),
    "title": (COPIES, COPIES),
    "metadata": (COPIES, COPIES),
    # A fork is a new thread; an import is the old one.
    "created_at": (SETS, COPIES),
    "updated_at": (SETS, COPIES),
    "last_seq": (COPIES, COPIES),
    # Workers that hold the source know nothing of the copy.
    "lease_owner": (RESETS, RESETS),
    "fencing_token": (RESETS, RESETS),
    # A copy of a conversation is used in the same way.
    "when_busy": (COPIES, COPIES),
    # The summary is copied as well, under an id of its own.
    "summary_id": (SETS, SETS),
    "uncovered_messages": (SETS, SETS),
    "uncovered_tokens": (SETS, SETS),
    "history_starts_after": (COPIES, COPIES),
    # A hold names one thread, and is an operator's word: no file sets one.
    "legal_hold": (RESETS, RESETS),
    "agent": (COPIES, COPIES),
    "assigned_agent": (COPIES, COPIES),
    # A copy belongs to nobody's turn.
    "begun_in": (RESETS, RESETS),
    "ancestors": (RESETS, RESETS),
    # How attempts at the source's summary ended says nothing of the copy's.
    "summary_failures": (RESETS, RESETS),
    "summary_retry_at": (RESETS, RESETS),
    "summary_version": (RESETS, RESETS),
    "context_version": (COPIES, SETS),
    # The copy's next turn finds out.
    "window_tokens": (RESETS, RESETS),
    # To retention, a fork is as old as the messages that it shares.
    "retained_from": (COPIES, SETS),
    "retention_checked_at": (RESETS, RESETS),
}

#: What a fork, an import under another id, a requeue that resumes the turn, and one that asks its
#: question anew, does with each column of a turn.
TURNS: dict[str, tuple[Does, Does, Does, Does]] = {
    "arrival_seq": (LEAVES, SETS, COPIES, SETS),
    "id": (LEAVES, SETS, COPIES, SETS),
    "thread_key": (LEAVES, SETS, COPIES, COPIES),
    "created_at": (LEAVES, COPIES, COPIES, SETS),
    "priority": (LEAVES, COPIES, COPIES, COPIES),
    "tenant": (LEAVES, COPIES, COPIES, COPIES),
    "agent": (LEAVES, COPIES, COPIES, COPIES),
    "metadata": (LEAVES, COPIES, COPIES, COPIES),
    "sender": (LEAVES, COPIES, COPIES, COPIES),
    # Due at once: the times that its sender set are past.
    "not_before": (LEAVES, RESETS, RESETS, RESETS),
    "deadline": (LEAVES, RESETS, RESETS, RESETS),
    # The key answers for one request of one installation.
    "idempotency_key": (LEAVES, RESETS, COPIES, RESETS),
    "request_digest": (LEAVES, RESETS, COPIES, RESETS),
    # A requeued turn may be run by any worker.
    "local_process_id": (LEAVES, RESETS, RESETS, RESETS),
    # The schedules of another installation are not there.
    "schedule_id": (LEAVES, RESETS, COPIES, COPIES),
    # An export may begin behind the turn that this one names.
    "requeued_from": (LEAVES, RESETS, SETS, SETS),
    # A turn that goes on is still waited for, if it is; one that asks anew is nobody's child.
    "parent_turn_id": (LEAVES, RESETS, COPIES, RESETS),
    "parent_call_id": (LEAVES, RESETS, COPIES, RESETS),
    "depth": (LEAVES, RESETS, COPIES, RESETS),
    # A turn that is asked again waits for those before it.
    "when_busy": (LEAVES, COPIES, RESETS, RESETS),
    "steers": (LEAVES, RESETS, RESETS, RESETS),
    # This one and `merged_into` name turns of the same file, under their ids here.
    "interrupted_by": (LEAVES, SETS, RESETS, RESETS),
    "rolled_back": (LEAVES, COPIES, RESETS, RESETS),
    "cancel_requested_at": (LEAVES, COPIES, RESETS, RESETS),
    "cancel_requested_by": (LEAVES, COPIES, RESETS, RESETS),
    # The journal of a resumed turn is numbered on by attempts; what limits it begins anew.
    "retries": (LEAVES, COPIES, RESETS, RESETS),
    "crashes": (LEAVES, COPIES, RESETS, RESETS),
    "crashed_worker": (LEAVES, RESETS, RESETS, RESETS),
    "interruptions": (LEAVES, RESETS, RESETS, RESETS),
    "attempt": (LEAVES, COPIES, COPIES, RESETS),
    "notified_at": (LEAVES, RESETS, SETS, SETS),
    "retry_at": (LEAVES, RESETS, RESETS, RESETS),
    "failing_since": (LEAVES, RESETS, RESETS, RESETS),
    "waits_for": (LEAVES, RESETS, RESETS, RESETS),
    "wait_expires_at": (LEAVES, RESETS, RESETS, RESETS),
    # A resumed turn goes on in the window that its journal was written in.
    "window_to_seq": (LEAVES, COPIES, COPIES, RESETS),
    "window_summary_id": (LEAVES, RESETS, COPIES, RESETS),
    "window_context_version": (LEAVES, RESETS, COPIES, RESETS),
    # Tokens are the thread's own.
    "first_fencing_token": (LEAVES, RESETS, COPIES, RESETS),
    "fencing_token": (LEAVES, RESETS, COPIES, RESETS),
    "started_at": (LEAVES, COPIES, COPIES, RESETS),
    "attempt_started_at": (LEAVES, COPIES, COPIES, RESETS),
    # That of the newest claim: there was none of a new turn.
    "agent_version": (LEAVES, COPIES, COPIES, RESETS),
    "state": (LEAVES, COPIES, SETS, SETS),
    "merged_into": (LEAVES, SETS, COPIES, RESETS),
    "finished_at": (LEAVES, COPIES, RESETS, RESETS),
    "error_kind": (LEAVES, COPIES, RESETS, RESETS),
    "error_message": (LEAVES, COPIES, RESETS, RESETS),
    "error_retryable": (LEAVES, COPIES, RESETS, RESETS),
    "error_fault": (LEAVES, COPIES, RESETS, RESETS),
    "omitted": (LEAVES, COPIES, RESETS, RESETS),
    "usage": (LEAVES, COPIES, RESETS, RESETS),
    "cost": (LEAVES, COPIES, RESETS, RESETS),
}

#: The oldest of the moments that are stored here: a day is between two of them.
FIRST = datetime(2025, 1, 1, 12, tzinfo=UTC)
SUMMARY_ID, TURN_ID = new_id(), new_id()
NEWEST_SEQ = 5


def moment(days: int) -> datetime:
    return FIRST + timedelta(days=days)


#: A value for every column that the database does not number itself, none of them the column's default.
THREAD: Row = {
    "tenant": "acme",
    "id": "source",
    "owner": "ann",
    "title": "Parcels",
    "metadata": {"user": "ann"},
    "created_at": moment(0),
    "updated_at": moment(9),
    "last_seq": NEWEST_SEQ,
    "lease_owner": new_id(),
    "fencing_token": 31,
    "summary_id": SUMMARY_ID,
    "context_version": 7,
    "when_busy": "merge",
    "uncovered_messages": 41,
    "uncovered_tokens": 43,
    "history_starts_after": 1,
    "legal_hold": True,
    "agent": "support",
    "assigned_agent": "billing",
    "begun_in": "outer",
    "ancestors": "/outer/",
    "summary_failures": 2,
    "summary_retry_at": moment(20),
    "summary_version": 3,
    "window_tokens": 47,
    "retained_from": moment(1),
    "retention_checked_at": moment(21),
}
TURN: Row = {
    "id": TURN_ID,
    "tenant": "acme",
    "state": "failed",
    "agent": "support",
    "agent_version": "v7",
    "local_process_id": new_id(),
    "attempt": 4,
    "retries": 3,
    "crashes": 2,
    "interruptions": 3,
    "crashed_worker": new_id(),
    "requeued_from": new_id(),
    "parent_turn_id": new_id(),
    "parent_call_id": "call",
    "depth": 2,
    "when_busy": "steer",
    "steers": new_id(),
    "interrupted_by": new_id(),
    "merged_into": new_id(),
    "rolled_back": True,
    "schedule_id": new_id(),
    "priority": 6,
    "metadata": {"ticket": 7},
    "sender": "bob",
    "not_before": moment(3),
    "retry_at": moment(4),
    "failing_since": moment(4),
    "waits_for": "openai/gpt-5:0f",
    "wait_expires_at": moment(5),
    "deadline": moment(5),
    "idempotency_key": "once",
    "request_digest": "d" * 64,
    "window_to_seq": NEWEST_SEQ,
    "window_summary_id": SUMMARY_ID,
    "window_context_version": 5,
    "first_fencing_token": 6,
    "fencing_token": 7,
    "notified_at": moment(2),
    "cancel_requested_at": moment(6),
    "cancel_requested_by": "ops",
    "created_at": moment(2),
    "started_at": moment(3),
    "attempt_started_at": moment(6),
    "finished_at": moment(7),
    "error_kind": "model_error",
    "error_message": "refused",
    "error_retryable": True,
    "error_fault": "operator",
    "omitted": {"messages": ["m1"], "cut": {"m2": 900}},
    "usage": {"prompt_tokens": 3, "completion_tokens": 5},
    "cost": 1.25,
}


def fill(connection: Connection) -> None:
    """Store a thread and its turn, every column in use; a summary, and messages that it does not cover."""
    without_summary = THREAD | {"summary_id": None}
    key = connection.execute(insert(tables.threads).values(without_summary)).inserted_primary_key[0]
    connection.execute(insert(tables.turns).values(TURN | {"thread_key": key}))
    summary = {"id": SUMMARY_ID, "thread_key": key, "from_seq": 1, "to_seq": 3, "created_at": moment(8)}
    connection.execute(insert(tables.summaries).values(summary | {"content": "short", "model": "m"}))
    connection.execute(update(tables.threads).values(summary_id=SUMMARY_ID))
    for seq in range(2, NEWEST_SEQ + 1):
        message = {"thread_key": key, "seq": seq, "id": f"m{seq}", "role": "user", "content": "Where is it?"}
        turn_id = TURN_ID if seq == NEWEST_SEQ else None
        message |= {"metadata": {}, "created_at": moment(seq), "turn_id": turn_id}
        connection.execute(insert(tables.messages).values(message))


@pytest.fixture
def database(any_database: Database) -> Database:
    any_database.run(fill)
    return any_database


def read(database: Database, table: Table, **values: object) -> Row | None:
    """Read the one row with these values; None where there is none."""
    statement = select(table).where(*(table.c[name] == value for name, value in values.items()))
    row = database.run(lambda connection: connection.execute(statement).mappings().one_or_none())
    return None if row is None else dict(row)


def stored_columns(table: Table) -> list[Column[Any]]:
    """The columns that hold something of their own, but for those of branches: others the database computes."""
    return [column for column in table.c if column.computed is None and column.name not in OF_BRANCHES]


def default_of(column: Column[Any]) -> object:
    """The value of a column of which an insert says nothing."""
    if not isinstance(column.server_default, DefaultClause):
        return None
    return {"0": 0, "false": False}[str(column.server_default.arg)]


def seen(table: Table, source: Row, made: Row) -> dict[str, Does]:
    """What happened to each column between the row that stood before and the one that was made of it."""
    return {
        column.name: COPIES
        if made[column.name] == source[column.name]
        else RESETS
        if made[column.name] == default_of(column)
        else SETS
        for column in stored_columns(table)
    }


def said(table: dict[str, tuple[Does, ...]], operation: int) -> dict[str, Does]:
    return {name: claims[operation] for name, claims in table.items()}


@pytest.mark.parametrize(
    ("table", "claims"), [(tables.threads, THREADS), (tables.turns, TURNS)], ids=["threads", "turns"]
)
def test_each_column_is_decided_about(table: Table, claims: dict[str, object]) -> None:
    """Whoever adds a column says what a fork, an import and a requeue do with it, and gives it a value."""
    assert list(claims) == [column.name for column in stored_columns(table)]


@pytest.mark.parametrize(
    ("table", "values"), [(tables.threads, THREAD), (tables.turns, TURN)], ids=["threads", "turns"]
)
def test_each_column_has_a_value_that_is_no_default(table: Table, values: Row) -> None:
    """Else nothing could be seen: a copy of a default looks like a reset."""
    numbered = {"key", "arrival_seq", "thread_key"}

    assert set(values) == {column.name for column in stored_columns(table)} - numbered
    assert [name for name, value in values.items() if value == default_of(table.c[name])] == []


def test_a_fork_copies_a_thread_as_it_is_said(database: Database) -> None:
    source, turn = read(database, tables.threads, id="source"), read(database, tables.turns, id=TURN_ID)
    assert source is not None

    database.run(fork, "acme", "source", "copy")

    made = read(database, tables.threads, id="copy")
    assert made is not None
    assert seen(tables.threads, source, made) == said(THREADS, 0)
    assert read(database, tables.threads, id="source") == source
    assert read(database, tables.turns, id=TURN_ID) == turn
    assert read(database, tables.turns, thread_key=made["key"]) is None
    assert set(said(TURNS, 0).values()) == {LEAVES}


def test_an_import_stores_a_thread_and_its_turn_as_it_is_said(database: Database) -> None:
    source, turn = read(database, tables.threads, id="source"), read(database, tables.turns, id=TURN_ID)
    assert source is not None
    assert turn is not None
    lines, export = [], Export("acme", "source")
    while (page := database.run(read_next_page, export))[0]:
        lines, export = [*lines, *page[0]], page[1]

    database.run(import_thread, [json.dumps(line) for line in lines], thread_id="copy")

    made = read(database, tables.threads, id="copy")
    assert made is not None
    assert seen(tables.threads, source, made) == said(THREADS, 1)
    made_turn = read(database, tables.turns, thread_key=made["key"])
    assert made_turn is not None
    assert seen(tables.turns, turn, made_turn) == said(TURNS, 1)
    assert read(database, tables.threads, id="source") == source
    assert read(database, tables.turns, id=TURN_ID) == turn


def test_a_requeue_that_resumes_a_turn_changes_it_as_it_is_said(database: Database) -> None:
    before = read(database, tables.turns, id=TURN_ID)
    assert before is not None

    outcome = database.run(requeue, TURN_ID, new_turn_id=new_id(), new_message_id=new_id())

    after = read(database, tables.turns, id=TURN_ID)
    assert after is not None
    assert not outcome.is_new
    assert seen(tables.turns, before, after) == said(TURNS, 2)
    assert count_turns(database) == 1


def test_a_requeue_that_asks_anew_makes_a_turn_as_it_is_said(database: Database) -> None:
    before = read(database, tables.turns, id=TURN_ID)
    assert before is not None
    younger = {"id": new_id(), "thread_key": before["thread_key"], "tenant": "acme", "state": "completed"}
    younger |= {"agent": "support", "metadata": {}, "created_at": moment(8)}
    database.run(lambda connection: connection.execute(insert(tables.turns).values(younger)))

    outcome = database.run(requeue, TURN_ID, new_turn_id=new_id(), new_message_id=new_id())

    made = read(database, tables.turns, id=outcome.turn_id)
    assert made is not None
    assert outcome.is_new
    assert seen(tables.turns, before, made) == said(TURNS, 3)
    assert read(database, tables.turns, id=TURN_ID) == before
    assert count_turns(database) == 3


def count_turns(database: Database) -> int:
    statement = select(func.count()).select_from(tables.turns)
    return database.run(lambda connection: connection.execute(statement).scalar_one())


def test_the_database_computes_what_indexes_hold_of_columns_that_change_often(database: Database) -> None:
    values = {"updated_at": datetime(2025, 1, 1, 12, 19, 59, 500, UTC), "retention_checked_at": moment(0)}
    values |= {"uncovered_messages": 33, "uncovered_tokens": 2047, "window_tokens": 4094}
    values |= {"last_seq": 50, "history_starts_after": 1}
    database.run(lambda c: c.execute(update(tables.threads).values(values)) and None)

    row = read(database, tables.threads, id="source")
    assert row is not None

    computed = {column.name: row[column.name] for column in tables.threads.c if column.computed is not None}
    assert computed == {
        "updated_period": datetime(2025, 1, 1, 12, 10, tzinfo=UTC),
        "uncovered_messages_step": 2,
        "uncovered_tokens_step": 1,
        "history_step": 3,
        "fills_window": True,
        "needs_retention_check": True,
    }
