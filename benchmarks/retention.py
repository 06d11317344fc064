"""The cost of a scan for threads past their retention beside 100,000 that are not, against 1,000.

In both databases the same ten threads are idle and too old, and ten others too long.
"""

from sqlalchemy import Connection, text

from benchmarks.figures import Measures
from benchmarks.sweeps import compare
from store.database.engine import Database
from store.retention import policies
from store.retention.due import find_due_threads, groups_statement
from store.retention.policy import Policy

DUE_COUNT = 10
#: Each tenant is a step in an index: as many in both databases.
TENANTS = 20
STOCK = f"""
    insert into threads (tenant, id, metadata, created_at, updated_at, agent, last_seq)
    select 'tenant-' || n % {TENANTS}, :prefix || n, '{{}}', now() - make_interval(days => :days),
           now() - make_interval(days => :days), 'agent-' || n % 5, :count
    from generate_series(1, :threads) n
"""


def measure(*, quick: bool) -> Measures:
    """Compare the scans. Nothing is undone after one: it changes nothing."""
    return compare(rounds=10 if quick else 50, fill=fill, scan=scan, explain=explain, undo=lambda _: None)


def scan(database: Database) -> None:
    keys = set(find_due_threads(database))
    assert len(keys) == 2 * DUE_COUNT, keys


def fill(database: Database, stored: int) -> None:
    """Threads within their time, the few past it, and the few that have too many messages."""
    policy = Policy(idle_days=30, max_age_days=20, max_messages=1000)
    database.run(policies.put, policy=policy)
    with database.engine.begin() as connection:
        for prefix, threads, days, count in (
            ("young-", stored, 1, 40),
            ("old-", DUE_COUNT, 40, 40),
            ("long-", DUE_COUNT, 1, 2000),
        ):
            values = {"prefix": prefix, "threads": threads, "days": days, "count": count}
            connection.execute(text(STOCK), values)


def explain(database: Database) -> list[str]:
    def explain_groups(connection: Connection) -> list[str]:
        statement = groups_statement(("", "")).compile(connection, compile_kwargs={"literal_binds": True})
        return list(connection.exec_driver_sql(f"explain {statement}".replace("%%", "%")).scalars())

    return database.run(explain_groups)
