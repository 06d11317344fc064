"""Costs of branches: to make one costs the same however long the history is, and a turn on it what one costs before."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, text

from conversation.branch_address import MAIN
from conversation.turn import ClaimedTurn
from store.branches.branches import make_branch
from store.database.engine import Database
from store.settings import load
from store.threads.forks import fork_visible_thread
from store.turns.claims import ClaimRequest
from tests.integration.store.turns.test_branches import ADA, Desk
from tests.integration.store.turns.test_lifecycle import answer

#: Messages of the history that is shared.
LENGTH = 100_000
#: A fork: seconds of our own, and bytes of what is written ahead for it.
FORK_SECONDS, FORK_BYTES = 0.01, 10_000


def stock(database: Database, length: int, thread: str = "t") -> None:
    """Store a history of so many messages of a question and an answer each."""
    rows = (
        "INSERT INTO messages (thread_key, seq, id, role, content, metadata, tokens, created_at) "
        "SELECT t.key, n, 'm' || n, CASE n % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, 'some words of it', '{}', 8, "
        "now() FROM threads t, generate_series(1, :length) AS n WHERE t.id = :id"
    )
    made = (
        "INSERT INTO threads (tenant, id, metadata, last_seq, uncovered_messages, uncovered_tokens, "
        "created_at, updated_at) VALUES ('default', :id, '{}', :length, :length, 8 * :length, now(), now())"
    )
    with database.engine.begin() as connection:
        for statement in (made, rows):
            connection.execute(text(statement), {"id": thread, "length": length})
        connection.exec_driver_sql("ANALYZE messages, threads")


@pytest.fixture(params=[True, False], ids=["functions", "plain"])
def desk(request: pytest.FixtureRequest, database_url: str) -> Iterator[Desk]:
    """PostgreSQL alone: it counts what is read."""
    database = Database(load(database_url=database_url), use_functions=request.param)
    desk = Desk(database)
    desk.worker()
    yield desk
    database.close()


def claimant_of(desk: Desk) -> ClaimRequest:
    """A worker whose agent reads the newest messages alone."""
    claimant = desk.worker()
    claimant.max_messages["assistant"] = 40
    return claimant


def wal_position(desk: Desk) -> int:
    with desk.database.engine.begin() as connection:
        return int(connection.exec_driver_sql("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").scalar_one())


def buffers_of(desk: Desk, run: Any) -> tuple[int, int]:
    """The statements that something takes, and the buffers that this backend touches of messages and threads."""
    seen: list[str] = []
    database = desk.database
    with database.engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    before = blocks(database)

    def note(*arguments: Any) -> None:
        seen.append(arguments[2])

    event.listen(database.engine, "before_cursor_execute", note)
    run()
    event.remove(database.engine, "before_cursor_execute", note)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    return len(seen), blocks(database) - before


def blocks(database: Database) -> int:
    statement = (
        "SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit) FROM pg_statio_user_tables "
        "WHERE relname IN ('messages', 'threads')"
    )
    with database.engine.begin() as connection:
        return int(connection.exec_driver_sql(statement).scalar_one())


@pytest.mark.soak
def test_a_fork_of_a_hundred_thousand_messages_takes_milliseconds_and_kilobytes(desk: Desk) -> None:
    stock(desk.database, LENGTH)
    seconds, wrote, read = [], [], []
    for number in range(5):
        for at in (LENGTH, LENGTH // 2, 3):
            fork = partial(desk.database.run, fork_visible_thread, ADA, "t", f"fork-{number}-{at}", at=at)
            position, begun_at = wal_position(desk), time.process_time()
            statements, blocks_read = buffers_of(desk, fork)
            seconds.append(time.process_time() - begun_at)
            wrote.append(wal_position(desk) - position)
            read.append((statements, blocks_read))

    # Of this process: what the database does is counted, since the machine has others.
    assert min(seconds) < FORK_SECONDS, seconds
    # To begin, lock, look and insert.
    assert max(statements for statements, _ in read) == 4, read
    assert max(blocks_read for _, blocks_read in read) <= 70, read
    # Whole pages are logged after each checkpoint.
    assert sorted(wrote)[len(wrote) // 2] < FORK_BYTES, wrote


@pytest.mark.soak
@pytest.mark.parametrize("nested", [False, True])
def test_a_turn_on_the_fiftieth_branch_costs_what_it_costs_on_the_trunk(desk: Desk, nested: bool) -> None:
    stock(desk.database, LENGTH)
    address = "t"
    for number in range(50):
        if nested:
            accepted = desk.send(f"on {number}", address)
            desk.settle(desk.claim_turn(claimant_of(desk), accepted.address), answer("yes"), release=True)
        made = desk.database.run(make_branch, ADA, address if nested else "t", branch_id=f"b{number}")
        address = f"t/{made.id}"
    costs: dict[str, list[tuple[int, int]]] = {f"t/{MAIN}": [], address: []}

    for _ in range(4):
        for branch, seen in costs.items():
            accepted = desk.send("hello", branch)
            claimant = claimant_of(desk)

            def run(row_id: str = accepted.address, by: Any = claimant) -> ClaimedTurn:
                claimed = desk.claim_turn(by, row_id)
                desk.settle(claimed, answer("hi"), release=True)
                return claimed

            seen.append(buffers_of(desk, run))

    (trunk, branch) = (min(seen) for seen in costs.values())
    assert branch[0] == trunk[0], costs
    # Each branch whose messages are in the window is looked up in the index: a dozen, where each has had a turn.
    assert branch[1] <= trunk[1] + (65 if nested else 1), costs


def test_the_lineage_of_a_nested_branch_is_short(desk: Desk) -> None:
    address = "t"
    desk.ask("1")
    for number in range(20):
        made = desk.database.run(make_branch, ADA, address, branch_id=f"b{number}")
        address = f"t/{made.id}"
        desk.ask(f"on {number}", address)

    with desk.database.engine.begin() as connection:
        statement = text("SELECT lineage FROM threads WHERE id = :id")
        lineage = connection.execute(statement, {"id": address}).scalar_one()

    assert len(lineage) == 20
    assert len(json.dumps(lineage)) < 20 * 15
