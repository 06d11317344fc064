"""The runs of schedules: what is due is sent, each run as a turn.

What stays true: a run's turn is stored by the transaction that moves its schedule on, under an idempotency key made of
the schedule and the time, so that it is one turn whoever ticks, however often, and wherever a process dies. Several
schedules share a transaction: all of them are run by it, or none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, text, update

from conversation.cron import check_time_zone
from conversation.errors import LimitReached, UserError
from conversation.ids import new_id
from conversation.message import Message
from conversation.schedule import CatchUp, RunPlan, ScheduleState, cron_of, plan_runs
from conversation.task_contract import WakeUp
from conversation.thread_rule import apply_thread_rule
from conversation.when_busy import WhenBusy
from store.audit import write_audit_row
from store.database.column_types import clock, moment_now
from store.database.limits import limit_lock_waits
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.schedules.repository import lock_schedule
from store.settings import Settings
from store.tables import schedules
from store.tables.schedules import ACTIVE
from store.threads.visible_threads import Viewer
from store.turns import inbox
from store.turns.send_request import UNLIMITED, AcceptedTurn, SendLimits, SendRequest
from store.turns.visible_send import accept_of_viewer

#: Seconds after which a run is tried again that was refused for now, at most; the first time it is a minute.
RETRY_MAX_SECONDS = 3600.0
RETRY_MIN_SECONDS = 60.0
#: Runs after which a transaction takes up no further schedule: it would last too long.
SENT_MAX = 200
#: Characters of an error: enough for an operator.
ERROR_MAX_CHARS = 500

#: As the index has it, so that the planner sees that it fits.
due_at = func.coalesce(schedules.c.retry_at, schedules.c.next_at)
is_active: ColumnElement[bool] = text(ACTIVE)  # type: ignore[assignment]
#: What a look changes in a row.
_MOVED = ("next_at", "retry_at", "failures", "last_due_at", "last_turn_id", "last_error", "state")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRules:
    """The rules of an installation for runs."""

    #: The agent of a schedule that names none.
    default_agent: str = "assistant"
    #: The policy for a thread that is busy, where neither the schedule nor the thread has one.
    default_when_busy: WhenBusy | None = None
    limits: SendLimits = UNLIMITED
    #: How late a run may be that is sent although its schedule skips missed ones.
    grace: timedelta = timedelta(minutes=5)


def rules_of(settings: Settings) -> RunRules:
    """The rules, as the settings have them."""
    return RunRules(
        default_agent=settings.default_agent,
        default_when_busy=settings.when_busy,
        limits=SendLimits(tenant_max_unfinished_turns=settings.tenant_max_unfinished_turns),
        grace=timedelta(seconds=settings.schedule_grace_seconds),
    )


@dataclass(slots=True)
class RunOutcome:
    """The outcome of one transaction."""

    #: Runs that were stored as turns.
    sent: int = 0
    #: Runs that were refused.
    refused: int = 0
    #: The last run that was stored, or was already: its turn, thread and priority.
    turn_id: str | None = None
    #: The id of the row of its thread or branch.
    address: str = ""
    priority: int = 0
    #: The turn that it interrupts, where that runs: its worker is to hear of it after the commit.
    interrupts: str | None = None
    #: For the turns of the runs, after the commit.
    wake_ups: list[WakeUp] = field(default_factory=list)
    #: Schedules that were moved on; another process is at the others, or has done so.
    moved: int = 0


@read_only
def list_due(connection: Connection, *, limit: int) -> Sequence[str]:
    """List the ids of schedules whose time has come, those that are due for longest first."""
    statement = select(schedules.c.id).where(is_active, due_at <= moment_now()).order_by(due_at).limit(limit)
    return connection.execute(statement).scalars().all()


@read_only
def count_overdue(connection: Connection, *, over_seconds: float) -> int:
    """Count the schedules of all tenants whose time passed so many seconds ago, and that nobody has run."""
    statement = select(func.count()).where(is_active, due_at <= moment_now(plus_seconds=-over_seconds))
    return int(connection.execute(statement.select_from(schedules)).scalar_one())


def run_due(
    connection: Connection, schedule_ids: Sequence[str], *, rules: RunRules, lock_seconds: float | None = None
) -> RunOutcome:
    """Send what is due of schedules, and move them on; but for those that another process is at, or has done.

    Those are left to the next call that are behind `SENT_MAX` runs, as where many make up for what they missed.
    Gives up where it would have to wait for a lock for longer than `lock_seconds`.
    """
    if lock_seconds is not None:
        limit_lock_waits(connection, lock_seconds)
    statement = select(schedules, clock().label("now")).where(
        schedules.c.id.in_(schedule_ids), is_active, due_at <= moment_now()
    )
    rows = connection.execute(statement.order_by(due_at).with_for_update(of=schedules, skip_locked=True)).all()
    outcome = RunOutcome()
    changes: list[dict[str, Any]] = []
    for row in rows:
        if outcome.sent >= SENT_MAX:
            break
        changes.append(_Runs(connection, row, rules, outcome, owner_only=row.owner_only).send_due())
    if changes:
        # In one go: the driver sends them all before it reads the first answer.
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in _MOVED}
        moving = update(schedules).where(schedules.c.id == bindparam("schedule")).values(**values, updated_at=clock())
        connection.execute(moving, changes)
    outcome.moved = len(changes)
    return outcome


def put_off(connection: Connection, schedule_id: str, error: str) -> None:
    """Put a schedule off that cannot be run: it is tried again later."""
    of_schedule = (schedules.c.id == schedule_id) & is_active
    statement = select(schedules, clock().label("now")).where(of_schedule)
    row = connection.execute(statement.with_for_update(of=schedules)).one_or_none()
    if row is not None:
        _update(connection, row, **_put_off(row, error))


def run_now(connection: Connection, viewer: Viewer, schedule_id: str, *, run_id: str, rules: RunRules) -> RunOutcome:
    """Send a schedule's message out of its time; when it is due stays. Repeated with the same id, it is one run.

    Raises `ScheduleNotFound`, and as `inbox.accept`.
    """
    row = lock_schedule(connection, viewer, schedule_id)
    now = connection.execute(select(clock())).scalar_one()
    runs = _Runs(connection, row, rules, RunOutcome(), owner_only=row.owner_only or viewer.user is not None)
    accepted = runs.accept(f"now:{run_id}", now)
    if accepted.is_new:
        _update(connection, row, last_turn_id=accepted.turn_id)
        write_audit_row(connection, row.tenant, "", "schedule.run", {"schedule": row.id, "turn": accepted.turn_id})
    return runs.outcome


class _Runs:
    """The runs of one schedule, whose row is locked."""

    def __init__(
        self, connection: Connection, row: AnyRow, rules: RunRules, outcome: RunOutcome, *, owner_only: bool
    ) -> None:
        self._connection = connection
        self._row = row
        self._rules = rules
        #: Send to no thread that is another's.
        self._owner_only = owner_only
        self._zone = check_time_zone(row.time_zone)
        self.outcome = outcome

    def send_due(self) -> dict[str, Any]:
        """Send what is due, in its order; returns what is to be noted in the row, as `run_due` binds it."""
        row = self._row
        cron, catch_up = cron_of(row.cron, row.time_zone), CatchUp(row.catch_up)
        plan = plan_runs(cron, catch_up, row.next_at, row.now, grace=self._rules.grace)
        values = {name: getattr(row, name) for name in _MOVED}
        values |= {"next_at": plan.next_at, "retry_at": None, "failures": 0} | self._send(plan)
        if values["next_at"] is None:
            values["state"] = ScheduleState.ENDED
        return {"schedule": row.id} | {f"new_{name}": value for name, value in values.items()}

    def _send(self, plan: RunPlan) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for moment in plan.due:
            try:
                accepted = self.accept(moment.astimezone(UTC).isoformat(), moment)
            except LimitReached as error:
                # The tenant has too much ahead of it: later there is room.
                values |= {"next_at": moment, **_put_off(self._row, str(error))}
                self.outcome.refused += 1
                break
            except UserError as error:
                # The next try would be refused, too: the run after it may not be.
                values |= {"last_due_at": moment, "last_error": str(error)[:ERROR_MAX_CHARS]}
                self.outcome.refused += 1
            else:
                values |= {"last_due_at": moment, "last_turn_id": accepted.turn_id, "last_error": None}
        return values

    def accept(self, occasion: str, moment: datetime) -> AcceptedTurn:
        """Store the turn of a run, or find the one that it has. Raises as `inbox.accept`."""
        request = self._request(occasion, moment)
        if self._owner_only:
            viewer = Viewer(request.tenant, request.user)
            accepted = accept_of_viewer(self._connection, viewer, request, self._rules.limits, creates=True).accepted
        else:
            accepted = inbox.accept(self._connection, request, self._rules.limits)
        self.outcome.sent += accepted.is_new
        self.outcome.turn_id, self.outcome.address = accepted.turn_id, accepted.address
        self.outcome.priority, self.outcome.interrupts = request.priority, accepted.interrupts
        if accepted.needs_wake_up:
            self.outcome.wake_ups.append(_wake_up_of(request, accepted))
        return accepted

    def _request(self, occasion: str, moment: datetime) -> SendRequest:
        row = self._row
        rule = row.thread_rule
        return SendRequest(
            turn_id=new_id(),
            tenant=row.tenant,
            thread_id=row.thread_id if rule is None else apply_thread_rule(rule, moment, self._zone, row.id),
            message=Message(role=row.role, content=row.content, metadata=dict(row.metadata)),
            agent=row.agent or self._rules.default_agent,
            is_agent_default=row.agent is None,
            when_busy=None if row.when_busy is None else WhenBusy(row.when_busy),
            default_when_busy=self._rules.default_when_busy,
            # Its turn waits for the agent: a run is not lost because no worker is up yet.
            allow_unknown_agent=True,
            idempotency_key=f"schedule:{row.id}:{occasion}",
            priority=row.priority,
            metadata=dict(row.metadata),
            user=row.owner,
            schedule_id=row.id,
        )


def _wake_up_of(request: SendRequest, accepted: AcceptedTurn) -> WakeUp:
    turn_id, address = accepted.turn_id, accepted.address
    return WakeUp(tenant=request.tenant, thread_id=address, turn_id=turn_id, priority=request.priority)


def _put_off(row: AnyRow, error: str) -> dict[str, Any]:
    seconds = min(RETRY_MIN_SECONDS * 2 ** min(row.failures, 10), RETRY_MAX_SECONDS)
    return {
        "retry_at": row.now + timedelta(seconds=seconds),
        "failures": row.failures + 1,
        "last_error": error[:ERROR_MAX_CHARS],
    }


def _update(connection: Connection, row: AnyRow, **values: Any) -> None:
    connection.execute(update(schedules).where(schedules.c.id == row.id).values(**values, updated_at=clock()))
