"""The turns of a thread in the order of their arrival, whatever became of them."""

from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from conversation.ids import new_id
from store.database.column_types import clock
from store.database.engine import Database
from store.history.arrival_order import first_turns
from store.tables import turns
from tests.integration.desk import Desk

#: States and claims, in an order that no index has.
STORY = [
    ("completed", 1),
    ("queued", 0),
    ("cancelled", 0),
    ("queued", 2),
    ("completed", 3),
    ("merged", 0),
    ("queued", 0),
]


@pytest.mark.parametrize("newest", [False, True])
def test_they_come_in_order_and_no_more_than_is_asked_for(any_database: Database, *, newest: bool) -> None:
    desk = Desk(any_database)
    keys = [desk.chat(thread, 1) and desk.row(thread).key for thread in ("t", "another")]
    for state, attempt in STORY:
        for key in keys:
            values = {"id": new_id(), "thread_key": key, "state": state, "attempt": attempt, "created_at": clock()}
            others = {"tenant": "default", "agent": "a", "metadata": {}}
            any_database.run(Connection.execute, insert(turns).values(values | others))

    def read(connection: Connection, limit: int) -> list[Any]:
        of_thread = select(turns.c.arrival_seq, turns.c.state, turns.c.attempt).where(turns.c.thread_key == keys[0])
        first = first_turns(of_thread, turns, limit=limit, newest=newest)
        order = first.c.arrival_seq.desc() if newest else first.c.arrival_seq
        return [(row.state, row.attempt) for row in connection.execute(select(first).order_by(order))]

    expected = STORY[::-1] if newest else STORY
    for limit in (1, 3, len(STORY) + 1):
        assert any_database.run(read, limit=limit) == expected[:limit]
