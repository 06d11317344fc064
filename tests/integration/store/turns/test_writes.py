"""What a turn has PostgreSQL write: its thread's row in place, and a bounded length of log."""

import psycopg
import pytest

from store.database.engine import Database
from tests.integration.desk import Desk

TURNS = 15


@pytest.fixture
def desk(database: Database) -> Desk:
    desk = Desk(database)
    run_turns(desk, "warm-up")
    return desk


def run_turns(desk: Desk, name: str, *, threads: int = TURNS) -> None:
    for number in range(TURNS):
        desk.settle(desk.claim(f"{name}-{number % threads}"))


def test_the_row_of_a_thread_is_updated_in_place(desk: Desk, database_url: str) -> None:
    """HOT, as PostgreSQL calls it: no index is written, since no column that a turn changes is in one."""
    run_turns(desk, "new")
    run_turns(desk, "old", threads=5)
    # The counts of a session are seen at its end.
    desk.database.close()

    with psycopg.connect(database_url) as connection:
        query = "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'threads'"
        updates, in_place = connection.execute(query).fetchone() or (0, 0)

    assert updates >= 2 * 2 * TURNS
    # All but a few: ten minutes may begin meanwhile, a page may be full.
    assert in_place > 0.8 * updates


@pytest.mark.parametrize(("threads", "most"), [(TURNS, 4_250), (5, 3_780)], ids=["new threads", "old threads"])
def test_a_turn_writes_a_bounded_length_of_log(desk: Desk, database_url: str, threads: int, most: int) -> None:
    """Bytes of the log of writes for a send, a claim and a settle."""
    lengths = []
    with psycopg.connect(database_url, autocommit=True) as connection:
        for number in range(2):
            start = connection.execute("select pg_current_wal_insert_lsn()").fetchone()
            run_turns(desk, f"{threads}-{number}", threads=threads)
            query = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)"
            (length,) = connection.execute(query, start).fetchone() or (0,)
            lengths.append(length / TURNS)

    # The least: other databases of the server write to the same log.
    assert min(lengths) < most, lengths
