"""Sending by the function `send_turn_v1`: a request as its arguments, its value as an answer."""

import json
from collections.abc import Mapping
from typing import Any

from conversation.branch_address import split_address
from conversation.message import Message
from store.database.function_calls import FunctionCall
from store.threads.branch_rows import branch_not_found
from store.turns.send_refusals import changes_too_fast, idempotency_conflict, limit_reached, thread_busy, unknown_agent
from store.turns.send_request import AcceptedTurn, SendLimits, SendRequest


def call_of(request: SendRequest, limits: SendLimits, *, mark_notified: bool) -> FunctionCall:
    """The call that accepts a request."""
    thread_id, branch = split_address(request.thread_id)
    arguments = {
        "turn_id": request.turn_id,
        "tenant": request.tenant,
        "thread_id": thread_id,
        "agent": request.agent,
        **_message_arguments(request.message),
        "metadata": json.dumps(request.metadata),
        "user": request.user,
        "priority": request.priority,
        "not_before": request.not_before,
        "deadline": request.deadline,
        "local_process_id": request.local_process_id,
        "schedule_id": request.schedule_id,
        "idempotency_key": request.idempotency_key,
        "request_digest": request.digest(),
        "agent_is_default": request.is_agent_default,
        "allow_unknown_agent": request.allow_unknown_agent,
        "max_unfinished_turns": limits.tenant_max_unfinished_turns,
        "mark_notified": mark_notified,
        "when_busy": request.when_busy,
        "default_when_busy": request.default_when_busy,
        "merge_window": request.merge_window_seconds,
        "branch": branch,
    }
    return FunctionCall("send_turn_v1", arguments)


def _message_arguments(message: Message | None) -> dict[str, Any]:
    """The arguments that `store.history.message_rows.shared_columns` are columns of; without a message, nulls."""
    if message is None:
        return _NO_MESSAGE
    return {
        "message_id": message.id,
        "role": message.role,
        "content": message.content,
        "message_created_at": message.created_at,
        "message_metadata": json.dumps(message.metadata),
        "parts": json.dumps([part.to_json() for part in message.parts]) if message.parts else None,
        "name": message.name,
        "source": None if message.source is None else json.dumps(message.source),
        "has_attachments": bool(message.attachments),
    }


_NO_MESSAGE: dict[str, Any] = dict.fromkeys(
    (
        *("message_id", "role", "content", "message_created_at", "message_metadata", "parts", "name", "source"),
        "has_attachments",
    )
)


def read_outcome(outcome: Mapping[str, Any], request: SendRequest, limits: SendLimits) -> AcceptedTurn:
    """The turn that a call accepted. Raises what it refused."""
    match outcome.get("refusal"):
        case None:
            return AcceptedTurn(
                outcome["turn_id"],
                outcome["address"],
                is_new=outcome["is_new"],
                thread_key=outcome.get("thread_key"),
                needs_wake_up=outcome["needs_wake_up"],
                interrupts=outcome.get("interrupts"),
            )
        case "idempotency_conflict":
            raise idempotency_conflict(request)
        case "limit_reached":
            raise limit_reached(request, limits)
        case "unknown_agent":
            raise unknown_agent(outcome["agent"], outcome["known_agents"])
        case "unknown_branch":
            raise branch_not_found(request.tenant, request.thread_id)
        case "thread_busy":
            raise thread_busy(request, outcome["turn_id"])
        case _:
            raise changes_too_fast(request)
