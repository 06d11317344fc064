"""A cancelled caller on SQLite leaves no lock behind, even while its traceback is still looked at."""

import asyncio
from pathlib import Path

from sqlalchemy import Connection, text

from store.database.engine import Database
from store.settings import load

#: Takes long enough to be cancelled in the middle, and has a row then that nobody fetches.
COUNTS = text("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1000000) SELECT count(*) FROM n")


def make(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE written (x)"))


def write_slowly(connection: Connection) -> None:
    connection.execute(text("INSERT INTO written VALUES (1)"))
    connection.execute(COUNTS).all()


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM written")).scalar_one())


async def test_the_next_one_can_write(tmp_path: Path) -> None:
    database = Database(load(database_url=f"sqlite:///{tmp_path}/t.db", db_statement_timeout_seconds=5))
    database.run(make)

    for moment in (0.01, 0.05, 0.1):
        call = asyncio.create_task(database.run_async(write_slowly))
        await asyncio.sleep(moment)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        # `call` keeps the frames in which it was cancelled.
        await asyncio.to_thread(database.run, count)

    await database.close_async()
    database.close()
