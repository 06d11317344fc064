"""A tick of the sweep beside thousands of turns that nobody came for: blocks, which are the same on every machine."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection

from benchmarks.bulk_load import load_threads, load_waiting_turns
from store.database.engine import Database
from store.settings import load
from store.turns import sweep, unserved, workers
from tests.conftest import LendDatabase
from tests.integration.plans import blocks_read, run_explained

ANSWERED, WAITING = 20_000, 4_000
PICKED = 100
#: What finds nothing goes down some indexes.
IDLE_BLOCKS_MAX = 50
#: For each turn that is picked: its place in six indexes of its table, which is entered anew, its head, its thread.
PICKED_BLOCKS_MAX = 50


@pytest.fixture(scope="module")
def waiting_url(lend_database: LendDatabase, migrated_template: str) -> Iterator[str]:
    with lend_database(migrated_template) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            load_threads(connection, ANSWERED)
            load_waiting_turns(connection, WAITING)
        yield url


@pytest.fixture(params=[True, False], ids=["functions", "plain"])
def database(request: pytest.FixtureRequest, waiting_url: str) -> Iterator[Database]:
    opened = Database(load(database_url=waiting_url, db_pool_size=1), use_functions=request.param)
    yield opened
    opened.close()


def count_blocks(database: Database, look: Callable[[Connection], Any]) -> int:
    """Count what a look reads once its plans are made, and the catalogs for them read."""
    database.run(look)
    return max(map(blocks_read, run_explained(database, look)))


IDLE: dict[str, Callable[[Connection], Any]] = {
    "turns without a wake-up": partial(sweep.pick_wake_ups, grace_seconds=3600, limit=500),
    "turns that must end": partial(unserved.list_overdue, limit=500),
    "dead workers": workers.forget_dead,
}


@pytest.mark.parametrize("look", IDLE.values(), ids=IDLE)
def test_a_tick_that_finds_nothing_reads_none_of_them(database: Database, look: Callable[[Connection], Any]) -> None:
    assert count_blocks(database, look) <= IDLE_BLOCKS_MAX


def test_a_tick_reads_what_it_picks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "WINDOW_MIN", PICKED)

    assert count_blocks(database, partial(sweep.pick_wake_ups, grace_seconds=10, limit=PICKED)) <= (
        PICKED * PICKED_BLOCKS_MAX
    )
