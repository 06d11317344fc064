"""The functions of `producers` and the methods of a turn's handle, each with a call that works."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

import producers
from conversation.errors import (
    BranchInUse,
    BranchNotFound,
    InboundSourceNotFound,
    ScheduleNotFound,
    ThreadNotFound,
    UploadNotFound,
    WebhookNotFound,
)
from producers.sqlalchemy_orm import send_message_in
from tests.integration.hostile.stage import Stage
from tests.integration.hostile.verb import MOMENT, Make, Verb, just

#: Times that a stream is looked at before it counts as quiet, whatever it does.
_QUIET_TRIES = 100
_SHA256 = hashlib.sha256(b"a note").hexdigest()


def _of_producers(name: str, /, *, _raises: type[Exception] | None = None, **arguments: Make) -> dict[str, Verb]:
    """A function of `producers`, and its twin for an event loop."""
    raises = () if _raises is None else (_raises,)
    return {f"producers.{each}": Verb(_calling(each), arguments, raises=raises) for each in (name, f"{name}_async")}


def _calling(name: str) -> Callable[..., Any]:
    return lambda _, **given: getattr(producers, name)(**given)


_SENT: dict[str, Make] = {
    "thread_id": just("s"),
    "content": just("hello"),
    "connection": just(None),
    "attachments": just(None),
    "agent": just("assistant"),
    "idempotency_key": just(None),
    "metadata": just({"a": 1}),
    "user": just("me"),
    "tenant": just("default"),
    "priority": just(1),
    "not_before": just(MOMENT),
    "deadline": just(MOMENT + timedelta(days=1)),
    "role": just("user"),
    "allow_unknown_agent": just(True),
    "when_busy": just("enqueue"),
    "merge_window": just(0),
    "branch": just(None),
}
#: The options of a message that stands in for another one, and of a turn without a message of its own.
_EDITED = {name: make for name, make in _SENT.items() if name not in ("thread_id", "content", "connection")}
_ANSWERED = {
    name: make for name, make in _EDITED.items() if name not in ("attachments", "role", "when_busy", "merge_window")
}
_OF_FILE: dict[str, Make] = {"file": lambda stage: stage.file, "tenant": just("default")}

_OF_WEBHOOK: dict[str, Make] = {"webhook_id": lambda stage: stage.webhook_id, "tenant": just("default")}
_NO_WEBHOOK = "0195a1f0-0000-7000-8000-000000000000"


_SCHEDULE: dict[str, Make] = {
    "content": just("hello"),
    "cron": just("0 9 * * *"),
    "at": just(None),
    "time_zone": just("Europe/Berlin"),
    "catch_up": just("one"),
    "thread_id": just("s"),
    "thread_rule": just(None),
    "name": just("daily"),
    "agent": just("assistant"),
    "when_busy": just("enqueue"),
    "user": just("me"),
    "tenant": just("default"),
    "role": just("user"),
    "metadata": just({"a": 1}),
    "priority": just(1),
}
_CHANGED_SCHEDULE: dict[str, Make] = {
    name: make for name, make in _SCHEDULE.items() if name not in ("user", "tenant", "role")
} | {"name": just("weekly")}
_INBOUND: dict[str, Make] = {
    "name": just("shop"),
    "mapping": just({"thread_id": "s", "text": "{/text}", "idempotency_key": "{/id}"}),
    "secret": just("a secret of theirs"),
    "scheme": just("token"),
    "header": just("X-Token"),
    "only": just({"/a": [1]}),
    "when_busy": just("enqueue"),
    "agent": just("assistant"),
    "priority": just(1),
    "max_bytes": just(1_000),
    "tenant": just("default"),
}
_OF_INBOUND: dict[str, Make] = {"source_id": lambda stage: stage.inbound_source.id, "tenant": just("default")}
_NO_SCHEDULE = "0195a1f0-0000-7000-8000-000000000000"
_OF_SCHEDULE: dict[str, Make] = {"schedule_id": lambda stage: stage.schedule.id, "tenant": just("default")}


async def _take_first(stage: Stage, events: AsyncIterator[Any]) -> Any:
    """The first event, if there is one; a stream that is quiet goes on without end.

    Quiet is what has asked the database, and then does not ask it: however slow the machine is.
    """
    asked_before, under_way = stage.begun_statements, stage.begun_statements - stage.ended_statements
    async with aclosing(events):  # type: ignore[type-var]
        first = asyncio.ensure_future(anext(events))
        for _ in range(_QUIET_TRIES):
            begun = stage.begun_statements
            await asyncio.wait({first}, timeout=0.1)
            if first.done():
                return first.result()
            if asked_before < begun == stage.begun_statements <= stage.ended_statements + under_way:
                break
        first.cancel()
        with suppress(asyncio.CancelledError):
            return await first
    return None


def _send_in_session(stage: Stage, session: Any = None, **given: Any) -> Any:
    if session is not None:
        return send_message_in(session, **given)
    with Session(stage.producer.database.engine) as own_session:
        return send_message_in(own_session, **given)


PRODUCERS: dict[str, Verb] = {
    **_of_producers("send_message", **_SENT),
    "producers.send_message_in": Verb(
        _send_in_session, {"session": just(None)} | {k: v for k, v in _SENT.items() if k != "connection"}
    ),
    **_of_producers("find_turn", turn_id=lambda stage: stage.turn.id, tenant=just("default")),
    **_of_producers("list_turns", thread_id=just("sent"), tenant=just("default"), limit=just(1), cursor=just(None)),
    **_of_producers("regenerate", _raises=BranchInUse, thread_id=just("sent"), **_ANSWERED),
    **_of_producers(
        "edit_message", _raises=BranchInUse, thread_id=just("sent"), message_id=just("m"), content=just("x"), **_EDITED
    ),
    **_of_producers(
        "make_branch",
        thread_id=just("t"),
        at=just(None),
        name=just("a name"),
        branch=just("main"),
        tenant=just("default"),
    ),
    **_of_producers("list_branches", thread_id=just("t"), tenant=just("default")),
    **_of_producers("choose_branch", thread_id=just("t"), branch=just("main"), tenant=just("default")),
    **_of_producers(
        "rename_branch", thread_id=just("t"), branch=just("main"), name=just("first"), tenant=just("default")
    ),
    **_of_producers(
        "compare_branches", thread_id=just("t"), ours=just("main"), theirs=just("main"), tenant=just("default")
    ),
    **_of_producers(
        "delete_branch", _raises=BranchNotFound, thread_id=just("t"), branch=just("b"), tenant=just("default")
    ),
    **_of_producers("read_thread", thread_id=just("t"), branch=just(None), tenant=just("default"), last=just(1)),
    **_of_producers("set_when_busy", thread_id=just("sent"), when_busy=just("merge"), tenant=just("default")),
    **_of_producers(
        "fork_thread", thread_id=just("sent"), at=just(None), new_thread_id=just(None), tenant=just("default")
    ),
    **_of_producers("hand_over_thread", thread_id=just("sent"), agent=just("a"), tenant=just("default")),
    **_of_producers("cancel_turn", turn_id=lambda stage: stage.failed_turn.id, by=just("me"), tenant=just("default")),
    **_of_producers(
        "requeue_turn", turn_id=lambda stage: stage.failed_turn.id, agent=just(None), tenant=just("default")
    ),
    **_of_producers(
        "requeue_turns",
        state=just("failed"),
        kinds=just(["deadline"]),
        agent=just("a"),
        tenant=just("default"),
        since=just(MOMENT),
        until=just(MOMENT),
        by=just(None),
        limit=just(1),
        dry_run=just(True),
    ),
    **_of_producers(
        "create_upload",
        filename=just("a.txt"),
        media_type=just("text/plain"),
        size=just(1),
        sha256=just(_SHA256),
        tenant=just("default"),
    ),
    **_of_producers(
        "complete_upload",
        _raises=UploadNotFound,
        upload_id=just("0195a1f0-0000-7000-8000-000000000000"),
        tenant=just("default"),
    ),
    **_of_producers("find_file", thread_id=just("t"), sha256=just(_SHA256), tenant=just("default")),
    **_of_producers("read_file", **_OF_FILE),
    **_of_producers("file_url", **_OF_FILE, expires=just(timedelta(minutes=1)), inline=just(False)),
    **_of_producers("thumbnail_url", **_OF_FILE, expires=just(timedelta(minutes=1))),
    **_of_producers(
        "create_webhook",
        url=just("https://example.org/hooks"),
        tenant=just("hooked"),
        kinds=just(["turn.completed"]),
        agents=just(["a"]),
        link_template=just("https://example.org/{turn_id}"),
        name=just("mine"),
        secret=just(None),
    ),
    **_of_producers("list_webhooks", tenant=just("default")),
    **_of_producers("find_webhook", **_OF_WEBHOOK),
    **_of_producers(
        "change_webhook",
        **_OF_WEBHOOK,
        url=just("https://example.org/hooks"),
        kinds=just(None),
        agents=just(["a"]),
        link_template=just(None),
        name=just("mine"),
        enabled=just(True),
    ),
    **_of_producers("delete_webhook", _raises=WebhookNotFound, webhook_id=just(_NO_WEBHOOK), tenant=just("default")),
    **_of_producers("rotate_webhook_secret", **_OF_WEBHOOK, secret=just(None), grace=just(timedelta(hours=1))),
    **_of_producers("list_webhook_deliveries", **_OF_WEBHOOK, state=just("dead"), limit=just(1), cursor=just(None)),
    **_of_producers("replay_webhook_delivery", _raises=WebhookNotFound, **_OF_WEBHOOK, delivery_id=just(_NO_WEBHOOK)),
    **_of_producers("replay_dead_webhook_deliveries", **_OF_WEBHOOK, since=just(MOMENT)),
    **_of_producers("create_schedule", **_SCHEDULE),
    **_of_producers("find_schedule", **_OF_SCHEDULE),
    **_of_producers("change_schedule", **_OF_SCHEDULE, **_CHANGED_SCHEDULE),
    **_of_producers("pause_schedule", **_OF_SCHEDULE),
    **_of_producers("resume_schedule", **_OF_SCHEDULE),
    **_of_producers("run_schedule", **_OF_SCHEDULE, idempotency_key=just("k")),
    **_of_producers("list_schedule_runs", **_OF_SCHEDULE, limit=just(1), cursor=just(None)),
    **_of_producers(
        "delete_schedule", _raises=ScheduleNotFound, schedule_id=just(_NO_SCHEDULE), tenant=just("default")
    ),
    **_of_producers(
        "list_schedules", tenant=just("default"), user=just("me"), thread_id=just("s"), limit=just(1), cursor=just(None)
    ),
    **_of_producers("create_inbound_source", **_INBOUND),
    **_of_producers("list_inbound_sources", tenant=just("default")),
    **_of_producers("find_inbound_source", **_OF_INBOUND),
    **_of_producers("enable_inbound_source", **_OF_INBOUND, enabled=just(True)),
    **_of_producers(
        "rotate_inbound_source", **_OF_INBOUND, secret=just("a new secret of theirs"), grace=just(timedelta(hours=1))
    ),
    **_of_producers(
        "delete_inbound_source", _raises=InboundSourceNotFound, source_id=just("x" * 24), tenant=just("default")
    ),
    **_of_producers("warm_up"),
    "producers.thread_events_async": Verb(
        lambda stage, **given: _take_first(stage, producers.thread_events_async(**given)),
        {"thread_id": just("t"), "branch": just(None), "tenant": just("default"), "after": just(0)},
        raises=(ThreadNotFound,),
    ),
    "producers.user_events_async": Verb(
        lambda stage, **given: _take_first(stage, producers.user_events_async(**given)),
        {"user": just("me"), "tenant": just("default"), "cursor": just(None)},
    ),
    "AsyncTurn.events": Verb(
        lambda stage, after: _take_first(stage, stage.ended_async_turn.events(after=after)), {"after": just(0)}
    ),
    "producers.default_producer": Verb(lambda _: producers.default_producer()),
    "Turn.wait": Verb(
        lambda stage, timeout: stage.ended_turn.wait(timeout), {"timeout": just(0.01)}, raises=(TimeoutError,)
    ),
    "Turn.cancel": Verb(lambda stage, by: stage.failed_turn.cancel(by=by), {"by": just("me")}),
    "Turn.notify": Verb(lambda stage: stage.turn.notify()),
    "AsyncTurn.wait": Verb(
        lambda stage, timeout: stage.ended_async_turn.wait(timeout), {"timeout": just(0.01)}, raises=(TimeoutError,)
    ),
    "AsyncTurn.cancel": Verb(lambda stage, by: stage.async_turn.cancel(by=by), {"by": just("me")}),
    "AsyncTurn.notify": Verb(lambda stage: stage.async_turn.notify()),
    "AsyncTurn.notify_soon": Verb(lambda stage: stage.async_turn.notify_soon()),
    "AsyncTurn.state": Verb(lambda stage: stage.async_turn.state()),
    "AsyncTurn.record": Verb(lambda stage: stage.async_turn.record()),
    "AsyncTurn.result": Verb(lambda stage: stage.async_turn.result()),
}
