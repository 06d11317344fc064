"""Tokens and costs of turns and summaries: sums over the turns that ended in a time, by whatever is asked for.

What stays true: a turn counts when it ends, with all of its attempts, and at no other time; what was deleted since
is in no sum. By model, the journal's calls are summed instead of the turns. A sum over more turns than a database
reads in a few seconds is refused before it begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    Integer,
    RowMapping,
    Select,
    Table,
    Text,
    case,
    cast,
    false,
    func,
    literal,
    select,
    union_all,
)

from conversation.errors import InvalidInput
from conversation.turn import FINAL_STATES
from conversation.validation import check_moment, check_tenant
from store.database.estimates import estimate
from store.database.time_math import day_of, seconds_between
from store.tables import steps, summaries, threads, turns
from store.turns.turn_user import thread_user, turn_user

#: Turns that one sum reads, at most, about: a few seconds.
TURNS_MAX = 2_000_000
#: Rows of a sum, the most expensive first.
ROWS_MAX = 1_000
#: What stands for the agent of a summary.
SUMMARIES = "(summaries)"
_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")


class UsageKey(StrEnum):
    """The key by which sums are made."""

    TENANT = "tenant"
    USER = "user"
    AGENT = "agent"
    MODEL = "model"
    #: In UTC.
    DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFilter:
    """The conditions of what is summed."""

    since: datetime
    until: datetime | None = None
    tenant: str | None = None
    user: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSum:
    """A sum."""

    #: The values that it is the sum of, by key.
    keys: Mapping[str, str | None]
    #: Turns that ended and summaries; by model, its calls.
    count: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    #: In US dollars, of those with a price.
    cost: float
    #: Those that used tokens and have no price.
    unpriced: int
    #: Seconds of a turn at work, or of a model call, in the mean; None where nothing was timed.
    mean_seconds: float | None


def sum_usage(connection: Connection, filters: UsageFilter, by: Sequence[UsageKey]) -> list[UsageSum]:
    """Sum what was used, the most expensive first. Raises `InvalidInput` where too many turns would be read."""
    keys = list(dict.fromkeys(by))
    _check_size(connection, filters)
    source = _select_calls if UsageKey.MODEL in keys else _select_turns
    used = union_all(source(connection, filters), _select_summaries(filters)).subquery("used")
    day = day_of(connection, used.c.ended_at)
    columns = [(day if key is UsageKey.DAY else used.c[key.value]).label(f"key_{key.value}") for key in keys]
    sums = [func.coalesce(func.sum(used.c[name]), 0).label(name) for name in (*_TOKENS, "failed", "cost", "unpriced")]
    mean = func.avg(used.c.seconds).label("mean_seconds")
    statement = select(*columns, func.count().label("count"), mean, *sums).select_from(used).group_by(*columns)
    rows = connection.execute(statement.order_by(*_order(columns, sums)).limit(ROWS_MAX)).mappings()
    return [_sum_of(row, keys) for row in rows]


def _order(columns: Sequence[ColumnElement[Any]], sums: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    by_name = {column.name: column for column in sums}
    return [by_name["cost"].desc(), by_name["prompt_tokens"].desc(), *columns]


def _sum_of(row: RowMapping, keys: Sequence[UsageKey]) -> UsageSum:
    names = ("count", "failed", *_TOKENS, "unpriced")
    return UsageSum(
        keys={key.value: row[f"key_{key.value}"] for key in keys},
        cost=float(row["cost"]),
        mean_seconds=None if row["mean_seconds"] is None else float(row["mean_seconds"]),
        **{name: int(row[name]) for name in names},
    )


def _check_size(connection: Connection, filters: UsageFilter) -> None:
    if connection.dialect.name != "postgresql":
        return
    rows = estimate(connection, select(turns.c.arrival_seq).where(*_turn_conditions(filters))).rows
    if rows > TURNS_MAX:
        problem = f"and what else is asked for holds about {rows} turns; one sum reads {TURNS_MAX}"
        raise InvalidInput("since", problem, "ask for a shorter time, or for one tenant")


def _select_turns(connection: Connection, filters: UsageFilter) -> Select[Any]:
    seconds = seconds_between(connection, turns.c.started_at, turns.c.finished_at)
    labels = _turn_labels(literal(None, Text), seconds, turns.c.state == "failed")
    joined = turns.join(threads, turns.c.thread_key == threads.c.key)
    return _with_tokens(labels, turns).select_from(joined).where(*_conditions(filters))


def _select_calls(connection: Connection, filters: UsageFilter) -> Select[Any]:
    """The model calls of the turns that ended in the time."""
    seconds = seconds_between(connection, steps.c.started_at, steps.c.finished_at)
    labels = _turn_labels(steps.c.name, seconds, steps.c.state == "started")
    joined = turns.join(threads, turns.c.thread_key == threads.c.key).join(steps, steps.c.turn_id == turns.c.id)
    return _with_tokens(labels, steps).select_from(joined).where(*_conditions(filters), steps.c.kind == "model")


def _turn_labels(
    model: ColumnElement[Any], seconds: ColumnElement[Any], is_failed: ColumnElement[bool]
) -> dict[str, ColumnElement[Any]]:
    return {
        "tenant": turns.c.tenant,
        "user": turn_user(),
        "agent": turns.c.agent,
        "model": model,
        "ended_at": turns.c.finished_at,
        "seconds": seconds,
        "failed": cast(is_failed, Integer),
    }


def _conditions(filters: UsageFilter) -> list[ColumnElement[bool]]:
    """The conditions of turns that count, the user's own among them: a thread is joined."""
    return [*_turn_conditions(filters), *([] if filters.user is None else [turn_user() == filters.user])]


def _turn_conditions(filters: UsageFilter) -> list[ColumnElement[bool]]:
    conditions = [turns.c.state.in_(sorted(FINAL_STATES)), *_time_conditions(turns.c.finished_at, filters)]
    if filters.tenant is not None:
        conditions.append(turns.c.tenant == check_tenant(filters.tenant))
    if filters.agent is not None:
        conditions.append(turns.c.agent == filters.agent)
    return conditions


def _select_summaries(filters: UsageFilter) -> Select[Any]:
    """The summaries that were written in the time: their threads' users and tenants paid for them."""
    labels = {
        "tenant": threads.c.tenant,
        "user": thread_user(),
        "agent": literal(SUMMARIES),
        "model": summaries.c.model,
        "ended_at": summaries.c.created_at,
        "seconds": literal(None, Float),
        "failed": literal(0, Integer),
    }
    conditions = _time_conditions(summaries.c.created_at, filters)
    if filters.tenant is not None:
        conditions.append(threads.c.tenant == filters.tenant)
    if filters.user is not None:
        conditions.append(thread_user() == filters.user)
    if filters.agent not in (None, SUMMARIES):
        conditions.append(false())
    joined = summaries.join(threads, summaries.c.thread_key == threads.c.key)
    return _with_tokens(labels, summaries).select_from(joined).where(*conditions)


def _with_tokens(labels: Mapping[str, ColumnElement[Any]], source: Table) -> Select[Any]:
    tokens = {name: cast(source.c.usage[name].as_integer(), BigInteger) for name in _TOKENS}
    has_no_price = source.c.cost.is_(None) & (tokens["prompt_tokens"] > 0)
    costs = {"cost": source.c.cost, "unpriced": case((has_no_price, 1), else_=0)}
    columns: dict[str, ColumnElement[Any]] = {**labels, **tokens, **costs}
    return select(*(column.label(name) for name, column in columns.items()))


def _time_conditions(ended_at: ColumnElement[Any], filters: UsageFilter) -> list[ColumnElement[bool]]:
    conditions = [ended_at >= check_moment("since", filters.since)]
    if filters.until is not None:
        conditions.append(ended_at < check_moment("until", filters.until))
    return conditions
