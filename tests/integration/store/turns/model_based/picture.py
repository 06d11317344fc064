"""All that is stored, in one value: as the tables have it, and as the model would.

What stays true: equal pictures mean that no promise about states, counters, leases, history or
journal can tell the two apart. Times are seconds of the model's clock.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import psycopg

from tests.integration.store.turns.model_based import children
from tests.integration.store.turns.model_based.reference import Mailbox
from tests.integration.store.turns.model_based.values import Decided, Thread, Turn

Picture = dict[str, Any]

_SECOND = "extract(epoch from {} - timestamptz '2030-01-01 00:00:00+00')::int"
_READ = f"""
WITH rows AS (
  -- A row that is nobody's is called by its place among those.
  SELECT *, CASE WHEN id NOT LIKE '/%' THEN id
    ELSE '/' || row_number() OVER (PARTITION BY id LIKE '/%' ORDER BY key) END AS name
  FROM threads)
SELECT jsonb_build_object(
  'threads', (SELECT jsonb_object_agg(name, jsonb_build_array(
                lease_owner, fencing_token, last_seq, uncovered_messages, agent,
                (SELECT jsonb_agg(jsonb_build_array(source.name, part -> 1) ORDER BY place)
                 FROM jsonb_array_elements(r.lineage) WITH ORDINALITY AS parts(part, place)
                 JOIN rows source ON source.key = (part ->> 0)::bigint),
                (SELECT name FROM rows s WHERE s.key = r.parent_key), coalesce(shared_to_seq, 0),
                (SELECT name FROM rows s WHERE s.key = r.root_key), branch_origin, branch_name,
                (SELECT name FROM rows s WHERE s.key = r.chosen_key), deleted_at IS NOT NULL,
                EXISTS (SELECT FROM pending_deletions p WHERE p.thread_key = r.key), r.owner))
              FROM rows r),
  'turns', (SELECT jsonb_agg(jsonb_build_array(
                u.id, h.name, u.state, u.attempt, u.retries, u.crashes, u.crashed_worker, u.interruptions,
                u.local_process_id,
                {_SECOND.format("u.not_before")}, {_SECOND.format("u.deadline")},
                {_SECOND.format("u.retry_at")}, {_SECOND.format("u.notified_at")},
                u.cancel_requested_at IS NOT NULL, u.error_kind, u.window_to_seq, u.requeued_from,
                u.started_at IS NOT NULL, u.finished_at IS NOT NULL,
                u.when_busy, u.steers, u.merged_into, u.interrupted_by, u.rolled_back,
                {_SECOND.format("u.wait_expires_at")}, u.sender) ORDER BY u.arrival_seq)
            FROM turns u JOIN rows h ON h.key = u.thread_key),
  'inbox', (SELECT jsonb_agg(jsonb_build_array(turn_id, content) ORDER BY turn_id, index)
            FROM inbox_messages),
  'history', (SELECT jsonb_agg(jsonb_build_array(h.name, m.seq, m.turn_id, m.content, m.rolled_back)
                     ORDER BY h.name COLLATE "C", m.seq)
              FROM messages m JOIN rows h ON h.key = m.thread_key),
  'steps', (SELECT jsonb_agg(jsonb_build_array(turn_id, index, state, fencing_token, finished_at IS NOT NULL,
                   CASE WHEN kind = 'input' THEN name END)
                   ORDER BY turn_id, index) FROM steps),
  'pending', (SELECT jsonb_agg(jsonb_build_array(turn_id, call_id, kind,
                     {_SECOND.format("requested_at")}, {_SECOND.format("expires_at")},
                     decision, value -> 'value', reason, decided_by) ORDER BY turn_id, call_id) FROM pending_calls),
  'children', (SELECT jsonb_agg(jsonb_build_array(u.id, parent_turn_id, parent_call_id, begun_in, ancestors)
                                 ORDER BY u.id)
               FROM turns u JOIN threads h ON h.key = u.thread_key WHERE parent_turn_id IS NOT NULL),
  'events', (SELECT jsonb_agg(jsonb_build_array(turn_id, kinds) ORDER BY turn_id) FROM (
               SELECT turn_id, jsonb_agg(kind ORDER BY key) AS kinds FROM webhook_deliveries
               WHERE turn_id IS NOT NULL GROUP BY turn_id) AS told),
  'workers', (SELECT jsonb_object_agg(id, {_SECOND.format("lease_expires_at")}) FROM workers)
)"""


def of_store(connection: psycopg.Connection) -> Picture:
    """What the tables hold now."""
    (found,) = connection.execute(_READ).fetchone() or ({},)
    return {name: rows or _EMPTY[name] for name, rows in found.items()}


_EMPTY: Picture = {"threads": {}, "workers": {}} | {
    name: [] for name in ("turns", "inbox", "history", "steps", "pending", "children", "events")
}


def of_model(mailbox: Mailbox) -> Picture:
    """What they should hold."""
    names = _names(mailbox)
    turns = sorted(mailbox.turns.values(), key=lambda turn: turn.position)
    by_id = sorted(turns, key=lambda turn: turn.id)
    return {
        "threads": {names[name]: _thread(thread, names) for name, thread in mailbox.threads.items()},
        "turns": [_row(turn, names) for turn in turns],
        "inbox": [[turn.id, content] for turn in by_id for content in turn.inbox],
        "history": [
            [names[name], seq, line.turn, line.text, line.rolled_back]
            for name, thread in sorted(mailbox.threads.items(), key=lambda item: names[item[0]])
            for seq, line in enumerate(thread.history, start=thread.shared_to + 1)
            if not line.is_gone
        ],
        "steps": [
            [turn.id, index, one.state, one.fence, not one.is_open, one.told.turn if one.told else None]
            for turn in by_id
            for index, one in sorted(turn.steps.items())
        ],
        "pending": [
            [turn.id, name, call.kind, call.asked_at, call.over_at, *_decided(call.decided)]
            for turn in by_id
            for name, call in sorted(turn.calls.items())
        ],
        "children": children.pictured(mailbox),
        "events": [[turn.id, turn.events] for turn in by_id if turn.events],
        "workers": dict(mailbox.workers),
    }


def _decided(decided: Decided | None) -> tuple[str | None, ...]:
    return (None,) * 4 if decided is None else (decided.kind, decided.value, decided.reason, decided.by)


def _names(mailbox: Mailbox) -> dict[str, str]:
    """What each row is called here: one that is nobody's, by its place among those."""
    nobodys = sorted((row.number, name) for name, row in mailbox.threads.items() if name.startswith("/"))
    return {name: name for name in mailbox.threads} | {
        name: f"/{place}" for place, (_, name) in enumerate(nobodys, start=1)
    }


def _thread(row: Thread, names: dict[str, str]) -> list[Any]:
    shared = [[names[source], to_seq] for source, to_seq in row.shared]
    root, chosen = (None if one is None else names[one] for one in (row.root, row.chosen))
    return [
        row.owner, row.fence, row.last_seq, 0 if row.is_deleted else row.last_seq, row.agent,
        shared or None, shared[-1][0] if shared else None, row.shared_to,
        root, row.origin, row.title, chosen, row.is_deleted, row.is_pending, row.user,
    ]  # fmt: skip


def _row(turn: Turn, names: dict[str, str]) -> list[Any]:
    return [
        turn.id, names[turn.thread], turn.state, turn.attempt, turn.retries, turn.crashes, turn.crashed_worker,
        turn.interruptions, turn.runner, turn.not_before, turn.deadline, turn.retry_at, turn.notified_at,
        turn.cancel_asked, turn.error, turn.window, turn.requeued_from, turn.has_begun, turn.is_final,
        turn.when_busy, turn.steers, turn.merged_into, turn.interrupted_by, turn.rolled_back, turn.wait_over_at,
        turn.sender,
    ]  # fmt: skip


def check_by_itself(picture: Picture) -> None:
    """What holds of the tables whatever the model says: it might have the same mistake."""
    running = [(thread, turn) for turn, thread, state, *_ in picture["turns"] if state == "running"]
    threads = [thread for thread, _ in running]
    assert len(threads) == len(set(threads)), "two turns of a thread run at once"
    assert all(picture["threads"][thread][0] for thread in threads), "a turn runs without a lease"
    assert all(crashes >= 0 for *_, crashes in (row[:6] for row in picture["turns"]))
    waiting = {row[0]: row[1] for row in picture["turns"] if row[2] == "waiting"}
    assert not any(picture["threads"][thread][0] for thread in waiting.values()), "a turn that waits holds a lease"
    undecided = {turn for turn, *_, decision, _value, _reason, _by in picture["pending"] if decision is None}
    assert undecided >= set(waiting), "a turn waits for nothing"
    answering = {row[0]: row[21] or row[0] for row in picture["turns"]}
    for thread, rows in groupby(picture["history"], key=lambda row: row[0]):
        said = list(rows)
        _, _, last_seq, *_, shared_to, _root, _origin, _title, _chosen, is_deleted, _pending, _user = picture[
            "threads"
        ][thread]
        has_gap = [row[1] for row in said] != list(range(shared_to + 1, last_seq + 1))
        assert is_deleted or not has_gap, "a gap"
        assert _is_in_blocks(answering.get(row[2], row[2]) for row in said), "a turn stands in two places"


def _is_in_blocks(turns: Iterable[str]) -> bool:
    """Each turn's messages stand together: the questions that it answers, what it was told, and its replies."""
    blocks = [turn for turn, _ in groupby(turns)]
    return len(blocks) == len(set(blocks))
