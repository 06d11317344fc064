"""`threadmill recurring …`: messages that are sent at their times: create, list, change, pause, run and delete them."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, open_database, open_producer
from threadmill.cli.output import print_json, print_list, print_record, print_text, show_cell

if TYPE_CHECKING:
    from conversation.schedule import ScheduleRecord
    from conversation.turn import TurnRecord

group = typer.Typer(help="Send messages at their times, again and again or once.", no_args_is_help=True)

OneSchedule = Annotated[str, typer.Argument(help="The schedule's id.")]
#: Runs that `show` lists.
SHOWN_RUNS = 10


@group.command("create")
def create_recurring(
    content: Annotated[str, typer.Argument(help="The text of the message.")],
    cron: Annotated[
        str | None, typer.Option(help="Minute, hour, day of the month, month, day of the week: '0 9 * * mon-fri'.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Once: 2h, 1d, or 2027-01-31T12:00, in UTC.")] = None,
    zone: Annotated[str, typer.Option(help="The time zone of the expression and the rule.")] = "UTC",
    thread: Annotated[str | None, typer.Option(help="The id of the thread that it is sent to.")] = None,
    thread_rule: Annotated[
        str | None, typer.Option(help="A thread id with the date of the run in it: 'report-{date}'.")
    ] = None,
    catch_up: Annotated[
        str, typer.Option(help="Which of the runs that an outage missed are sent: skip, one, all.")
    ] = "one",
    agent: Annotated[str | None, typer.Option(help="The agent that shall answer.")] = None,
    when_busy: Annotated[
        str | None, typer.Option(help="While its thread is busy: enqueue, reject, interrupt, rollback, merge, steer.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Who asks.")] = None,
    name: Annotated[str | None, typer.Option(help="A name; created again as it is, it is the same schedule.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Create a schedule; each of its runs is a turn, as if a user had sent the message."""
    from conversation.ids import new_id
    from store.schedules import repository
    from store.schedules.request import ScheduleRequest

    with open_database() as (database, _):
        request = ScheduleRequest(
            content=content,
            cron=cron,
            at=_read_time(at),
            time_zone=zone,
            thread_id=thread,
            thread_rule=thread_rule,
            catch_up=catch_up,  # type: ignore[arg-type]  # checked with the others
            agent=agent,
            when_busy=when_busy,
            user=user,
            name=name,
            tenant=tenant,
        )
        schedule = database.run(repository.create_schedule, new_id(), request)
    _print_state(schedule, as_json=as_json)


@group.command("list")
def list_recurring(
    tenant: Tenant = DEFAULT_TENANT,
    user: Annotated[str | None, typer.Option(help="Schedules of this user.")] = None,
    thread: Annotated[str | None, typer.Option(help="Schedules that send to this thread.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the schedules of a tenant, the oldest first."""
    from store.schedules import repository
    from store.threads.visible_threads import Viewer

    with open_database() as (database, _):
        schedules = database.run(repository.list_schedules, Viewer(tenant, user), thread_id=thread)
    columns: dict[str, Callable[[ScheduleRecord], object]] = {
        "SCHEDULE": lambda schedule: schedule.id,
        "STATE": lambda schedule: schedule.state.value,
        "WHEN": _when,
        "ZONE": lambda schedule: schedule.time_zone,
        "NEXT": lambda schedule: schedule.next_at,
        "LAST": lambda schedule: schedule.last_due_at,
        "THREAD": lambda schedule: schedule.thread_id or schedule.thread_rule,
        "AGENT": lambda schedule: schedule.agent,
        "USER": lambda schedule: schedule.user,
        "NAME": lambda schedule: schedule.name,
        "ERROR": lambda schedule: schedule.last_error,
    }
    print_list(schedules, columns, empty="no schedules are made", as_json=as_json, to_json=_to_json)


@group.command("show")
def show_recurring(schedule_id: OneSchedule, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Show a schedule, and the turns of its last runs."""
    from store.schedules import repository
    from store.threads.visible_threads import Viewer

    viewer = Viewer(tenant)
    with open_database() as (database, _):
        schedule = database.run(repository.find_schedule, viewer, schedule_id)
        runs = database.run(repository.list_runs, viewer, schedule_id, limit=SHOWN_RUNS)
    if as_json:
        print_json({**_to_json(schedule), "turns": [{"id": run.id, "state": run.state.value} for run in runs]})
        return
    print_record({name: value for name, value in _to_json(schedule).items() if value not in (None, {})}, as_json=False)
    print_text("")
    columns: dict[str, Callable[[TurnRecord], object]] = {
        "TURN": lambda run: run.id,
        "STATE": lambda run: run.state.value,
        "CREATED": lambda run: run.created_at,
        "THREAD": lambda run: run.thread_id,
    }
    print_list(runs, columns, empty="it has not run", as_json=False)


@group.command("change")
def change_recurring(
    schedule_id: OneSchedule,
    content: Annotated[str | None, typer.Option(help="The text of the message.")] = None,
    cron: Annotated[str | None, typer.Option(help="In the place of the times that it has.")] = None,
    at: Annotated[str | None, typer.Option(help="Once, in their place: 2h, 1d, or 2027-01-31T12:00, in UTC.")] = None,
    zone: Annotated[str | None, typer.Option(help="The time zone of the expression and the rule.")] = None,
    thread: Annotated[str | None, typer.Option(help="In the place of the thread or rule that it has.")] = None,
    thread_rule: Annotated[str | None, typer.Option(help="In the place of the thread or rule that it has.")] = None,
    catch_up: Annotated[
        str | None, typer.Option(help="Which of the runs that an outage missed are sent: skip, one, all.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="The agent that shall answer.")] = None,
    when_busy: Annotated[str | None, typer.Option(help="What becomes of a run while its thread is busy.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Change what is given of a schedule, from its next run on; an option that is left out stays as it is."""
    from store.schedules.changes import change_schedule
    from store.threads.visible_threads import Viewer

    given: dict[str, Any] = {"content": content, "cron": cron, "at": _read_time(at), "time_zone": zone}
    given |= {"thread_id": thread, "thread_rule": thread_rule, "catch_up": catch_up}
    given |= {"agent": agent, "when_busy": when_busy, "name": name}
    changes = {field: value for field, value in given.items() if value is not None}
    with open_database() as (database, _):
        schedule = database.run(change_schedule, Viewer(tenant), schedule_id, changes)
    _print_state(schedule, as_json=as_json)


@group.command("pause")
def pause_recurring(schedule_id: OneSchedule, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Pause a schedule: it sends nothing until it is resumed."""
    from store.schedules import repository
    from store.threads.visible_threads import Viewer

    with open_database() as (database, _):
        schedule = database.run(repository.pause_schedule, Viewer(tenant), schedule_id)
    _print_state(schedule, as_json=as_json)


@group.command("resume")
def resume_recurring(schedule_id: OneSchedule, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Resume a schedule from now on: what fell into the pause is not made up for."""
    from store.schedules import repository
    from store.threads.visible_threads import Viewer

    with open_database() as (database, _):
        schedule = database.run(repository.resume_schedule, Viewer(tenant), schedule_id)
    _print_state(schedule, as_json=as_json)


@group.command("run")
def run_recurring(schedule_id: OneSchedule, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Send a schedule's message now, and print the turn's id; its next time stays."""
    from producers.schedules import send_now

    with open_producer() as producer:
        producer.warm_up()
        turn = send_now(producer, schedule_id, tenant=tenant)
    print_json({"turn": turn.id}) if as_json else print_text(turn.id)


@group.command("delete")
def delete_recurring(schedule_id: OneSchedule, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Delete a schedule; the turns of its runs stay."""
    from store.schedules import repository
    from store.threads.visible_threads import Viewer

    with open_database() as (database, _):
        database.run(repository.delete_schedule, Viewer(tenant), schedule_id)
    print_text(f"deleted {show_cell(schedule_id)}")


def _print_state(schedule: "ScheduleRecord", *, as_json: bool) -> None:
    if as_json:
        print_json(_to_json(schedule))
        return
    following = (
        "" if schedule.next_at is None or schedule.state != "active" else f", next at {show_cell(schedule.next_at)}"
    )
    print_text(f"{schedule.id} is {schedule.state.value}{following}")


def _when(schedule: "ScheduleRecord") -> object:
    return schedule.at if schedule.cron is None else schedule.cron


def _to_json(schedule: "ScheduleRecord") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(schedule)


def _read_time(text: str | None) -> datetime | None:
    """The moment that `--at` names, or the one after a length of time."""
    from datetime import UTC

    from threadmill.cli.moments import read_end

    end = read_end("--at", text)
    return end if end is None or isinstance(end, datetime) else datetime.now(UTC) + end
