"""The store on a file of SQLite, as a stage.

What stays true: a file has one writer at a time, who holds it from the first statement to the end. So of two at once,
the second one waits until the first has ended, and nobody else writes beside a producer's open transaction.
"""

import sqlite3
from typing import Any

from store.database.engine import Database
from store.settings import load
from tests.integration.store.turns.model_based import picture, sqlite_picture
from tests.integration.store.turns.model_based.conversions import moment
from tests.integration.store.turns.model_based.operations import Operation
from tests.integration.store.turns.model_based.stage import HANGS, Raced, Stage


class SqliteStage(Stage):
    """A file of its own."""

    has_many_writers = False

    def __init__(self, url: str) -> None:
        self.database = Database(load(database_url=url, db_statement_timeout_seconds=HANGS))
        self._file = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        self._file.execute("PRAGMA foreign_keys=ON")
        self._file.execute("CREATE TABLE model_clock (now text NOT NULL)")
        self._file.execute("INSERT INTO model_clock VALUES ('')")

    def close(self) -> None:
        self._file.close()
        self.database.close()

    def execute(self, statement: str) -> None:
        self._file.execute(statement)

    def set_clock(self, second: int) -> None:
        now = moment(second)
        assert now is not None
        self._file.execute("UPDATE model_clock SET now = ?", [now.replace(tzinfo=None).isoformat(" ")])

    def picture(self) -> picture.Picture:
        return sqlite_picture.of_file(self._file)

    def race(self, first: Operation, second: Operation, *, after: int = 99, commits: bool = True) -> Raced:
        del after
        told: Any = self.run(first, commits=commits)
        return Raced(told, self.run(second), waited=True, statements=0)
