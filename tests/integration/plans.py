"""The plans that PostgreSQL really ran, statement by statement, those inside functions included."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, text

from store.database.engine import Database

Node = Mapping[str, Any]
SETTINGS = (
    *("auto_explain.log_min_duration = 0", "auto_explain.log_level = notice", "auto_explain.log_format = json"),
    *("auto_explain.log_analyze = on", "auto_explain.log_nested_statements = on", "auto_explain.log_buffers = on"),
    # Tables of a test are so small that reading all of them would be right.
    "enable_seqscan = off",
)


def run_explained(database: Database, operation: Callable[[Connection], Any]) -> list[Node]:
    """Run an operation, and undo it; returns the nodes of the plans of its statements."""
    plans: list[Node] = []

    def note(notice: Any) -> None:
        head, _, plan = (notice.message_primary or "").partition("plan:\n")
        if head.startswith("duration"):
            plans.append(json.loads(plan)["Plan"])

    with database.engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text("load 'auto_explain'"))
        for setting in SETTINGS:
            connection.execute(text(f"set local {setting}"))
        driver: Any = connection.connection.driver_connection
        driver.add_notice_handler(note)
        operation(connection)
        # A plan is told when the next statement takes the place of its own.
        connection.execute(text("select 1"))
        driver.remove_notice_handler(note)
        transaction.rollback()
    # A statement that was explained, but not run, has no actual rows.
    nodes = [node for plan in plans for node in _walk(plan) if "Actual Rows" in node]
    assert nodes, "no plan was told"
    return nodes


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", ()):
        yield from _walk(child)


def rows_read(node: Node) -> float:
    """The rows that a node read to give what it gave."""
    dropped = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    return float((node["Actual Rows"] + dropped) * node["Actual Loops"])


def blocks_read(node: Node) -> int:
    """The blocks of tables and indexes that a node read, with those below it."""
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])
