"""Counts of what a tenant has: exact where counting is quick, else about as many as PostgreSQL's statistics say.

What stays true: counting costs milliseconds, however much is stored; what is an estimate is named as one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, func, select

from conversation.turn import TurnState
from store.database.estimates import estimate
from store.database.sqlite import read_only
from store.tables import blobs, messages, threads, turns

#: The planner's cost of a count, at most: some ten milliseconds, for about 100,000 rows of an index.
COUNT_MAX_COST = 5_000
#: Files whose sizes are read for an estimate of all.
SIZES_SAMPLE = 10_000


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of the threads, messages, turns and blobs of a tenant."""

    threads: int
    messages: int
    turns: Mapping[str, int]
    blobs: int
    #: In bytes, each blob once.
    blob_bytes: int
    #: Names of those that are estimates, because there are too many to count.
    estimated: frozenset[str] = field(default=frozenset())


class _Counter:
    """A count after the other, and which of them were estimates."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._can_estimate = connection.dialect.name == "postgresql"
        self.estimated: set[str] = set()

    def count(self, name: str, rows: Select[Any], *, about: Select[Any] | None = None) -> int:
        """Count rows, or estimate them; `about` selects almost the same ones, and is easier to estimate."""
        if self._can_estimate:
            planned = estimate(self._connection, rows if about is None else about)
            if planned.cost > COUNT_MAX_COST:
                self.estimated.add(name)
                return planned.rows
        return int(self._connection.execute(select(func.count()).select_from(rows.subquery())).scalar_one())


@read_only
def stats(connection: Connection, tenant: str = "default") -> Stats:
    """Count everything that a tenant has."""
    counter = _Counter(connection)
    of_thread = threads.c.tenant == tenant
    stored = select(messages.c.seq).join(threads, messages.c.thread_key == threads.c.key).where(of_thread)
    visible = stored.where(messages.c.seq > threads.c.history_starts_after)
    return Stats(
        threads=counter.count("threads", select(threads.c.key).where(of_thread)),
        # The planner knows nothing of how many are hidden.
        messages=counter.count("messages", visible, about=stored),
        turns=_count_turns(counter, tenant),
        blobs=(blob_count := counter.count("blobs", select(blobs.c.sha256).where(blobs.c.tenant == tenant))),
        blob_bytes=_sum_sizes(connection, tenant, blob_count, is_estimate="blobs" in counter.estimated),
        estimated=frozenset(counter.estimated),
    )


def _count_turns(counter: _Counter, tenant: str) -> dict[str, int]:
    of_tenant = select(turns.c.arrival_seq).where(turns.c.tenant == tenant)
    counts = {state: counter.count("turns", of_tenant.where(turns.c.state == state)) for state in TurnState}
    return {state: count for state, count in counts.items() if count}


def _sum_sizes(connection: Connection, tenant: str, blob_count: int, *, is_estimate: bool) -> int:
    sizes = select(blobs.c.size).where(blobs.c.tenant == tenant)
    if not is_estimate:
        total = select(func.coalesce(func.sum(sizes.subquery().c.size), 0))
        return int(connection.execute(total).scalar_one())
    mean = select(func.coalesce(func.avg(sizes.limit(SIZES_SAMPLE).subquery().c.size), 0))
    return round(float(connection.execute(mean).scalar_one()) * blob_count)
