"""All that is stored after a run, read once, when nothing runs any more.

What stays true: plain SQL over a connection of its own and rows as they are; none of the code that is
under test takes part in reading what it did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Accepted:
    """One message that was accepted, and what it asked for."""

    turn_id: str
    tools: tuple[str, ...] = ()
    #: SHA-256 of each file that belongs to it: sent with it, or brought by one of its tools.
    files: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Picture:
    """The tables."""

    turns: Mapping[str, Row]
    messages: list[Row]
    steps: list[Row]
    effects: list[Row]
    threads: list[Row]
    inputs: list[Row]
    #: Each with the turn of its message and the size of its blob; null where there is none.
    attachments: list[Row]

    def calls(self) -> dict[str, Row]:
        """The tool calls of the journal, by the key that each handed to its tool."""
        return {f"{row['turn_id']}-{row['index']}": row for row in self.steps if row["kind"] == "tool"}


def read(database_url: str) -> Picture:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:

        def rows(statement: str) -> list[Row]:
            return connection.execute(statement).fetchall()

        return Picture(
            turns={str(row["id"]): row for row in rows("SELECT * FROM turns ORDER BY arrival_seq")},
            messages=rows("SELECT * FROM messages ORDER BY thread_key, seq"),
            steps=rows('SELECT * FROM steps ORDER BY turn_id, "index"'),
            effects=rows("SELECT * FROM shop.effects ORDER BY at"),
            threads=rows("SELECT * FROM threads ORDER BY key"),
            inputs=rows("SELECT * FROM inbox_messages"),
            attachments=rows(
                "SELECT a.*, m.turn_id, b.size, b.state FROM attachments a "
                "LEFT JOIN messages m ON m.thread_key = a.thread_key AND m.id = a.message_id "
                "LEFT JOIN blobs b ON b.tenant = a.tenant AND b.sha256 = a.sha256"
            ),
        )
