"""The shapes of schedules, in requests and in answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from conversation.cron import EXPRESSION_MAX_CHARS, TIME_ZONE_MAX_CHARS
from conversation.schedule import ScheduleRecord
from producers.http.answer_shapes import TURN_ID, Metadata, NextCursor, Written, write_moment
from producers.http.request_shapes import Id, Moment, RequestShape, Text
from store.schedules.request import NAME_MAX_CHARS

CatchUpName = Literal["skip", "one", "all"]
WhenBusyName = Literal["enqueue", "reject", "interrupt", "rollback", "merge", "steer"]
StateName = Literal["active", "paused", "ended"]
_TEXT_PATTERN = {"pattern": r"^[^\u0000]*$"}
CronText = Annotated[str, Field(json_schema_extra={"maxLength": EXPRESSION_MAX_CHARS, **_TEXT_PATTERN})]
ZoneName = Annotated[str, Field(json_schema_extra={"maxLength": TIME_ZONE_MAX_CHARS, **_TEXT_PATTERN})]
Name = Annotated[str, Field(json_schema_extra={"maxLength": NAME_MAX_CHARS, **_TEXT_PATTERN})]


class NewSchedule(RequestShape):
    """A schedule to be made: `cron` or `at`, and `thread_id` or `thread_rule`."""

    content: Text = Field(description="What is sent each time.", examples=["Which parcels are late?"])
    cron: CronText | None = Field(
        None, description="Minute, hour, day of the month, month, day of the week.", examples=["0 9 * * mon-fri"]
    )
    at: Moment | None = Field(None, description="When it runs, of one that runs once.", examples=[None])
    time_zone: ZoneName = Field("UTC", description="In which `cron` and the rule are read.", examples=["Europe/Berlin"])
    catch_up: CatchUpName = Field("one", description="Which of the runs are sent that an outage missed.")
    thread_id: Id | None = Field(None, description="Where it is sent to.", examples=["order-4711"])
    thread_rule: Id | None = Field(
        None, description="A thread id with the date of the run: `report-{date}`.", examples=[None]
    )
    name: Name | None = Field(
        None, description="What it is called; the same again is the same schedule.", examples=["late parcels"]
    )
    agent: Id | None = Field(
        None, description="Who answers; the thread's, or the default, without it.", examples=[None]
    )
    when_busy: WhenBusyName | None = Field(
        None, description="What becomes of a run while its thread is busy; the thread says without it."
    )
    user: Id | None = Field(None, description="Who asks; a key or token of one user need not say it.", examples=["ada"])
    metadata: Metadata | None = Field(None, examples=[None])
    priority: int = Field(0, ge=0, le=9, description="Higher is sooner; it orders threads.")


class ScheduleChanges(RequestShape):
    """Changes to be made to a schedule: of the fields that are there."""

    content: Text | None = Field(None, description="What is sent each time.", examples=["Which parcels are late?"])
    cron: CronText | None = Field(None, description="In the place of `at`.", examples=["30 8 * * mon-fri"])
    at: Moment | None = Field(None, description="In the place of `cron`.", examples=[None])
    time_zone: ZoneName | None = Field(None, examples=["Europe/Berlin"])
    catch_up: CatchUpName | None = Field(None, description="Which of the runs are sent that an outage missed.")
    thread_id: Id | None = Field(None, description="In the place of `thread_rule`.", examples=["order-4711"])
    thread_rule: Id | None = Field(None, description="In the place of `thread_id`.", examples=[None])
    name: Name | None = Field(None, description="null takes it away.", examples=["late parcels"])
    agent: Id | None = Field(None, description="null: the thread's, or the default.", examples=[None])
    when_busy: WhenBusyName | None = Field(None, description="null: the thread says.")
    metadata: Metadata | None = Field(None, examples=[None])
    priority: int | None = Field(None, ge=0, le=9, description="Higher is sooner; it orders threads.")


class Schedule(BaseModel):
    """A schedule."""

    id: str = Field(examples=[TURN_ID])
    name: str | None
    user: str | None
    content: str
    cron: str | None
    at: Written | None
    time_zone: str
    catch_up: CatchUpName
    thread_id: str | None
    thread_rule: str | None
    agent: str | None
    when_busy: WhenBusyName | None
    metadata: Metadata
    priority: int
    state: StateName
    next_at: Written | None = Field(description="The time of its next run; null of one that has ended.")
    retry_at: Written | None = Field(description="When a run that was refused is tried again.")
    last_due_at: Written | None = Field(description="The time of its last run.")
    last_turn_id: str | None = Field(description="The turn of its last run.")
    last_error: str | None = Field(description="Why its last run was refused.")
    created_at: Written
    updated_at: Written

    @classmethod
    def of(cls, record: ScheduleRecord) -> "Schedule":
        """The shape of a stored schedule."""
        values: dict[str, Any] = {name: getattr(record, name) for name in cls.model_fields}
        for name, value in values.items():
            if name.endswith("_at") or name == "at":
                values[name] = None if value is None else write_moment(value)
        return cls(**values)


class ScheduleList(BaseModel):
    """A page of schedules, the oldest first."""

    schedules: list[Schedule]
    next_cursor: NextCursor
