"""The ledger of the tools: one entry for each time that an effect happened, with the call that asked.

What stays true: an entry is added in the transaction that checked whether it may be, and is never
changed. Nothing here hides a repeated call: two entries of one call are an effect done twice.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadmill import RunContext

#: Names the file; every process of one installation has to see the same one.
PATH_VARIABLE = "THREADMILL_EXAMPLE_LEDGER"
DEFAULT_PATH = Path(".threadmill/support-ledger.sqlite3")

#: Seconds to wait while another worker writes.
_BUSY_TIMEOUT_SECONDS = 30.0
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS entries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        thread_id TEXT NOT NULL,
        turn_id TEXT NOT NULL,
        call_id TEXT NOT NULL,
        tool TEXT NOT NULL,
        arguments TEXT NOT NULL,
        written_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One effect."""

    number: int
    thread_id: str
    turn_id: str
    #: The model's id of the call: unique within its turn.
    call_id: str
    tool: str
    arguments: dict[str, Any]
    #: UTC, ISO 8601.
    written_at: str


class Book:
    """The ledger while it is open for one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def entries(self) -> list[Entry]:
        """Everything that happened, oldest first."""
        columns = "number, thread_id, turn_id, call_id, tool, arguments, written_at"
        rows = self._connection.execute(f"SELECT {columns} FROM entries ORDER BY number")
        names = columns.split(", ")
        records = (dict(zip(names, row, strict=True)) for row in rows)
        return [Entry(**row | {"arguments": json.loads(row["arguments"])}) for row in records]

    def has(self, run: RunContext) -> bool:
        """Whether this very call has had its effect."""
        return any((e.turn_id, e.call_id) == (run.turn_id, run.call_id) for e in self.entries())

    def add(self, run: RunContext, tool: str, **arguments: Any) -> None:
        self._connection.execute(
            "INSERT INTO entries (thread_id, turn_id, call_id, tool, arguments) VALUES (?, ?, ?, ?, ?)",
            (run.thread_id, run.turn_id, run.call_id, tool, json.dumps(arguments)),
        )


@contextmanager
def open_book() -> Iterator[Book]:
    """Open the ledger alone: what is read here still holds when it is written. An error undoes all."""
    path = Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)
    with closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(_SCHEMA)
            yield Book(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def ledger_entries() -> list[Entry]:
    """Every effect so far, oldest first."""
    with open_book() as book:
        return book.entries()
