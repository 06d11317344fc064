"""Tries of strangers: each operation of the gateway, asked with every id that one of another tenant or user has.

What stays true: an operation that the gateway has and that is not tried here fails the test; and each try is one that
succeeds for whom the ids belong to.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from conversation.ids import new_id

#: Words that stand in all that is theirs, and in no request.
SECRET = "their-secret-words"
#: The user whose threads are tried, in the tenant that they are tried in.
THEIRS, ANN = "theirs", "ann-who-owns"
#: Their threads: one that was answered, with a file, context and a summary; and one that waits.
ANSWERED, WAITING = "answered", "waiting"
CONTENT = f"{SECRET} in a file".encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of theirs that are made while they are stored."""

    answered_turn: str
    waiting_turn: str
    upload: str
    cursor: str
    webhook: str
    delivery: str
    schedule: str
    source: str
    #: The asker's own thread, and a token for its stream.
    mine: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Try:
    """One request."""

    #: The method and the path of the operation, as OpenAPI has it.
    operation: str
    #: The values of the path.
    path: dict[str, str] = field(default_factory=dict)
    #: The other arguments of the client's call.
    request: dict[str, Any] = field(default_factory=dict)
    #: Whoever may not see what it names is refused; else it is enough that nothing of theirs is shown or changed.
    is_refused: bool = True
    #: Also whom it belongs to is refused, in this way.
    fails_anyway: bool = False

    @property
    def method(self) -> str:
        return self.operation.partition(" ")[0]

    @property
    def url(self) -> str:
        return self.operation.partition(" ")[2].format(**self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.url} {self.request}"


def list_tries(ids: Ids) -> list[Try]:
    """All tries, those that destroy something last."""
    return [
        *_list_lists(ids),
        *_list_turns(ids),
        *_list_reads(ids),
        *_list_files(ids),
        *_list_writes(ids),
        *_list_webhooks(ids),
        *_list_inbound_sources(ids),
        *_list_schedules(ids),
        # Nobody has its secret.
        Try("POST /v1/inbound/{source_id}", {"source_id": ids.source}, {"json": {"id": 1}}, fails_anyway=True),
        Try("DELETE /v1/threads/{thread_id}", {"thread_id": WAITING}),
        Try("DELETE /v1/threads/{thread_id}", {"thread_id": ANSWERED}),
        # Their ids, given to something of one's own: of another tenant, that is allowed.
        *_list_namesakes(ids),
    ]


def _list_reads(ids: Ids) -> list[Try]:
    thread = {"thread_id": ANSWERED}
    main = thread | {"branch_id": "main"}
    now, by_token = {"params": {"wait": 0}}, {"params": {"wait": 0, "token": ids.token}}
    return [
        Try("GET /v1/threads/{thread_id}", thread),
        Try("GET /v1/threads/{thread_id}/messages", thread),
        Try("GET /v1/threads/{thread_id}/messages", thread, {"params": {"order": "desc", "limit": 1}}),
        Try("GET /v1/threads/{thread_id}/turns", thread),
        Try("GET /v1/threads/{thread_id}/context", thread),
        Try("GET /v1/threads/{thread_id}/summaries", thread),
        Try("GET /v1/threads/{thread_id}/events", thread, now),
        Try("GET /v1/threads/{thread_id}/events", thread, by_token, fails_anyway=True),
        Try("POST /v1/threads/{thread_id}/stream-tokens", thread),
        Try("GET /v1/threads/{thread_id}/messages", thread, {"params": {"branch": "main"}}),
        Try("GET /v1/threads/{thread_id}/events", thread, {"params": {"wait": 0, "branch": "main"}}),
        Try("GET /v1/threads/{thread_id}/branches", thread),
        Try("GET /v1/threads/{thread_id}/branches/{branch_id}/compare", main, {"params": {"with": "main"}}),
    ]


def _list_turns(ids: Ids) -> list[Try]:
    stream = {"headers": {"Accept": "text/event-stream"}}
    tries = [Try("GET /v1/turns/{turn_id}/events", {"turn_id": ids.answered_turn}, stream)]
    for turn_id in (ids.answered_turn, ids.waiting_turn):
        turn = {"turn_id": turn_id}
        tries += [
            Try("GET /v1/turns/{turn_id}", turn),
            Try("GET /v1/turns/{turn_id}/pending", turn),
            Try("GET /v1/turns/{turn_id}", turn, {"params": {"wait": 0.01}}),
            Try("GET /v1/turns/{turn_id}/events", turn, {"params": {"wait": 0}}),
        ]
    return tries


def _list_files(ids: Ids) -> list[Try]:
    upload = {"filename": "a.txt", "media_type": "text/plain", "size": len(CONTENT), "sha256": SHA256}
    attached = {"content": "see", "attachments": [{"sha256": SHA256}]}
    return [
        Try("GET /v1/threads/{thread_id}/files/{sha256}", {"thread_id": ANSWERED, "sha256": SHA256}),
        Try("GET /v1/threads/{thread_id}/files/{sha256}/thumbnail", {"thread_id": ANSWERED, "sha256": SHA256}),
        # Its bytes never came.
        Try("POST /v1/uploads/{upload_id}/complete", {"upload_id": ids.upload}, fails_anyway=True),
        # No client uploads to a folder.
        Try("POST /v1/uploads", request={"json": upload}, is_refused=False, fails_anyway=True),
        # Theirs, in a message of one's own. A user has to have sent a file to the thread, or uploaded it.
        Try("POST /v1/threads/{thread_id}/messages", {"thread_id": ids.mine}, {"json": attached}, fails_anyway=True),
        Try("POST /v1/files", request={"files": {"file": ("a.txt", b"other bytes", "text/plain")}}, is_refused=False),
    ]


def _list_lists(ids: Ids) -> list[Try]:
    queries: list[dict[str, Any]] = [
        {},
        {"user": ANN},
        {"q": "words"},
        {"q": "words", "user": ANN},
        {"title": "their-secret"},
        {"metadata": json.dumps({"number": 7})},
        {"cursor": ids.cursor},
        {"order": "updated"},
    ]
    return [
        *(Try("GET /v1/threads", request={"params": query}, is_refused=False) for query in queries),
        *(Try("GET /v1/usage", request={"params": {"by": by}}, is_refused=False) for by in ("day", "agent", "user")),
        Try("GET /v1/events", request={"params": {"wait": 0}}, is_refused=False),
        Try("GET /v1/pending", request={"params": {}}, is_refused=False),
        Try("GET /v1/pending", request={"params": {"user": ANN}}, is_refused=False),
        Try("GET /v1/events", request={"params": {"wait": 0, "user": ANN}}, is_refused=False),
    ]


def _list_writes(ids: Ids) -> list[Try]:
    thread = {"thread_id": ANSWERED}
    main = thread | {"branch_id": "main"}
    file = {"files": ("a.txt", b"a file", "text/plain")}
    key = {"Idempotency-Key": new_id()}
    send = "POST /v1/threads/{thread_id}/messages"
    return [
        Try("POST /v1/threads", request={"json": {"user": ANN}}, is_refused=False),
        Try("PATCH /v1/threads/{thread_id}", thread, {"json": {"title": "taken"}}),
        Try("PATCH /v1/threads/{thread_id}", thread, {"json": {"metadata": {"a": 1}}, "headers": {"If-Match": "*"}}),
        Try("POST /v1/threads/{thread_id}/fork", thread, {"json": {"id": new_id()}}),
        Try("POST /v1/threads/{thread_id}/branches", thread, {"json": {"name": "taken"}}),
        Try("PATCH /v1/threads/{thread_id}/branches/{branch_id}", main, {"json": {"name": "taken"}}),
        Try("POST /v1/threads/{thread_id}/branches/{branch_id}/choose", main),
        # A thread's first branch goes with it.
        Try("DELETE /v1/threads/{thread_id}/branches/{branch_id}", main, fails_anyway=True),
        Try("POST /v1/threads/{thread_id}/regenerate", thread, {"json": {}}),
        # Its message has another id.
        Try(
            f"{send}/{{message_id}}/edit",
            thread | {"message_id": "none"},
            {"json": {"content": "x"}},
            fails_anyway=True,
        ),
        Try(send, thread, {"json": {"content": "hello"}, "params": {"branch": "main"}}),
        Try(send, thread, {"json": {"content": "hello"}}),
        Try(send, thread, {"json": {"content": "hello"}, "headers": key}),
        Try(send, thread, {"data": {"content": "hello"}, "files": file}),
        Try("PUT /v1/threads/{thread_id}/context/{key}", thread | {"key": "role"}, {"json": {"content": "taken"}}),
        Try("DELETE /v1/threads/{thread_id}/context/{key}", thread | {"key": "role"}),
        Try("POST /v1/turns/{turn_id}/cancel", {"turn_id": ids.waiting_turn}),
        Try(
            "POST /v1/turns/{turn_id}/pending/{call_id}",
            {"turn_id": ids.waiting_turn, "call_id": "call-1"},
            {"json": {"decision": "approve"}},
            # It waits for a worker, and for no decision.
            fails_anyway=True,
        ),
        Try("POST /v1/turns/{turn_id}/requeue", {"turn_id": ids.waiting_turn}, {"json": {}}),
        Try("POST /v1/turns/{turn_id}/requeue", {"turn_id": ids.answered_turn}, {"json": {}}, is_refused=False),
    ]


def _list_webhooks(ids: Ids) -> list[Try]:
    webhook = {"webhook_id": ids.webhook}
    delivery = webhook | {"delivery_id": ids.delivery}
    # A webhook is no user's: whose ids these are is refused as well, by a key of theirs.
    return [
        Try("GET /v1/webhooks", is_refused=False),
        Try("POST /v1/webhooks", request={"json": {"url": "https://example.org/mine"}}, is_refused=False),
        Try("GET /v1/webhooks/{webhook_id}", webhook, fails_anyway=True),
        Try("PATCH /v1/webhooks/{webhook_id}", webhook, {"json": {"name": "taken"}}, fails_anyway=True),
        Try("POST /v1/webhooks/{webhook_id}/rotate-secret", webhook, {"json": {}}, fails_anyway=True),
        Try("GET /v1/webhooks/{webhook_id}/deliveries", webhook, fails_anyway=True),
        Try("POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay", delivery, fails_anyway=True),
        Try("POST /v1/webhooks/{webhook_id}/replay-dead", webhook, {"json": {}}, fails_anyway=True),
        Try("DELETE /v1/webhooks/{webhook_id}", webhook, fails_anyway=True),
    ]


def _list_inbound_sources(ids: Ids) -> list[Try]:
    source, one = {"source_id": ids.source}, "/v1/inbound-sources/{source_id}"
    mapping = {"thread_id": ANSWERED, "text": "x", "idempotency_key": "{/id}"}
    # As a webhook, it is no user's.
    return [
        Try("GET /v1/inbound-sources", is_refused=False),
        Try("POST /v1/inbound-sources", request={"json": {"name": "mine", "mapping": mapping}}, is_refused=False),
        Try(f"GET {one}", source, fails_anyway=True),
        Try(f"PATCH {one}", source, {"json": {"enabled": False}}, fails_anyway=True),
        Try(f"POST {one}/rotate-secret", source, {"json": {"grace_seconds": 0}}, fails_anyway=True),
        Try(f"DELETE {one}", source, fails_anyway=True),
    ]


def _list_schedules(ids: Ids) -> list[Try]:
    path, request = {"schedule_id": ids.schedule}, {"content": "hello", "cron": "@daily"}
    one = "/v1/schedules/{schedule_id}"
    return [
        Try(f"GET {one}", path),
        Try(f"GET {one}/turns", path),
        *(Try("GET /v1/schedules", request={"params": params}, is_refused=False) for params in (
            {}, {"user": ANN}, {"thread_id": ANSWERED}
        )),
        Try("POST /v1/schedules", request={"json": request | {"thread_id": ANSWERED}}, is_refused=False),
        Try("POST /v1/schedules", request={"json": request | {"thread_rule": "{date}", "user": ANN}}, is_refused=False),
        Try(f"PATCH {one}", path, {"json": {"content": "theirs"}}),
        *(Try(f"POST {one}/{verb}", path) for verb in ("pause", "run", "resume")),
        Try(f"DELETE {one}", path),
    ]  # fmt: skip


def _list_namesakes(ids: Ids) -> list[Try]:
    send = "POST /v1/threads/{thread_id}/messages"
    hello = {"json": {"content": "hello"}, "params": {"create": True}}
    return [
        Try("POST /v1/threads", request={"json": {"id": ANSWERED}}, is_refused=False),
        Try("POST /v1/threads/{thread_id}/fork", {"thread_id": ids.mine}, {"json": {"id": WAITING}}, is_refused=False),
        Try(send, {"thread_id": ANSWERED}, hello, is_refused=False),
        Try("GET /v1/threads", request={"params": {"q": "words"}}, is_refused=False),
    ]
