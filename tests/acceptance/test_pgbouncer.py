"""Worker processes behind PgBouncer itself, in transaction mode, with two connections to the database."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from benchmarks.pgbouncer import running_pgbouncer
from conversation.errors import DatabaseUnavailable
from conversation.turn import TurnState
from store import migrations
from store.database.engine import Database
from store.database.function_calls import FunctionCall
from store.settings import load
from tests.acceptance.installation import Installation, assert_well_formed, worker

#: A tool with an effect, then the answer.
ORDER = 'call write with {"text": "once"}'
LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
NAP = """
create function threadmill.nap() returns json language sql as $$ select to_json(1) from pg_sleep(20) $$;
create function threadmill.shown(setting text) returns json language sql
as $$ select to_json(current_setting(setting)) $$;
"""

pytestmark = pytest.mark.soak


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user can reach: PgBouncer does not run as root, whose `tmp_path` is closed to others."""
    with TemporaryDirectory(prefix="threadmill-pgbouncer-") as name:
        yield Path(name)


def test_workers_share_two_connections_and_leave_nothing_behind_in_them(
    empty_database_url: str, valkey_url: str, tmp_path: Path, folder: Path
) -> None:
    with running_pgbouncer(empty_database_url, folder, pool_size=2) as url:
        migrations.upgrade(url)
        installation = Installation(url, valkey_url, tmp_path)
        try:
            installation.start(worker("one"), worker("two"), *installation.upkeep())

            turns = [installation.send(f"thread-{n % 10}", ORDER) for n in range(30)]
            results = installation.all_ended(turns, seconds=90)

            assert {result.state for result in results} == {TurnState.COMPLETED}
            assert_well_formed(installation.history())
            assert len(installation.notes("write")) == len(turns)
        finally:
            installation.close()
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as next_one:
            left = {next_one.execute(f"show {name}").fetchone() for name in LIMITS for _ in range(4)}
    assert left == {("0",)}


def test_the_limits_of_a_call_hold(database_url: str, folder: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(NAP)
    with running_pgbouncer(database_url, folder, pool_size=1) as url:
        database = Database(load(database_url=url, db_statement_timeout_seconds=0.2, db_lock_timeout_seconds=0.1))

        assert database.call(FunctionCall("shown", {"setting": "lock_timeout"})) == "100ms"
        with pytest.raises(DatabaseUnavailable, match="took too long"):
            database.call(FunctionCall("nap", {}))

        database.close()
