"""Every route of the resources: how it is asked, what it needs, and what of a request it refuses."""

from dataclasses import dataclass, field
from typing import Any

from conversation.ids import new_id
from conversation.message import Message
from conversation.pending_call import PendingKind, PendingRequest
from conversation.summary import NewSummary
from conversation.turn import Cancelled, Waiting
from conversation.water_marks import WaterMarks
from store.summaries import repository
from tests.integration.producers.http.site import PNG, SHA256, UPLOAD, Site

FORM = {"file": ("dot.png", PNG, "image/png")}
LONG = "x" * 256
SCHEDULE = {"content": "late?", "cron": "0 9 * * *", "thread_rule": "report-{date}"}


@dataclass(frozen=True)
class World:
    """A thread of Ada's in which all there is to ask for is there."""

    thread: str
    #: The oldest turn is over, the next one was cancelled, the newest waits.
    turn: str
    cancelled: str
    waiting: str
    #: The turn of another thread of hers that waits for the approval of a call.
    undecided: str
    #: Another thread of hers: its question, answered, and a branch of it, which is chosen.
    answered: str
    message: str
    branch: str
    upload: str = ""
    schedule: str = ""
    sha256: str = SHA256
    key: str = "place"
    call: str = "call-1"


def make_world(site: Site, *, messages: int = 0) -> World:
    """Make such a thread, with so many messages before."""
    thread = f"thread-{new_id()}"
    site.make_thread("ada", thread, title="Parcel", metadata={"plan": "pro"})
    earlier = [Message(role="user", content=f"earlier {index}") for index in range(messages)]
    site.append(thread, earlier)
    path = f"/threads/{thread}/messages"
    answer = site.ask("ada", "POST", path, data={"content": "see this"}, files={"files": FORM["file"]})
    turn = answer.json()["turn"]["id"]
    site.answer(thread)
    site.ask("ada", "PUT", f"/threads/{thread}/context/place", json={"content": "Lisbon"})
    cancelled = site.send("ada", thread, "stop that")["id"]
    site.settle(site.claim(thread), Cancelled())
    draft = site.database.run(
        repository.load_draft,
        "acme",
        thread,
        marks=WaterMarks(high_messages=2, high_tokens=0, low_messages=1, low_tokens=0),
    )
    assert draft is not None
    site.database.run(repository.put, draft, NewSummary(content="They talked.", model="m"))
    schedule = site.ask("ada", "POST", "/schedules", json=SCHEDULE).json()["id"]
    return World(
        thread,
        turn,
        cancelled,
        waiting=site.send("ada", thread, "and this?")["id"],
        undecided=make_undecided(site),
        **make_answered(site, messages=messages),
        upload=new_id(),
        schedule=schedule,
    )


def make_answered(site: Site, *, messages: int) -> dict[str, str]:
    """Make a thread of Ada's whose last question is answered, with a branch; returns the ids of the world's fields."""
    thread = site.make_thread("ada")["id"]
    site.append(thread, [Message(role="user", content=f"earlier {index}") for index in range(messages)])
    site.send("ada", thread, "how late is it?")
    site.answer(thread)
    listed = site.ask("ada", "GET", f"/threads/{thread}/messages", params={"order": "desc"}).json()["messages"]
    branch = site.ask("ada", "POST", f"/threads/{thread}/branches", json={"name": "other"}).json()["id"]
    site.ask("ada", "POST", f"/threads/{thread}/branches/{branch}/choose")
    return {"answered": thread, "message": listed[1]["id"], "branch": branch}


def make_undecided(site: Site, kind: PendingKind = PendingKind.APPROVAL, **options: Any) -> str:
    """Make a turn in a thread of Ada's that waits for a decision on one call; returns its id."""
    thread = site.make_thread("ada")["id"]
    turn: str = site.send("ada", thread, "money back")["id"]
    request = PendingRequest(
        call_id="call-1", step_index=1, kind=kind, name="refund", arguments='{"amount": 20}', **options
    )
    site.settle(site.claim(thread), Waiting(pending=(request,)))
    return turn


@dataclass(frozen=True)
class Route:
    """One route, asked as it should be."""

    method: str
    path: str
    status: int
    scope: str
    options: dict[str, Any] = field(default_factory=dict)
    #: Requests that it refuses, each by the field that it names: other paths or options.
    refused: dict[str, Any] = field(default_factory=dict)
    #: Statements of one request, BEGIN and COMMIT not counted.
    statements: int = 0

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


ROUTES = [
    Route(
        "POST",
        "/threads",
        201,
        "write",
        {"json": {"title": "New"}},
        {
            "id": {"json": {"id": "a b"}},
            "title": {"json": {"title": "x" * 501}},
            "metadata": {"json": {"metadata": {"a": "\0"}}},
            "user": {"json": {"user": "bob"}},
            "metadata.user": {"json": {"metadata": {"user": "bob"}}},
            "tenant": {"json": {"tenant": "rival"}},
            "colour": {"params": {"colour": "red"}, "json": {}},
        },
        statements=2,
    ),
    Route(
        "GET",
        "/threads",
        200,
        "read",
        {},
        {
            "limit": {"params": {"limit": 0}},
            "cursor": {"params": {"cursor": "nonsense"}},
            "order": {"params": {"order": "size"}},
            "user": {"params": {"user": "bob"}},
            "title": {"params": {"title": "x" * 501}},
            "metadata": {"params": {"metadata": "[1]"}},
            "q": {"params": {"q": "-"}},
            "titel": {"params": {"titel": "x"}},
        },
        statements=2,
    ),
    Route("GET", "/threads/{thread}", 200, "read", {}, {"thread_id": "/threads/a%20b"}, statements=1),
    Route(
        "PATCH",
        "/threads/{thread}",
        200,
        "write",
        {"json": {"title": "Other", "metadata": {"plan": None}}},
        {
            "title": {"json": {"title": 5}},
            "metadata": {"json": {"metadata": "pro"}},
            "metadata.user": {"json": {"metadata": {"user": "bob"}}},
            "user": {"json": {"user": "bob"}},
        },
        statements=3,
    ),
    Route(
        "POST",
        "/threads/{thread}/fork",
        201,
        "write",
        {"json": {}},
        {"id": {"json": {"id": LONG}}, "at": {"json": {"at": 10**30}}, "user": {"json": {"user": "bob"}}},
        statements=7,
    ),
    Route(
        "GET",
        "/threads/{thread}/messages",
        200,
        "read",
        {"params": {"order": "desc"}},
        {
            "limit": {"params": {"limit": 1000}},
            "cursor": {"params": {"cursor": "WyJ4Il0"}},
            "order": {"params": {"order": "up"}},
            "thread_id": "/threads/a%01/messages",
        },
        statements=8,
    ),
    Route(
        "POST",
        "/threads/{thread}/messages",
        202,
        "write",
        {"json": {"content": "hello"}},
        {
            "content": {"json": {"content": " "}},
            "content.0.text": {"json": {"content": [{"type": "text", "text": 5}]}},
            "content.0": {"json": {"content": [{"text": "x"}]}},
            "attachments.0.sha256": {"json": {"content": "x", "attachments": [{"filename": "x"}]}},
            "attachments.sha256": {"json": {"content": "x", "attachments": [{"sha256": "0" * 64}]}},
            "agent": {"json": {"content": "x", "agent": "a b"}},
            "metadata": {"json": {"content": "x", "metadata": []}},
            "metadata.user": {"json": {"content": "x", "metadata": {"user": "bob"}}},
            "user": {"json": {"content": "x", "user": "bob"}},
            "priority": {"json": {"content": "x", "priority": 10}},
            "not_before": {"json": {"content": "x", "not_before": 5}},
            "deadline": {"json": {"content": "x", "deadline": "2030-01-01T00:00:00"}},
            "role": {"json": {"content": "x", "role": "system"}},
            "thread_id": "/threads/a%20b/messages",
        },
        statements=3,
    ),
    Route(
        "GET",
        "/threads/{thread}/turns",
        200,
        "read",
        {},
        {"limit": {"params": {"limit": "many"}}, "cursor": {"params": {"cursor": "%00"}}},
        statements=2,
    ),
    Route("GET", "/turns/{turn}", 200, "read", {}, {"wait": {"params": {"wait": 61}}}, statements=2),
    Route("POST", "/turns/{waiting}/cancel", 202, "write", {}, {"by": {"params": {"by": "me"}}}, statements=8),
    Route(
        "GET",
        "/pending",
        200,
        "read",
        {},
        {"limit": {"params": {"limit": 0}}, "cursor": {"params": {"cursor": "%00"}}, "user": {"params": {"user": ""}}},
        statements=1,
    ),
    Route("GET", "/turns/{undecided}/pending", 200, "read", {}, {"x": {"params": {"x": 1}}}, statements=3),
    Route(
        "POST",
        "/turns/{undecided}/pending/{call}",
        200,
        "write",
        {"json": {"decision": "approve"}},
        {
            "decision": {"json": {"decision": "closed"}},
            "digest": {"json": {"decision": "approve", "digest": "0"}},
            "reason": {"json": {"decision": "deny", "reason": "x" * 5000}},
            "arguments": {"json": {"decision": "edit"}},
            "by": {"json": {"decision": "approve", "by": "me"}},
        },
        statements=11,
    ),
    Route(
        "POST",
        "/turns/{cancelled}/requeue",
        202,
        "operate",
        {"json": {}},
        {"agent": {"json": {"agent": 5}}, "by": {"json": {"by": "me"}}},
        statements=11,
    ),
    Route(
        "POST",
        "/uploads",
        201,
        "write",
        {"json": UPLOAD},
        {
            "size": {"json": UPLOAD | {"size": 0}},
            "media_type": {"json": UPLOAD | {"media_type": "png"}},
            "sha256": {"json": UPLOAD | {"sha256": "0"}},
            "filename": {"json": UPLOAD | {"filename": ["x"]}},
            "user": {"json": UPLOAD | {"user": "ada"}},
        },
        statements=1,
    ),
    Route("POST", "/uploads/{upload}/complete", 200, "write", {}, {"x": {"params": {"x": 1}}}, statements=4),
    Route(
        "POST",
        "/files",
        201,
        "write",
        {"files": FORM},
        {"file": {"files": {"file": (None, "text")}}, "other": {"files": FORM | {"other": (None, "text")}}},
        statements=3,
    ),
    Route(
        "GET",
        "/threads/{thread}/files/{sha256}",
        200,
        "read",
        {},
        {"sha256": "/threads/{thread}/files/" + "A" * 64},
        statements=3,
    ),
    Route(
        "GET",
        "/threads/{thread}/files/{sha256}/thumbnail",
        404,
        "read",
        {},
        {"sha256": "/threads/{thread}/files/0/thumbnail"},
        statements=4,
    ),
    Route("GET", "/threads/{thread}/context", 200, "read", {}, {"key": {"params": {"key": "x"}}}, statements=2),
    Route(
        "PUT",
        "/threads/{thread}/context/{key}",
        200,
        "write",
        {"json": {"content": "Porto"}},
        {"content": {"json": {"content": None}}, "key": "/threads/{thread}/context/leading:x"},
        statements=5,
    ),
    Route(
        "DELETE",
        "/threads/{thread}/context/{key}",
        204,
        "write",
        {},
        {"key": "/threads/{thread}/context/a%20b"},
        statements=3,
    ),
    Route("GET", "/threads/{thread}/summaries", 200, "read", {}, {"limit": {"params": {"limit": 1}}}, statements=2),
    Route(
        "GET",
        "/usage",
        200,
        "read",
        {},
        {
            "since": {"params": {"since": "yesterday"}},
            "until": {"params": {"until": "2030-01-01T00:00:00"}},
            "by": {"params": {"by": "model"}},
        },
        statements=2,
    ),
    Route(
        "POST",
        "/schedules",
        201,
        "write",
        {"json": SCHEDULE},
        {
            "content": {"json": SCHEDULE | {"content": ""}},
            "cron": {"json": SCHEDULE | {"cron": "never"}},
            "at": {"json": SCHEDULE | {"at": "tomorrow"}},
            "time_zone": {"json": SCHEDULE | {"time_zone": "Mars/Base"}},
            "thread_id": {"json": SCHEDULE | {"thread_id": "t"}},
            "thread_rule": {"json": SCHEDULE | {"thread_rule": "{day}"}},
            "catch_up": {"json": SCHEDULE | {"catch_up": "some"}},
            "name": {"json": SCHEDULE | {"name": LONG}},
            "user": {"json": SCHEDULE | {"user": "bob"}},
            "metadata.user": {"json": SCHEDULE | {"metadata": {"user": "bob"}}},
            "when_busy": {"json": SCHEDULE | {"when_busy": "wait"}},
            "owner_only": {"json": SCHEDULE | {"owner_only": False}},
            "role": {"json": SCHEDULE | {"role": "system"}},
        },
        statements=4,
    ),
    Route(
        "GET",
        "/schedules",
        200,
        "read",
        {},
        {
            "limit": {"params": {"limit": 201}},
            "cursor": {"params": {"cursor": "nonsense"}},
            "user": {"params": {"user": "bob"}},
            "thread_id": {"params": {"thread_id": "a b"}},
        },
        statements=1,
    ),
    Route("GET", "/schedules/{schedule}", 200, "read", {}, {"x": {"params": {"x": 1}}}, statements=1),
    Route(
        "PATCH",
        "/schedules/{schedule}",
        200,
        "write",
        {"json": {"cron": "30 8 * * *", "thread_rule": "report-{date}", "name": None, "priority": 2}},
        {
            "content": {"json": {"content": ""}},
            "priority": {"json": {"priority": None}},
            "cron": {"json": {"cron": "never"}},
            "time_zone": {"json": {"time_zone": "Mars/Base"}},
            "thread_id": {"json": {"thread_id": "t", "thread_rule": "{date}"}},
            "metadata.user": {"json": {"metadata": {"user": "bob"}}},
            "user": {"json": {"user": "bob"}},
            "role": {"json": {"role": "system"}},
        },
        statements=7,
    ),
    Route("POST", "/schedules/{schedule}/pause", 200, "write", {}, {"x": {"params": {"x": 1}}}, statements=4),
    Route("POST", "/schedules/{schedule}/run", 202, "write", {}, {"x": {"params": {"x": 1}}}, statements=9),
    Route("POST", "/schedules/{schedule}/resume", 200, "write", {}, {"x": {"params": {"x": 1}}}, statements=5),
    Route("GET", "/schedules/{schedule}/turns", 200, "read", {}, {"limit": {"params": {"limit": 0}}}, statements=2),
    Route("DELETE", "/schedules/{schedule}", 204, "write", {}, {"x": {"params": {"x": 1}}}, statements=3),
    Route(
        "POST",
        "/threads/{answered}/branches",
        201,
        "write",
        {"json": {"name": "third"}},
        {
            "name": {"json": {"name": LONG}},
            "at": {"json": {"at": 10**30}},
            "at_message": {"json": {"at_message": "a b"}},
            "branch": {"json": {}, "params": {"branch": "a b"}},
            "thread_id": "/threads/a%20b/branches",
        },
        statements=6,
    ),
    Route("GET", "/threads/{answered}/branches", 200, "read", {}, {"x": {"params": {"x": 1}}}, statements=2),
    Route(
        "PATCH",
        "/threads/{answered}/branches/{branch}",
        200,
        "write",
        {"json": {"name": "second"}},
        {"name": {"json": {"name": 5}}, "branch": "/threads/{answered}/branches/a%20b"},
        statements=4,
    ),
    Route(
        "GET",
        "/threads/{answered}/branches/{branch}/compare",
        200,
        "read",
        {"params": {"with": "main"}},
        {"with": {"params": {}}, "branch": {"params": {"with": "a b"}}},
        statements=4,
    ),
    Route(
        "POST",
        "/threads/{answered}/regenerate",
        202,
        "write",
        {"json": {}},
        {
            "agent": {"json": {"agent": "a b"}},
            "metadata": {"json": {"metadata": []}},
            "user": {"json": {"user": "bob"}},
            "priority": {"json": {"priority": 10}},
            "branch": {"json": {}, "params": {"branch": "a b"}},
        },
        statements=16,
    ),
    Route(
        "POST",
        "/threads/{answered}/branches/{branch}/choose",
        200,
        "write",
        {},
        {"branch": "/threads/{answered}/branches/a%20b/choose"},
        statements=7,
    ),
    Route(
        "POST",
        "/threads/{answered}/messages/{message}/edit",
        202,
        "write",
        {"json": {"content": "how early is it?"}},
        {
            "content": {"json": {"content": " "}},
            "user": {"json": {"content": "x", "user": "bob"}},
            "message_id": "/threads/{answered}/messages/a%20b/edit",
        },
        statements=15,
    ),
    Route(
        "DELETE",
        "/threads/{answered}/branches/{branch}",
        204,
        "operate",
        {},
        {"branch": "/threads/{answered}/branches/a%20b"},
        statements=19,
    ),
    # The last of all: then the thread is gone. A fork still reads its history, which stays with it.
    Route("DELETE", "/threads/{thread}", 204, "operate", {}, {"thread_id": "/threads/" + LONG}, statements=28),
]
