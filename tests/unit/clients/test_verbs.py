"""The requests of verbs that decide, branch, schedule and tell others, and what they read; without a network."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from threadmill_client import (
    Branch,
    BranchComparison,
    ConnectionLost,
    File,
    GatewayFailed,
    InboundMapping,
    InboundSource,
    InboundSourceSecret,
    NotFound,
    PendingCall,
    PreconditionFailed,
    Schedule,
    Turn,
    Webhook,
    WebhookDelivery,
    WebhookSecret,
    branches,
    calls,
    inbound_sources,
    schedules,
    webhooks,
)
from threadmill_client import pending_calls as pending
from threadmill_client.following import thread_events
from threadmill_client.listings import list_messages
from threadmill_client.retries import Retries
from threadmill_client.run import Run
from threadmill_client.wire import Answer, Plan, Request

from producers.http import branch_shapes, inbound_source_shapes, schedule_shapes, webhook_shapes

CALL = {"turn_id": "t", "call_id": "c/1", "kind": "approval", "arguments": {"amount": 20}, "decision": "approve"}
TURN = {"id": "t", "thread_id": "a", "state": "queued"}
BRANCH = {"id": "4f0c", "is_chosen": True}
FILE = File(sha256="5" * 64)
SENT_FILE = {"sha256": "5" * 64}


def play(plan: Plan[Any], answer: object) -> tuple[Request, Any]:
    """The one request of a plan, and what it makes of the answer."""
    request = next(plan)
    assert isinstance(request, Request)
    with pytest.raises(StopIteration) as stop:
        plan.send(Answer(status=200, body=json.dumps(answer).encode()))
    return request, stop.value.value


DECISIONS: list[tuple[Plan[Any], dict[str, Any]]] = [
    (pending.approve_call("t", "c/1", digest="0" * 64), {"decision": "approve", "digest": "0" * 64}),
    (pending.approve_call("t", "c/1"), {"decision": "approve"}),
    (pending.deny_call("t", "c/1", "too much"), {"decision": "deny", "reason": "too much"}),
    (pending.deny_call("t", "c/1"), {"decision": "deny"}),
    (pending.edit_call("t", "c/1", {"amount": 1}), {"decision": "edit", "arguments": {"amount": 1}}),
    (pending.answer_call("t", "c/1", None), {"decision": "answer", "value": None}),
    (pending.give_result("t", "c/1", {"a": [1]}), {"decision": "result", "content": {"a": [1]}}),
]


@pytest.mark.parametrize(("plan", "body"), DECISIONS, ids=[str(number) for number in range(len(DECISIONS))])
def test_a_decision_is_sent_under_a_key_and_the_call_read(plan: Plan[Any], body: object) -> None:
    request, call = play(plan, {"call": CALL})

    assert (request.method, request.path) == ("POST", "/v1/turns/t/pending/c%2F1")
    assert json.loads(request.body or b"") == body  # type: ignore[arg-type]
    assert request.headers["Idempotency-Key"]
    assert call == PendingCall(**CALL)  # type: ignore[arg-type]


def test_what_turns_wait_for_is_listed_once() -> None:
    listing = pending.list_pending(user="ada", page_size=2)

    request, page = play(listing.page("next"), {"pending": [CALL], "next_cursor": None})

    assert (request.path, dict(request.query)) == ("/v1/pending", {"user": "ada", "limit": 2, "cursor": "next"})
    assert ([call.call_id for call in page.items], page.pending) == (["c/1"], ())
    request, found = play(pending.read_pending("t"), {"pending": [CALL]})
    assert (request.path, found) == ("/v1/turns/t/pending", page.items)


BRANCHING: list[tuple[Plan[Any], tuple[str, str], dict[str, Any], object]] = [
    (branches.regenerate("a", agent="b", branch="4f0c"), ("POST", "/regenerate"), {"agent": "b"}, Turn(**TURN)),
    (branches.edit_message("a", "m", "No"), ("POST", "/messages/m/edit"), {"content": "No"}, Turn(**TURN)),
    (
        branches.edit_message("a", "m", "No", attachments=[]),
        ("POST", "/messages/m/edit"),
        {"content": "No", "attachments": []},
        Turn(**TURN),
    ),
    (
        branches.edit_message("a", "m", "No", attachments=[FILE]),
        ("POST", "/messages/m/edit"),
        {"content": "No", "attachments": [SENT_FILE]},
        Turn(**TURN),
    ),
    (branches.make_branch("a", at=0, name="x"), ("POST", "/branches"), {"at": 0, "name": "x"}, Branch(**BRANCH)),
    (branches.make_branch("a", at="m"), ("POST", "/branches"), {"at_message": "m"}, Branch(**BRANCH)),
    (branches.make_branch("a"), ("POST", "/branches"), {}, Branch(**BRANCH)),
    (branches.rename_branch("a", "4f0c", None), ("PATCH", "/branches/4f0c"), {"name": None}, Branch(**BRANCH)),
    (branches.choose_branch("a", "4f0c"), ("POST", "/branches/4f0c/choose"), {}, Branch(**BRANCH)),
]


@pytest.mark.parametrize(
    ("plan", "where", "body", "read"), BRANCHING, ids=[f"{number}" for number in range(len(BRANCHING))]
)
def test_a_verb_of_branches_is_one_request(plan: Plan[Any], where: tuple[str, str], body: object, read: object) -> None:
    request, outcome = play(plan, {"turn": TURN} if isinstance(read, Turn) else BRANCH)

    assert (request.method, request.path.removeprefix("/v1/threads/a")) == where
    assert json.loads(request.body or b"{}") == body  # type: ignore[arg-type]
    assert ("Idempotency-Key" in request.headers) == (request.method == "POST")
    assert outcome == read


def test_branches_are_read_compared_and_named_by_verbs_of_threads() -> None:
    _, found = play(branches.list_branches("a"), {"branches": [BRANCH]})
    message = {"id": "m", "role": "user", "content": "Hi"}
    compared, comparison = play(
        branches.compare_branches("a", "main", "4f0c"), {"shared_to_seq": 3, "ours": [message], "theirs": []}
    )
    sent, _ = play(calls.send_message("a", "Hi", branch="4f0c", when_busy="merge", merge_window=0.5), {"turn": TURN})

    assert found == (Branch(**BRANCH),)
    assert (compared.path, compared.query) == ("/v1/threads/a/branches/main/compare", {"with": "4f0c"})
    assert (comparison.shared_to_seq, comparison.ours[0].content, comparison.theirs) == (3, "Hi", ())
    assert sent.query["branch"] == "4f0c"
    assert json.loads(sent.body or b"") == {"content": "Hi", "when_busy": "merge", "merge_window": 0.5}  # type: ignore[arg-type]
    assert list_messages("a", branch="4f0c").query["branch"] == "4f0c"
    assert thread_events("a", branch="4f0c").query == {"branch": "4f0c"}


SCHEDULE = {"id": "s", "content": "late?", "next_at": "2030-01-31T12:00:00Z"}
WEBHOOK = {"id": "w", "url": "https://example.org", "kinds": ["turn.failed"], "secret": None}
DELIVERY = {"id": "d", "state": "dead", "last_status": 500}
SOURCE = {"id": "i", "mapping": {"thread_id": "a", "text": "b"}, "only": {"/event": ["late"]}, "state": "disabled"}
AT = datetime(2030, 1, 31, 12, tzinfo=UTC)
RUNNING: list[tuple[Plan[Any], tuple[str, str], object, object]] = [
    (
        schedules.create_schedule("late?", at=AT, thread_id="a"),
        ("POST", "schedules"),
        {"content": "late?", "at": "2030-01-31T12:00:00+00:00", "thread_id": "a"},
        SCHEDULE,
    ),
    (schedules.get_schedule("s"), ("GET", "schedules/s"), None, SCHEDULE),
    (schedules.list_schedules().page(), ("GET", "schedules"), None, {"schedules": [SCHEDULE]}),
    (schedules.list_schedule_turns("s").page(), ("GET", "schedules/s/turns"), None, {"turns": [TURN]}),
    (schedules.pause_schedule("s"), ("POST", "schedules/s/pause"), None, SCHEDULE),
    (schedules.resume_schedule("s"), ("POST", "schedules/s/resume"), None, SCHEDULE),
    (
        schedules.update_schedule("s", at=AT, name=None),
        ("PATCH", "schedules/s"),
        {"at": "2030-01-31T12:00:00+00:00", "name": None},
        SCHEDULE,
    ),
    (schedules.run_schedule("s"), ("POST", "schedules/s/run"), None, {"turn": TURN}),
    (webhooks.list_webhooks(), ("GET", "webhooks"), None, {"webhooks": [WEBHOOK]}),
    (webhooks.get_webhook("w"), ("GET", "webhooks/w"), None, WEBHOOK),
    (
        webhooks.update_webhook("w", kinds=("turn.failed",), agents=None, enabled=False),
        ("PATCH", "webhooks/w"),
        {"kinds": ["turn.failed"], "agents": None, "enabled": False},
        WEBHOOK,
    ),
    (
        webhooks.list_webhook_deliveries("w", state="dead").page(),
        ("GET", "webhooks/w/deliveries"),
        None,
        {"deliveries": [DELIVERY]},
    ),
    (webhooks.replay_webhook_delivery("w", "d"), ("POST", "webhooks/w/deliveries/d/replay"), None, DELIVERY),
    (
        webhooks.replay_dead_webhook_deliveries("w", since=AT),
        ("POST", "webhooks/w/replay-dead"),
        {"since": "2030-01-31T12:00:00+00:00"},
        {"replayed": 3},
    ),
    (inbound_sources.list_inbound_sources(), ("GET", "inbound-sources"), None, {"sources": [SOURCE]}),
    (inbound_sources.get_inbound_source("i"), ("GET", "inbound-sources/i"), None, SOURCE),
    (
        inbound_sources.update_inbound_source("i", enabled=False),
        ("PATCH", "inbound-sources/i"),
        {"enabled": False},
        SOURCE,
    ),
]


@pytest.mark.parametrize(("plan", "where", "body", "answer"), RUNNING, ids=[" ".join(each[1]) for each in RUNNING])
def test_a_verb_of_an_operator_is_one_request(
    plan: Plan[Any], where: tuple[str, str], body: object, answer: object
) -> None:
    request, outcome = play(plan, answer)

    assert (request.method, request.path.removeprefix("/v1/")) == where
    assert json.loads(request.body or b"null") == body  # type: ignore[arg-type]
    assert ("Idempotency-Key" in request.headers) == (request.method == "POST")
    assert outcome


SENT_ONCE = [
    (webhooks.rotate_webhook_secret, ("w",)),
    (inbound_sources.create_inbound_source, ("shop", {})),
    (inbound_sources.rotate_inbound_source_secret, ("i",)),
]


@pytest.mark.parametrize("failure", [ConnectionLost("no answer"), 503])
@pytest.mark.parametrize(("verb", "arguments"), SENT_ONCE)
def test_what_makes_a_key_is_sent_once_and_shows_it_to_its_caller_alone(
    verb: Any, arguments: tuple[Any, ...], failure: Any
) -> None:
    plan = webhooks.create_webhook("https://example.org", kinds=["turn.failed"])
    _, made = play(plan, {"webhook": WEBHOOK, "secret": "whsec_hush"})
    run = Run(verb(*arguments), Retries())

    with pytest.raises((ConnectionLost, GatewayFailed)):
        run.resume(Answer(status=failure)) if isinstance(failure, int) else run.fail(failure)

    assert (made.secret, made.webhook.kinds, "hush" in repr(made)) == ("whsec_hush", ("turn.failed",), False)


def test_a_source_is_made_of_what_is_given_and_shows_its_secret_to_its_caller_alone() -> None:
    plan = inbound_sources.create_inbound_source("shop", {"text": "b"}, max_bytes=9, secret="hush of theirs")
    request, made = play(plan, {"source": SOURCE, "secret": "hush of theirs"})
    rotation, _ = play(
        inbound_sources.rotate_inbound_source_secret("i", grace_seconds=0), {"source": SOURCE, "secret": "hush"}
    )

    body = {"name": "shop", "mapping": {"text": "b"}, "max_bytes": 9, "secret": "hush of theirs"}
    assert (request.path, json.loads(request.body or b"")) == ("/v1/inbound-sources", body)  # type: ignore[arg-type]
    assert (rotation.path, rotation.body) == ("/v1/inbound-sources/i/rotate-secret", b'{"grace_seconds": 0}')
    assert (made.secret, made.source.mapping.text, "hush" in f"{made!r} {request!r}") == ("hush of theirs", "b", False)


@pytest.mark.parametrize(
    ("theirs", "shape"),
    [
        (Branch, branch_shapes.ThreadBranch),
        (BranchComparison, branch_shapes.BranchComparison),
        (Schedule, schedule_shapes.Schedule),
        (Webhook, webhook_shapes.Webhook),
        (WebhookSecret, webhook_shapes.WebhookSecret),
        (WebhookDelivery, webhook_shapes.WebhookDelivery),
        (InboundMapping, inbound_source_shapes.InboundMapping),
        (InboundSource, inbound_source_shapes.InboundSource),
        (InboundSourceSecret, inbound_source_shapes.InboundSourceSecret),
    ],
)
def test_a_model_has_each_field_of_its_answer_and_no_other(theirs: Any, shape: Any) -> None:
    assert set(theirs.__dataclass_fields__) - {"raw"} == set(shape.model_fields)


def test_a_deletion_that_finds_nothing_may_have_been_done_by_the_try_before() -> None:
    first, again = branches.delete_branch("a", "4f0c"), branches.delete_branch("a", "4f0c")
    next(first)
    next(again)

    with pytest.raises(NotFound):
        first.throw(NotFound(404, {}))
    with pytest.raises(StopIteration):
        again.throw(NotFound(404, {}, attempts=2))


@pytest.mark.parametrize(("stored", "is_done"), [("steer", True), ("reject", False)])
def test_a_policy_whose_answer_was_lost_is_looked_for(stored: str, is_done: bool) -> None:
    plan = calls.update_thread("a", when_busy="steer", agent=None, etag='"1"')
    request = next(plan)
    assert isinstance(request, Request)
    assert json.loads(request.body or b"") == {"agent": None, "when_busy": "steer"}  # type: ignore[arg-type]
    plan.throw(PreconditionFailed(412, {}, attempts=2))

    with pytest.raises(StopIteration if is_done else PreconditionFailed):
        plan.send(Answer(status=200, body=json.dumps({"id": "a", "agent": None, "when_busy": stored}).encode()))
