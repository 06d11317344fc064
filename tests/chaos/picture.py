"""All that is stored after a run, read once, when nothing runs any more.

What stays true: plain SQL over a connection of its own and rows as they are; none of the code that is
under test takes part in reading what it did, but for what its readers are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
    #: The policy that it was sent with.
    when_busy: str | None = None
    #: It asks something of its own; another answer to an earlier question does not.
    has_message: bool = True
    #: The agent that it names; None names none.
    agent: str | None = None
    #: The agent that it has its thread handed over to.
    hands_over_to: str | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """What the sender of a message is shown by the handle of its turn."""

    state: str
    #: The answer's text.
    content: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The tables, and what the readers of the installation are shown of them."""

    turns: Mapping[str, Row]
    messages: list[Row]
    steps: list[Row]
    effects: list[Row]
    threads: list[Row]
    inputs: list[Row]
    #: Each with the turn of its message and the size of its blob; null where there is none.
    attachments: list[Row]
    pending_calls: list[Row] = field(default_factory=list)
    deliveries: list[Row] = field(default_factory=list)
    schedules: list[Row] = field(default_factory=list)
    #: The entries of decisions.
    audit: list[Row] = field(default_factory=list)
    #: The ids of the messages that each thread or branch shows, by its key.
    views: Mapping[int, Sequence[str]] = field(default_factory=dict)
    #: By the ids of accepted turns.
    handles: Mapping[str, Handle] = field(default_factory=dict)

    def calls(self) -> dict[str, Row]:
        """The tool calls of the journal, by the key that each handed to its tool."""
        return {f"{row['turn_id']}-{row['index']}": row for row in self.steps if row["kind"] == "tool"}

    def answering(self, turn_id: str) -> str:
        """The turn that answers a turn's message: itself, or the one that it was merged into."""
        merged_into = self.turns[turn_id]["merged_into"]
        return str(merged_into or turn_id)

    @cached_property
    def said(self) -> Mapping[str, list[Row]]:
        """The messages by the turn that asked or said them."""
        said: dict[str, list[Row]] = {}
        for message in self.messages:
            said.setdefault(str(message["turn_id"]), []).append(message)
        return said

    @cached_property
    def own(self) -> Mapping[int, list[Row]]:
        """The messages that are stored with each thread or branch, by its key."""
        own: dict[int, list[Row]] = {row["key"]: [] for row in self.threads}
        for message in self.messages:
            own.setdefault(message["thread_key"], []).append(message)
        return own

    def line(self, key: int) -> list[Row]:
        """All messages of the history of a thread or branch, those that it shares first, out of view or not."""
        (row,) = (thread for thread in self.threads if thread["key"] == key)
        line: list[Row] = []
        after = 0
        for part_key, to_seq, *_ in row["lineage"] or ():
            line += [m for m in self.own.get(part_key, ()) if after < m["seq"] <= to_seq]
            after = to_seq
        return [*line, *(m for m in self.own.get(key, ()) if m["seq"] > after)]


def read(
    database_url: str, *, views: Mapping[int, Sequence[str]] | None = None, handles: Mapping[str, Handle] | None = None
) -> Picture:
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
                "SELECT a.*, coalesce(m.turn_id, i.turn_id) AS turn_id, b.size, b.state FROM attachments a "
                "LEFT JOIN messages m ON m.thread_key = a.thread_key AND m.id = a.message_id "
                # What was rolled back before it began is in no history.
                "LEFT JOIN inbox_messages i ON i.id = a.message_id "
                "LEFT JOIN blobs b ON b.tenant = a.tenant AND b.sha256 = a.sha256"
            ),
            pending_calls=rows("SELECT * FROM pending_calls ORDER BY turn_id, step_index, call_id"),
            deliveries=rows("SELECT * FROM webhook_deliveries ORDER BY key"),
            schedules=rows("SELECT * FROM schedules ORDER BY key"),
            audit=rows("SELECT * FROM audit WHERE action = 'turn.decided'"),
            views=views or {},
            handles=handles or {},
        )
