"""Calls that were decided after their turn had gone on without them: each is taken up by a turn of its own.

What stays true: the new turn begins with the very call that was decided on, as its journal says: nobody is asked
for it again, and it runs once. It comes behind whatever is queued on its thread, and answers as its turn would have.
"""

from typing import Any

from sqlalchemy import Connection, insert

from conversation.ids import new_id
from conversation.message import Usage
from conversation.pending_call import PendingCall, digest_of
from conversation.task_contract import WakeUp
from store import slack_messages
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.tables import pending_calls, steps, turns

#: The steps of the new turn's journal: a reply that asks for the call, and the call.
REPLY_INDEX, CALL_INDEX = 0, 1


def take_up(connection: Connection, turn: AnyRow, call: PendingCall) -> WakeUp:
    """Queue a turn that goes on with a call that was decided; returns its wake-up."""
    turn_id = new_id()
    connection.execute(
        insert(turns).values(
            id=turn_id,
            thread_key=turn.thread_key,
            tenant=turn.tenant,
            state="queued",
            agent=turn.agent,
            priority=turn.priority,
            metadata=turn.metadata,
            sender=turn.sender,
            requeued_from=turn.id,
            created_at=clock(),
            notified_at=clock(),
        )
    )
    model_call_id = f"{call.call_id}-{turn_id[-4:]}"
    asked = {"tool_calls": [{"id": model_call_id, "name": call.name, "arguments": call.arguments}]}
    for step in (_reply_step(turn_id, asked), _call_step(turn_id, call, model_call_id)):
        connection.execute(insert(steps).values(step))
    connection.execute(insert(pending_calls).values(_call_row(turn_id, call)))
    slack_messages.follow(connection, turn.tenant, turn.id, turn_id)
    return WakeUp(tenant=turn.tenant, thread_id=turn.thread_id, turn_id=turn_id, priority=turn.priority)


def _reply_step(turn_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "turn_id": turn_id,
        "index": REPLY_INDEX,
        "kind": "model",
        "call_id": "",
        "name": "",
        "state": "finished",
        # Before any claim.
        "fencing_token": 0,
        # No model was asked.
        "request_digest": "",
        "result": asked,
        "usage": Usage().to_row(),
        "cost": 0,
        "started_at": clock(),
        "finished_at": clock(),
    }


def _call_step(turn_id: str, call: PendingCall, model_call_id: str) -> dict[str, Any]:
    return {
        "turn_id": turn_id,
        "index": CALL_INDEX,
        "kind": "tool",
        "call_id": model_call_id,
        "name": call.name,
        "state": "waiting",
        "fencing_token": 0,
        "request_digest": digest_of(call.name, call.arguments),
        "result": None,
        "usage": None,
        "cost": None,
        "started_at": clock(),
        "finished_at": None,
    }


def _call_row(turn_id: str, call: PendingCall) -> dict[str, Any]:
    assert call.decision is not None
    return {
        "turn_id": turn_id,
        "call_id": call.call_id,
        "tenant": call.tenant,
        "step_index": CALL_INDEX,
        "kind": call.kind.value,
        "name": call.name,
        "arguments": call.arguments,
        "arguments_digest": call.arguments_digest,
        "question": call.question,
        "choices": call.choices,
        "schema": call.schema,
        "requested_at": call.requested_at,
        "expires_at": call.expires_at,
        "decision": call.decision.kind.value,
        "decided_by": call.decided_by,
        "decided_at": call.decided_at,
        "value": {"value": call.decision.value},
        "reason": call.decision.reason,
    }
