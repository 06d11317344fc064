"""What a look for threads past their retention costs beside 100,000 that are not, against 1,000.

In both databases the same ten threads are idle and too old, and ten others too long. The plan is
printed, so that it can be seen that every access to `threads` goes through an index.
"""

from functools import partial
from statistics import median

import psycopg
from sqlalchemy import Connection, text

from benchmarks.stage import Figure, is_quick, seconds, settings_of, show, stack
from store.engine import Database
from store.retention import policies
from store.retention.due import due, groups_statement
from store.retention.policy import Policy

STORED = (1_000, 100_000)
DUE = 10
WARM_ROUNDS = 5
#: Each tenant is a step in an index: as many in both databases.
TENANTS = 20
STOCK = f"""
    insert into threads (tenant, id, metadata, created_at, updated_at, agent, last_seq)
    select 'tenant-' || n % {TENANTS}, :prefix || n, '{{}}', now() - make_interval(days => :days),
           now() - make_interval(days => :days), 'agent-' || n % 5, :count
    from generate_series(1, :threads) n
"""


def main() -> None:
    """Both databases in turns, round by round; the medians."""
    rounds = 20 if is_quick(__doc__) else 300
    with stack() as few, stack() as many:
        databases = [Database(settings_of(servers)) for servers in (few, many)]
        for database, stored in zip(databases, STORED, strict=True):
            fill(database, stored)
        costs: list[list[float]] = [[], []]
        for number in range(WARM_ROUNDS + rounds):
            for database, column in zip(databases, costs, strict=True):
                cost = seconds(partial(look, database))
                if number >= WARM_ROUNDS:
                    column.append(1000 * cost)
        print(plan(databases[1]))
        for database in databases:
            database.close()
    base, found = median(costs[0]), median(costs[1])
    show(
        f"A look for {2 * DUE} threads that are past their retention",
        [
            Figure(f"beside {STORED[0]:,} threads", base, "ms"),
            Figure(f"beside {STORED[1]:,} threads", found, "ms", base, at_most=1.5 * base),
        ],
    )


def look(database: Database) -> None:
    found = set(due(database))
    assert len(found) == 2 * DUE, found


def fill(database: Database, stored: int) -> None:
    """Threads within their time, the few past it, and the few that have too many messages."""
    policy = Policy(idle_days=30, max_age_days=20, max_messages=1000)
    database.run(partial(policies.put, policy=policy))
    with database.engine.begin() as connection:
        for prefix, threads, days, count in (
            ("young-", stored, 1, 40),
            ("old-", DUE, 40, 40),
            ("long-", DUE, 1, 2000),
        ):
            values = {"prefix": prefix, "threads": threads, "days": days, "count": count}
            connection.execute(text(STOCK), values)
    with psycopg.connect(database.settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("vacuum analyze threads")


def plan(database: Database) -> str:
    """How PostgreSQL finds what is due."""

    def explained(connection: Connection) -> list[str]:
        statement = groups_statement(("", "")).compile(connection, compile_kwargs={"literal_binds": True})
        return list(connection.exec_driver_sql(f"explain {statement}".replace("%%", "%")).scalars())

    lines = database.run(explained)
    accesses = sorted({line.strip() for line in lines if "Scan" in line and "threads" in line})
    assert not any("Seq Scan" in line for line in accesses), accesses
    return "\n".join(accesses)


if __name__ == "__main__":
    main()
