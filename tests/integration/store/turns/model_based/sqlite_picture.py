"""All that is stored in a file of SQLite, as `picture` has it."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from tests.integration.store.turns.model_based.conversions import ZERO
from tests.integration.store.turns.model_based.picture import Picture

_TURNS = """
SELECT id, thread_key, state, attempt, retries, crashes, crashed_worker, interruptions, local_process_id,
    not_before, deadline, retry_at, notified_at, cancel_requested_at, error_kind, window_to_seq, requeued_from,
    started_at, finished_at, when_busy, steers, merged_into, interrupted_by, rolled_back, wait_expires_at, sender
FROM turns ORDER BY arrival_seq"""


def of_file(connection: sqlite3.Connection) -> Picture:
    """What the tables hold now."""
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT key, id FROM threads ORDER BY key").fetchall()
    nobodys = [row["key"] for row in rows if row["id"].startswith("/")]
    names = {row["key"]: row["id"] for row in rows}
    names |= {key: f"/{place}" for place, key in enumerate(nobodys, start=1)}
    return {
        "threads": dict(_threads(connection, names)),
        "turns": [_turn(row, names) for row in connection.execute(_TURNS)],
        "inbox": [
            [_id(turn), content]
            for turn, content in connection.execute(
                'SELECT turn_id, content FROM inbox_messages ORDER BY turn_id, "index"'
            )
        ],
        "history": sorted(
            [names[key], seq, _id(turn), content, bool(rolled_back)]
            for key, seq, turn, content, rolled_back in connection.execute(
                "SELECT thread_key, seq, turn_id, content, rolled_back FROM messages"
            )
        ),
        "steps": [
            [_id(turn), index, state, fence, finished is not None, name if kind == "input" else None]
            for turn, index, state, fence, finished, kind, name in connection.execute(
                'SELECT turn_id, "index", state, fencing_token, finished_at, kind, name FROM steps ORDER BY 1, 2'
            )
        ],
        "pending": list(_pending(connection)),
        "children": [
            [_id(turn), _id(parent), call, begun_in, ancestors]
            for turn, parent, call, begun_in, ancestors in connection.execute(
                "SELECT turns.id, parent_turn_id, parent_call_id, begun_in, ancestors FROM turns "
                "JOIN threads ON threads.key = turns.thread_key WHERE parent_turn_id IS NOT NULL ORDER BY turns.id"
            )
        ],
        "events": list(_events(connection)),
        "workers": {
            _id(worker): _second(until)
            for worker, until in connection.execute("SELECT id, lease_expires_at FROM workers")
        },
    }


def _threads(connection: sqlite3.Connection, names: dict[int, str]) -> Iterator[tuple[str, list[Any]]]:
    pending = {key for (key,) in connection.execute("SELECT thread_key FROM pending_deletions")}
    for row in connection.execute("SELECT * FROM threads"):
        lineage = json.loads(row["lineage"] or "null") or []
        yield names[row["key"]], [
            _id(row["lease_owner"]), row["fencing_token"], row["last_seq"], row["uncovered_messages"], row["agent"],
            [[names[key], to_seq] for key, to_seq, _ in lineage] or None,
            names.get(row["parent_key"]), row["shared_to_seq"] or 0, names.get(row["root_key"]),
            row["branch_origin"], row["branch_name"], names.get(row["chosen_key"]),
            row["deleted_at"] is not None, row["key"] in pending, row["owner"],
        ]  # fmt: skip


def _turn(row: sqlite3.Row, names: dict[int, str]) -> list[Any]:
    return [
        _id(row["id"]), names[row["thread_key"]], row["state"], row["attempt"], row["retries"], row["crashes"],
        _id(row["crashed_worker"]), row["interruptions"], _id(row["local_process_id"]),
        *(_second(row[name]) for name in ("not_before", "deadline", "retry_at", "notified_at")),
        row["cancel_requested_at"] is not None, row["error_kind"], row["window_to_seq"], _id(row["requeued_from"]),
        row["started_at"] is not None, row["finished_at"] is not None, row["when_busy"],
        *(_id(row[name]) for name in ("steers", "merged_into", "interrupted_by")),
        bool(row["rolled_back"]), _second(row["wait_expires_at"]), row["sender"],
    ]  # fmt: skip


def _pending(connection: sqlite3.Connection) -> Iterator[list[Any]]:
    for row in connection.execute("SELECT * FROM pending_calls ORDER BY turn_id, call_id"):
        value = json.loads(row["value"] or "{}").get("value")
        asked, over = _second(row["requested_at"]), _second(row["expires_at"])
        decided = row["decision"], value, row["reason"], row["decided_by"]
        yield [_id(row["turn_id"]), row["call_id"], row["kind"], asked, over, *decided]


def _events(connection: sqlite3.Connection) -> Iterator[list[Any]]:
    told = "SELECT turn_id, kind FROM webhook_deliveries WHERE turn_id IS NOT NULL ORDER BY turn_id, key"
    for turn, rows in groupby(connection.execute(told).fetchall(), key=lambda row: row["turn_id"]):
        yield [_id(turn), [row["kind"] for row in rows]]


def _id(text: str | None) -> str | None:
    return None if text is None else str(UUID(text))


def _second(text: str | None) -> int | None:
    return None if text is None else int((datetime.fromisoformat(text).replace(tzinfo=UTC) - ZERO).total_seconds())
