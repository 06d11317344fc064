"""Made-up runs of the chaos suite and their rows, for the tests of its checker."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.chaos.checker import check
from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture
from tests.chaos.sent import Sent

Row = dict[str, Any]

START = datetime(2026, 1, 2, 9, 0, 30, tzinfo=UTC)


@dataclass
class MadeUpRun:
    """What was sent, and what is stored of it."""

    picture: Picture
    sent: Sent

    def findings(self) -> list[Finding]:
        return check(self.picture, self.sent, lambda *_: b"")

    def broken(self) -> set[Promise]:
        return {finding.promise for finding in self.findings()}

    def turn(self, number: int) -> Row:
        return self.picture.turns[id_of(number)]


def id_of(number: int) -> str:
    return str(UUID(int=number))


def ref_of(number: int) -> str:
    return f"FH-{number:05d}"


def thread(key: int, **more: Any) -> Row:
    return {
        "key": key, "id": f"thread-{key}", "lease_owner": None, "root_key": None, "shared_to_seq": None,
        "lineage": None, "branch_origin": None, "created_at": START, **more,
    }  # fmt: skip


def turn(number: int, key: int = 1, **more: Any) -> Row:
    """A turn that was sent so many minutes after the start, and answered half a minute later."""
    created_at = START + timedelta(minutes=number)
    return {
        "id": UUID(id_of(number)), "thread_key": key, "arrival_seq": number, "state": "completed", "agent": "desk",
        "error_kind": None, "error_message": None, "merged_into": None, "interrupted_by": None,
        "rolled_back": False, "when_busy": None, "parent_turn_id": None, "parent_call_id": None,
        "requeued_from": None, "schedule_id": None, "attempt": 1, "cancel_requested_at": None,
        "cancel_requested_by": None, "created_at": created_at,
        "finished_at": created_at + timedelta(seconds=30), **more,
    }  # fmt: skip


def said(key: int, seq: int, number: int, role: str, content: str = "", **more: Any) -> Row:
    return {
        "thread_key": key, "seq": seq, "id": f"m{key}-{seq}", "turn_id": UUID(id_of(number)), "role": role,
        "content": content, "tool_calls": None, "tool_call_id": None, "state": "complete", "rolled_back": False,
        **more,
    }  # fmt: skip


def call(call_id: str, name: str, ref: str) -> Row:
    return {"id": call_id, "name": name, "arguments": arguments_of(ref)}


def arguments_of(ref: str) -> str:
    return json.dumps({"ref": ref, "details": {}})


def step(number: int, index: int, name: str, state: str = "finished", **more: Any) -> Row:
    return {
        "turn_id": UUID(id_of(number)), "index": index, "kind": "tool", "name": name, "state": state,
        "call_id": f"c{index}", "parent": None, "agent": None, "result": {"content": "{}"},
        "started_at": START + timedelta(minutes=number, seconds=1), **more,
    }  # fmt: skip


def effect(number: int, index: int, tool: str, ref: str, **more: Any) -> Row:
    return {
        "idempotency_key": f"{id_of(number)}-{index}", "tool": tool, "turn_id": UUID(id_of(number)), "ref": ref,
        "repeatable": tool in ("cancel_order", "write_invoice"), "arguments": json.loads(arguments_of(ref)), **more,
    }  # fmt: skip


def pending(number: int, index: int, name: str, decision: str | None, value: Any = None, **more: Any) -> Row:
    """A call that waited, and what ada decided."""
    arguments, is_decided = arguments_of(ref_of(number)), decision not in (None, "closed")
    return {
        "turn_id": UUID(id_of(number)), "call_id": f"c{index}", "step_index": index, "kind": "approval", "name": name,
        "arguments": arguments, "arguments_digest": hashlib.sha256(f"{name}\n{arguments}".encode()).hexdigest(),
        "decision": decision, "value": {"value": value} if is_decided else None,
        "decided_by": "ada" if is_decided else None, "expires_at": START + timedelta(minutes=number), **more,
    }  # fmt: skip


def audited(number: int, index: int) -> Row:
    return {"details": {"turn": id_of(number), "call": f"c{index}"}}


def delivery(number: int, of: Row, kind: str | None = None) -> Row:
    """What a webhook is told of a turn."""
    return {
        "id": UUID(int=1000 + number), "thread_key": of["thread_key"], "turn_id": of["id"],
        "kind": kind or f"turn.{of['state']}", "state": "delivered",
    }  # fmt: skip
