"""Schedules over HTTP: make, list, read, change, pause, resume, run and delete them; the turns of their runs."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from producers.http.answer_shapes import OneTurn, TurnList, record_json, turn_json
from producers.http.dependencies import GatewayOf, Reader, Writer, path_of
from producers.http.idempotency import made_id_of
from producers.http.schedule_shapes import NewSchedule, Schedule, ScheduleChanges, ScheduleList
from producers.http.visibility import acting_user, database_of, viewer_of, visible_turn
from store.schedules import repository, runs
from store.schedules.changes import change_schedule
from store.schedules.request import ScheduleRequest
from store.threads.visible_threads import Viewer
from store.turns.visible_send import check_send

router = APIRouter(tags=["schedules"])

_SENT: dict[int | str, dict[str, Any]] = {202: {"description": "The turn of the run, as it was sent."}}
_LIMIT = Query(ge=1, le=200, description="Entries of a page, at most.")
_CURSOR = Query(description="`next_cursor` of the page before.")


@router.post("/schedules", operation_id="create_schedule", status_code=201)
async def create(
    gateway: GatewayOf, principal: Writer, body: NewSchedule, request: Request, response: Response
) -> Schedule:
    """Make a schedule, which sends its message at its times. Each run is a turn."""
    database, viewer = database_of(gateway, principal), viewer_of(principal)
    values = body.model_dump(exclude={"user"})
    schedule = ScheduleRequest(
        **values,
        user=acting_user(principal, body.user, body.metadata),
        tenant=principal.tenant,
        # Also the threads that are another's, or made by another, when it runs.
        owner_only=principal.user is not None,
    )
    if body.thread_id is not None:
        await database.run_async(check_send, viewer, body.thread_id, [])
    record = await database.run_async(repository.create_schedule, made_id_of(request), schedule)
    response.headers["Location"] = path_of(request, f"/v1/schedules/{record.id}")
    return Schedule.of(record)


@router.get("/schedules", operation_id="list_schedules")
async def list_all(
    *,
    gateway: GatewayOf,
    principal: Reader,
    limit: Annotated[int, _LIMIT] = 50,
    cursor: Annotated[str | None, _CURSOR] = None,
    user: Annotated[str | None, Query(description="Whose schedules.")] = None,
    thread_id: Annotated[str | None, Query(description="Those that send to this thread.")] = None,
) -> ScheduleList:
    """List schedules, the oldest first."""
    viewer = Viewer(principal.tenant, acting_user(principal, user, None))
    page = await database_of(gateway, principal).run_async(
        repository.list_schedules, viewer, thread_id=thread_id, limit=limit, cursor=cursor
    )
    return ScheduleList(schedules=[Schedule.of(record) for record in page], next_cursor=page.next_cursor)


@router.get("/schedules/{schedule_id}", operation_id="read_schedule")
async def read(gateway: GatewayOf, principal: Reader, schedule_id: str) -> Schedule:
    """Read a schedule."""
    database = database_of(gateway, principal)
    return Schedule.of(await database.run_async(repository.find_schedule, viewer_of(principal), schedule_id))


@router.patch("/schedules/{schedule_id}", operation_id="update_schedule")
async def update(gateway: GatewayOf, principal: Writer, schedule_id: str, body: ScheduleChanges) -> Schedule:
    """Change what is there of a schedule, from its next run on; one that has ended runs again with another time."""
    database, viewer = database_of(gateway, principal), viewer_of(principal)
    acting_user(principal, None, body.metadata)
    if body.thread_id is not None:
        await database.run_async(check_send, viewer, body.thread_id, [])
    changes = body.model_dump(exclude_unset=True)
    return Schedule.of(await database.run_async(change_schedule, viewer, schedule_id, changes))


@router.get("/schedules/{schedule_id}/turns", operation_id="list_schedule_turns", response_model=TurnList)
async def list_turns(
    gateway: GatewayOf,
    principal: Reader,
    schedule_id: str,
    limit: Annotated[int, _LIMIT] = 50,
    cursor: Annotated[str | None, _CURSOR] = None,
) -> Response:
    """List the turns of a schedule's runs, the newest first, without their messages."""
    page = await database_of(gateway, principal).run_async(
        repository.list_runs, viewer_of(principal), schedule_id, limit=limit, cursor=cursor
    )
    return JSONResponse({"turns": [record_json(record) for record in page], "next_cursor": page.next_cursor})


@router.post("/schedules/{schedule_id}/pause", operation_id="pause_schedule")
async def pause(gateway: GatewayOf, principal: Writer, schedule_id: str) -> Schedule:
    """Pause a schedule: it sends nothing until it is resumed."""
    database = database_of(gateway, principal)
    return Schedule.of(await database.run_async(repository.pause_schedule, viewer_of(principal), schedule_id))


@router.post("/schedules/{schedule_id}/resume", operation_id="resume_schedule")
async def resume(gateway: GatewayOf, principal: Writer, schedule_id: str) -> Schedule:
    """Resume a schedule from now on: what fell into the pause is not made up for."""
    database = database_of(gateway, principal)
    return Schedule.of(await database.run_async(repository.resume_schedule, viewer_of(principal), schedule_id))


@router.post(
    "/schedules/{schedule_id}/run",
    operation_id="run_schedule",
    status_code=202,
    response_model=OneTurn,
    responses=_SENT,
)
async def run(gateway: GatewayOf, principal: Writer, schedule_id: str, request: Request) -> Response:
    """Send a schedule's message now, also while it is paused; its next time stays."""
    outcome = await database_of(gateway, principal).run_async(
        runs.run_now,
        viewer_of(principal),
        schedule_id,
        run_id=made_id_of(request),
        rules=runs.rules_of(gateway.settings),
    )
    for wake_up in outcome.wake_ups:
        await gateway.producer.connections.notifier.notify_async(wake_up)
    view = await visible_turn(gateway, principal, str(outcome.turn_id))
    location = path_of(request, f"/v1/turns/{outcome.turn_id}")
    return JSONResponse({"turn": turn_json(view)}, 202, {"Location": location})


@router.delete("/schedules/{schedule_id}", operation_id="delete_schedule", status_code=204, response_class=Response)
async def delete(gateway: GatewayOf, principal: Writer, schedule_id: str) -> None:
    """Delete a schedule. The turns of its runs stay."""
    await database_of(gateway, principal).run_async(repository.delete_schedule, viewer_of(principal), schedule_id)
