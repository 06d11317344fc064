"""The preview of a policy: the threads that are past it now, counted before an operator agrees to set it.

What stays true: counting costs milliseconds, or is an estimate and says so; a thread under legal hold is not counted.
What `keep_last` or a summary keeps is seen by a run alone: a thread is counted that may lose messages.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, not_, or_, select

from store.database.column_types import moment_ago
from store.database.estimates import estimate
from store.retention.policy import Policy
from store.tables import agents, threads

#: The planner's cost of a count, at most: some ten milliseconds.
COUNT_MAX_COST = 5_000
#: Agents that a refusal names.
KNOWN_AGENTS_MAX = 20


@dataclass(frozen=True, slots=True)
class Preview:
    """Counts of threads that are past a policy's rules now."""

    #: Threads that go whole.
    whole: int
    #: Threads that may lose messages.
    shortened: int
    #: There are too many to count: these are about as many.
    is_estimate: bool


def preview(connection: Connection, policy: Policy) -> Preview:
    """Count the threads of a policy's scope that are past its rules."""
    idle, beyond = [], []
    if policy.idle_days is not None:
        idle.append(threads.c.updated_at < moment_ago(days=policy.idle_days))
    if policy.max_age_days is not None:
        oldest_message = func.coalesce(threads.c.retained_from, threads.c.created_at)
        beyond.append(oldest_message < moment_ago(days=policy.max_age_days))
    if policy.max_messages is not None:
        beyond.append(threads.c.last_seq - threads.c.history_starts_after > policy.max_messages)
    whole, is_estimate = _count(connection, policy, idle)
    shortened, is_estimate_too = _count(connection, policy, beyond, without=idle)
    return Preview(whole, shortened, is_estimate or is_estimate_too)


def _count(
    connection: Connection,
    policy: Policy,
    rules: list[ColumnElement[bool]],
    *,
    without: list[ColumnElement[bool]] | None = None,
) -> tuple[int, bool]:
    if not rules:
        return 0, False
    scope = {threads.c.tenant: policy.tenant, threads.c.agent: policy.agent, threads.c.id: policy.thread_id}
    rows = select(threads.c.key).where(
        *(column == value for column, value in scope.items() if value),
        not_(threads.c.legal_hold),
        or_(*rules),
        *(not_(rule) for rule in without or ()),
    )
    if connection.dialect.name == "postgresql":
        planned = estimate(connection, rows)
        if planned.cost > COUNT_MAX_COST:
            return planned.rows, True
    return int(connection.execute(select(func.count()).select_from(rows.subquery())).scalar_one()), False


def is_agent_known(connection: Connection, agent: str) -> bool:
    """Whether a worker ever registered the agent, or a thread has it."""
    is_registered = select(agents.c.name).where(agents.c.name == agent)
    # No index has all threads by their agents: it is an operator who asks, about a name that nobody registered.
    of_thread = select(threads.c.key).where(threads.c.agent == agent).limit(1)
    return any(connection.execute(statement).first() is not None for statement in (is_registered, of_thread))


def list_known_agents(connection: Connection) -> list[str]:
    """The names of agents that workers registered, by name; no more than a refusal shows."""
    return list(connection.execute(select(agents.c.name).order_by(agents.c.name).limit(KNOWN_AGENTS_MAX)).scalars())


def is_thread_known(connection: Connection, tenant: str, thread_id: str) -> bool:
    """Whether a thread is stored."""
    statement = select(threads.c.key).where(threads.c.tenant == tenant, threads.c.id == thread_id)
    return connection.execute(statement).first() is not None
