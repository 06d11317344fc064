"""Verbs of schedules, which send a message at their times: each run is a turn."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from threadmill_client.answers import delete, read_turn
from threadmill_client.decoding import read_model
from threadmill_client.listings import Listing
from threadmill_client.models import Turn
from threadmill_client.schedule_models import Schedule
from threadmill_client.unset import UNSET, Unset, drop_unset
from threadmill_client.wire import Plan, Request, drop_nones, idempotency, json_request, path, write_moment


def create_schedule(
    content: str,
    *,
    cron: str | None = None,
    at: datetime | None = None,
    time_zone: str | None = None,
    catch_up: str | None = None,
    thread_id: str | None = None,
    thread_rule: str | None = None,
    name: str | None = None,
    agent: str | None = None,
    when_busy: str | None = None,
    user: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    priority: int | None = None,
    idempotency_key: str | None = None,
) -> Plan[Schedule]:
    """Have a message sent at the times of `cron`, or once `at` a moment.

    It goes to `thread_id`, or by `thread_rule` to a thread with the date of the run, as `report-{date}`. `catch_up`
    says which runs are sent that an outage missed: `skip`, `one` or `all`. The same `name` is the same schedule.
    """
    values = drop_nones(
        content=content,
        cron=cron,
        at=write_moment("at", at),
        time_zone=time_zone,
        catch_up=catch_up,
        thread_id=thread_id,
        thread_rule=thread_rule,
        name=name,
        agent=agent,
        when_busy=when_busy,
        user=user,
        metadata=metadata,
        priority=priority,
    )
    answer = yield json_request("POST", path("schedules"), values, headers=idempotency(idempotency_key))
    return read_model(Schedule, answer.json())


def get_schedule(schedule_id: str) -> Plan[Schedule]:
    """Read a schedule. Raises `NotFound`."""
    answer = yield Request(method="GET", path=path("schedules", schedule_id))
    return read_model(Schedule, answer.json())


def list_schedules(
    *, user: str | None = None, thread_id: str | None = None, page_size: int | None = None
) -> Listing[Schedule]:
    """List schedules, the oldest first: of one user, or those that send to one thread."""
    query = drop_nones(user=user, thread_id=thread_id, limit=page_size)
    return Listing(where=path("schedules"), name="schedules", kind=Schedule, query=query)


def list_schedule_turns(schedule_id: str, *, page_size: int | None = None) -> Listing[Turn]:
    """List the turns of a schedule's runs, the newest first."""
    query = drop_nones(limit=page_size)
    return Listing(where=path("schedules", schedule_id, "turns"), name="turns", kind=Turn, query=query)


def update_schedule(
    schedule_id: str,
    *,
    content: str | Unset = UNSET,
    cron: str | Unset = UNSET,
    at: datetime | Unset = UNSET,
    time_zone: str | Unset = UNSET,
    catch_up: str | Unset = UNSET,
    thread_id: str | Unset = UNSET,
    thread_rule: str | Unset = UNSET,
    name: str | Unset | None = UNSET,
    agent: str | Unset | None = UNSET,
    when_busy: str | Unset | None = UNSET,
    metadata: Mapping[str, Any] | Unset | None = UNSET,
    priority: int | Unset = UNSET,
) -> Plan[Schedule]:
    """Change what is named of a schedule, from its next run on; None takes away what it can be without.

    `cron` and `at`, and `thread_id` and `thread_rule`, each take the place of the other. Raises `NotFound`.
    """
    given = drop_unset(
        content=content,
        cron=cron,
        at=at,
        time_zone=time_zone,
        catch_up=catch_up,
        thread_id=thread_id,
        thread_rule=thread_rule,
        name=name,
        agent=agent,
        when_busy=when_busy,
        metadata=metadata,
        priority=priority,
    )
    values = given | ({"at": write_moment("at", given["at"])} if "at" in given else {})
    return read_model(Schedule, (yield json_request("PATCH", path("schedules", schedule_id), values)).json())


def pause_schedule(schedule_id: str) -> Plan[Schedule]:
    """Have a schedule send nothing until it is resumed."""
    answer = yield Request(method="POST", path=path("schedules", schedule_id, "pause"), headers=idempotency())
    return read_model(Schedule, answer.json())


def resume_schedule(schedule_id: str) -> Plan[Schedule]:
    """Have a schedule send again from now on; what fell into the pause is not made up for."""
    answer = yield Request(method="POST", path=path("schedules", schedule_id, "resume"), headers=idempotency())
    return read_model(Schedule, answer.json())


def run_schedule(schedule_id: str, *, idempotency_key: str | None = None) -> Plan[Turn]:
    """Send a schedule's message now, also while it is paused; its next time stays."""
    headers = idempotency(idempotency_key)
    return read_turn((yield Request(method="POST", path=path("schedules", schedule_id, "run"), headers=headers)))


def delete_schedule(schedule_id: str) -> Plan[None]:
    """Delete a schedule. The turns of its runs stay. Raises `NotFound`."""
    yield from delete(path("schedules", schedule_id))
