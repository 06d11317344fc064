"""A client of the HTTP gateway that is killed under it.

What stays true: an answer that says nothing of the request, or none at all, is `GatewayAway`: ask again, in the same
words; any other refusal is the error that a caller in Python would get.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx

from conversation.errors import AlreadyDecided, BranchInUse, DigestMismatch, MessageNotFound, ThreadBusy
from tests.chaos.tickets import Ticket

#: The name under which an open gateway decides.
NAME = "open"
#: Seconds that an answer may take: the database may be away meanwhile.
TIMEOUT_SECONDS = 30.0
#: Statuses after which the same request is sent again.
AGAIN = (429, 502, 503, 504)
_ERRORS: dict[str, Callable[[str], Exception]] = {
    "thread-busy": partial(ThreadBusy, "its thread"),
    "branch-in-use": BranchInUse,
    "message-not-found": MessageNotFound,
    "already-decided": AlreadyDecided,
    "digest-mismatch": DigestMismatch,
}


class GatewayAway(Exception):
    """Nobody answered, or nobody knows what became of the request."""


class GatewayClient:
    """One gateway."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def send(self, thread: str, ticket: Ticket) -> str:
        """Send a ticket; the id of its turn."""
        body = {
            "content": ticket.text,
            **({} if ticket.agent is None else {"agent": ticket.agent}),
            "when_busy": ticket.when_busy,
            "merge_window": ticket.merge_window,
        }
        answer = self._post(f"/v1/threads/{thread}/messages", body, key=ticket.ref, create="true")
        return str(answer["turn"]["id"])

    def regenerate(self, ticket: Ticket) -> str:
        """Ask for another answer; the id of its turn."""
        answer = self._post(f"/v1/threads/{ticket.thread}/regenerate", {}, key=ticket.ref)
        return str(answer["turn"]["id"])

    def cancel(self, turn_id: str) -> str:
        """Ask a turn to stop; the state that it is in now."""
        return str(self._post(f"/v1/turns/{turn_id}/cancel", {})["turn"]["state"])

    def decide(self, turn_id: str, call_id: str, decision: dict[str, Any]) -> None:
        """Decide a pending call."""
        self._post(f"/v1/turns/{turn_id}/pending/{call_id}", decision)

    def _post(self, path: str, body: dict[str, Any], *, key: str | None = None, **query: str) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        try:
            response = self._client.post(path, json=body, params=query, headers=headers)
        except httpx.TransportError as error:
            raise GatewayAway(type(error).__name__) from None
        if response.status_code in AGAIN:
            raise GatewayAway(str(response.status_code))
        if response.is_success:
            return response.json()
        problem = response.json()
        slug = str(problem.get("type")).rpartition(":")[2]
        if slug in _ERRORS:
            raise _ERRORS[slug](str(problem.get("detail")))
        raise AssertionError(f"{path}: {response.status_code} {problem}")
