"""An overview of what goes on: turns that run, turns that wait, turns that ended lately, model calls, workers.

What stays true: it costs milliseconds, whatever is stored: each part reads a bounded number of rows, and says so
where there were more. It is one tenant's, or all tenants'; workers are everybody's.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import quantiles
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from conversation.turn import TurnState
from store.database.column_types import clock, moment_now
from store.database.statements import AnyRow
from store.database.time_math import seconds_between
from store.tables import steps, turns
from store.tables.turns import queued
from store.turns.listing import ListedTurn, listed_turn_of, select_listed
from store.turns.unserved import list_served_agents
from store.turns.waits import model_of_breaker
from store.turns.worker_listing import ListedWorker, list_workers

#: Rows that each part reads, at most.
QUEUED_MAX, ENDED_MAX, CALLED_MAX, RUNNING_MAX = 10_000, 5_000, 1_000, 20
#: Characters of an error.
MESSAGE_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentQueue:
    """The turns of an agent that wait."""

    agent: str
    waiting: int
    #: Those of them that are due, and wait for nothing but a worker or the turn before them.
    due: int
    #: Seconds for which the oldest of these has been due.
    oldest_seconds: float | None
    #: A living worker serves the agent.
    is_served: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """The turns that wait for their next try, because of one kind of error."""

    kind: str
    #: The model that is away, where it is one, and known to all workers.
    model: str | None
    turns: int
    #: An example of what was said.
    message: str
    next_try_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOutcomes:
    """The turns of an agent that ended lately."""

    agent: str
    completed: int
    failed: int
    cancelled: int
    #: Seconds from the first claim to the end: of half of them, and of 95 percent of them, at most.
    median_seconds: float | None
    slow_seconds: float | None
    #: Seconds from when it was sent to the first claim, of half of them at most.
    median_wait_seconds: float | None
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The turns that failed lately in one way."""

    #: Of a model's error, the model's own.
    kind: str
    agent: str
    turns: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCalls:
    """The calls of a model in the turns that ended last."""

    model: str
    calls: int
    mean_seconds: float | None
    slowest_seconds: float | None
    prompt_tokens: int
    completion_tokens: int
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The turns, models and workers of a moment, and of the minutes before it."""

    at: datetime
    #: The minutes that "lately" is.
    minutes: float
    workers: Sequence[ListedWorker]
    #: How many run, by agent; and those of them that were sent first.
    running_by_agent: dict[str, int]
    running: Sequence[ListedTurn]
    queues: Sequence[AgentQueue]
    retrying: Sequence[Retrying]
    ended: Sequence[AgentOutcomes]
    failures: Sequence[Failure]
    models: Sequence[ModelCalls]
    #: Parts of which there was more than was read.
    partial: frozenset[str]


def read_overview(connection: Connection, *, minutes: float = 5, tenant: str | None = None) -> Overview:
    """Read what goes on, and what ended in the last minutes."""
    of_tenant = [] if tenant is None else [turns.c.tenant == tenant]
    running_by_agent = _count_running(connection, of_tenant)
    waiting = connection.execute(_select_waiting(of_tenant)).all()
    ended = connection.execute(_select_ended(connection, of_tenant, minutes)).all()
    served_agents = list_served_agents(connection)
    sizes = {"queues": (waiting, QUEUED_MAX), "ended": (ended, ENDED_MAX), "models": (ended, CALLED_MAX)}
    return Overview(
        at=connection.execute(select(clock())).scalar_one(),
        minutes=minutes,
        workers=list_workers(connection),
        running_by_agent=running_by_agent,
        running=[listed_turn_of(row) for row in connection.execute(_select_running(of_tenant))],
        queues=_queues_of(waiting, served_agents),
        retrying=_retrying_of(waiting),
        ended=_outcomes_of(ended),
        failures=_failures_of(ended),
        models=_read_model_calls(connection, ended),
        partial=frozenset(name for name, (rows, most) in sizes.items() if len(rows) >= most),
    )


def _count_running(connection: Connection, of_tenant: Sequence[ColumnElement[bool]]) -> dict[str, int]:
    counted = select(turns.c.agent, func.count().label("turns")).where(turns.c.state == TurnState.RUNNING, *of_tenant)
    return {row.agent: row.turns for row in connection.execute(counted.group_by(turns.c.agent).order_by(turns.c.agent))}


def _select_running(of_tenant: Sequence[ColumnElement[bool]]) -> Select[Any]:
    running = select_listed().where(turns.c.state == TurnState.RUNNING, *of_tenant)
    return running.order_by(turns.c.created_at).limit(RUNNING_MAX)


def _select_waiting(of_tenant: Sequence[ColumnElement[bool]]) -> Select[Any]:
    due_at = func.coalesce(turns.c.retry_at, turns.c.not_before, turns.c.created_at).label("due_at")
    columns = turns.c.agent, turns.c.retry_at, turns.c.waits_for, turns.c.local_process_id, *_error_columns()
    waiting = select(*columns, due_at, clock().label("now")).where(queued, *of_tenant)
    # In the order of an index, which has them by no tenant or agent: those that were notified longest ago come first.
    return waiting.order_by(turns.c.notified_at).limit(QUEUED_MAX)


def _select_ended(connection: Connection, of_tenant: Sequence[ColumnElement[bool]], minutes: float) -> Select[Any]:
    due_at = func.coalesce(turns.c.not_before, turns.c.created_at)
    columns = turns.c.id, turns.c.agent, turns.c.state, turns.c.finished_at, turns.c.cost, *_error_columns()
    ended = select(
        *columns,
        seconds_between(connection, turns.c.started_at, turns.c.finished_at).label("seconds"),
        seconds_between(connection, due_at, turns.c.started_at).label("waited_seconds"),
    ).where(turns.c.finished_at >= moment_now(plus_seconds=-60 * minutes), *of_tenant)
    return ended.order_by(turns.c.finished_at.desc()).limit(ENDED_MAX)


def _error_columns() -> Sequence[ColumnElement[Any]]:
    return turns.c.error_kind, func.substr(turns.c.error_message, 1, MESSAGE_CHARS).label("error_message")


def _kind_of(row: AnyRow) -> str:
    """The kind of a row's error: of a model's error the model's own, with which its message begins."""
    kind, _, rest = (row.error_message or "").partition(": ")
    return kind if row.error_kind == "model_error" and rest else row.error_kind or ""


def _queues_of(waiting: Iterable[AnyRow], served_agents: frozenset[str]) -> list[AgentQueue]:
    by_agent: dict[str, list[AnyRow]] = defaultdict(list)
    for row in waiting:
        if row.local_process_id is None:
            by_agent[row.agent].append(row)
    queues = []
    for agent, rows in by_agent.items():
        due_seconds = [(row.now - row.due_at).total_seconds() for row in rows if row.due_at <= row.now]
        oldest_seconds, is_served = max(due_seconds, default=None), agent in served_agents
        queues.append(
            AgentQueue(
                agent=agent, waiting=len(rows), due=len(due_seconds), oldest_seconds=oldest_seconds, is_served=is_served
            )
        )
    return sorted(queues, key=lambda queue: (-(queue.oldest_seconds or 0), queue.agent))


def _retrying_of(waiting: Iterable[AnyRow]) -> list[Retrying]:
    by_kind: dict[tuple[str, str], list[AnyRow]] = defaultdict(list)
    for row in waiting:
        if row.retry_at is not None and row.error_kind is not None:
            by_kind[_kind_of(row), model_of_breaker(row.waits_for) or ""].append(row)
    return [
        Retrying(
            kind=kind,
            model=model or None,
            turns=len(rows),
            message=rows[0].error_message,
            next_try_at=min(row.retry_at for row in rows),
        )
        for (kind, model), rows in sorted(by_kind.items())
    ]


def _outcomes_of(ended: Iterable[AnyRow]) -> list[AgentOutcomes]:
    by_agent: dict[str, list[AnyRow]] = defaultdict(list)
    for row in ended:
        by_agent[row.agent].append(row)
    return [_outcome_of(agent, rows) for agent, rows in sorted(by_agent.items(), key=lambda item: -len(item[1]))]


def _outcome_of(agent: str, rows: Sequence[AnyRow]) -> AgentOutcomes:
    states = Counter(row.state for row in rows)
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return AgentOutcomes(
        agent=agent,
        completed=states["completed"],
        failed=states["failed"],
        cancelled=states["cancelled"],
        median_seconds=_share(seconds, 50),
        slow_seconds=_share(seconds, 95),
        median_wait_seconds=_share([row.waited_seconds for row in rows if row.waited_seconds is not None], 50),
        cost=sum(row.cost or 0 for row in rows),
    )


def _share(seconds: Sequence[float], percent: int) -> float | None:
    """The value that so many percent of the values do not exceed."""
    if len(seconds) < 2:
        return float(seconds[0]) if seconds else None
    return float(quantiles(seconds, n=100, method="inclusive")[percent - 1])


def _failures_of(ended: Iterable[AnyRow]) -> list[Failure]:
    by_kind: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for row in ended:
        if row.state == TurnState.FAILED:
            by_kind[_kind_of(row), row.agent].append(row.finished_at)
    most_first = sorted(by_kind.items(), key=lambda item: (-len(item[1]), item[0]))
    return [Failure(kind=kind, agent=agent, turns=len(ends), last_at=max(ends)) for (kind, agent), ends in most_first]


def _read_model_calls(connection: Connection, ended: Sequence[AnyRow]) -> list[ModelCalls]:
    turn_ids = [row.id for row in ended[:CALLED_MAX]]
    seconds = seconds_between(connection, steps.c.started_at, steps.c.finished_at)
    tokens = {name: steps.c.usage[name].as_integer() for name in ("prompt_tokens", "completion_tokens")}
    calls = (
        select(
            steps.c.name.label("model"),
            func.count().label("calls"),
            func.avg(seconds).label("mean_seconds"),
            func.max(seconds).label("slowest_seconds"),
            *(func.coalesce(func.sum(column), 0).label(name) for name, column in tokens.items()),
            func.coalesce(func.sum(steps.c.cost), 0.0).label("cost"),
        )
        .where(steps.c.turn_id.in_(turn_ids), steps.c.kind == "model")
        .group_by(steps.c.name)
        .order_by(func.count().desc(), steps.c.name)
    )
    return [ModelCalls(**row) for row in connection.execute(calls).mappings()]
