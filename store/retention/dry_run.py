"""The dry run of retention: what would be deleted now, and what a hold or work keeps.

What stays true: nothing is changed; threads are inspected as by a run; a thread is counted once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, func, select

from store.database.engine import Database, Operation
from store.database.statements import AnyRow
from store.retention import move_cut, policies
from store.retention.deletion import bytes_of
from store.retention.due import find_due_threads
from store.settings import Settings
from store.tables import messages

P = ParamSpec("P")
T = TypeVar("T")

#: Threads under hold that a report names.
HELD_MAX_NAMED = 1_000


@dataclass(slots=True)
class PolicyShare:
    """Counts of what one policy would delete."""

    policy: dict[str, Any]
    threads: int = 0
    messages: int = 0
    #: Of the messages' text.
    bytes: int = 0
    oldest: datetime | None = None

    def add(self, row: AnyRow) -> None:
        """Count one thread more."""
        self.threads += 1
        self.messages += row.messages
        self.bytes += row.bytes
        if row.oldest is not None:
            self.oldest = row.oldest if self.oldest is None else min(self.oldest, row.oldest)


@dataclass(slots=True)
class Report:
    """The outcome that a run of retention would have."""

    due: list[PolicyShare] = field(default_factory=list)
    #: Threads that a policy wants and a legal hold keeps: tenant, id, and the policy.
    held: list[dict[str, Any]] = field(default_factory=list)
    #: All of them are named.
    held_is_complete: bool = True
    #: Threads that are at work: a later run inspects them again.
    busy: int = 0
    #: No policy changed since the last run; else the next run may find more.
    is_complete: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _OpenTransaction:
    """A `Runs` of one transaction that its owner rolls back."""

    connection: Connection

    def run(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return operation(self.connection, *args, **kwargs)


def build_report(database: Database, settings: Settings) -> Report:
    """Inspect all threads that are due by the policies, with these settings as the installation's policy.

    One transaction, which is rolled back: a run of another process keeps its own settings. It locks no
    thread; SQLite lets no other transaction write until it ends.
    """

    def inspect_and_roll_back(connection: Connection) -> Report:
        with connection.begin_nested() as savepoint:
            policies.mirror(connection, settings)
            report = _inspect_due_threads(_OpenTransaction(connection))
            report.is_complete = not policies.has_pending_rescans(connection)
            savepoint.rollback()
        return report

    return database.run(inspect_and_roll_back)


def _inspect_due_threads(database: _OpenTransaction) -> Report:
    report = Report()
    shares: dict[str, PolicyShare] = {}
    for key in set(find_due_threads(database)):
        inspection, size = database.run(_inspect_and_measure, key=key)
        if inspection.outcome == "busy":
            report.busy += 1
        elif inspection.outcome == "held" and len(report.held) == HELD_MAX_NAMED:
            report.held_is_complete = False
        elif inspection.outcome == "held":
            assert inspection.thread is not None
            report.held.append(
                {"tenant": inspection.thread.tenant, "id": inspection.thread.id, "policy": inspection.policy}
            )
        elif inspection.outcome == "cut":
            assert inspection.policy is not None
            assert size is not None
            shares.setdefault(str(inspection.policy), PolicyShare(inspection.policy)).add(size)
    report.due = [shares[name] for name in sorted(shares)]
    report.held.sort(key=lambda thread: (thread["tenant"], thread["id"]))
    return report


def _inspect_and_measure(connection: Connection, *, key: int) -> tuple[move_cut.Inspection, AnyRow | None]:
    inspection = move_cut.inspect_thread(connection, key, locks=False)
    if inspection.outcome != "cut":
        return inspection, None
    assert inspection.thread is not None
    assert inspection.cutoff is not None
    query = select(
        func.count().label("messages"),
        func.coalesce(func.sum(bytes_of(connection, messages.c.content)), 0).label("bytes"),
        func.min(messages.c.created_at).label("oldest"),
    ).where(
        messages.c.thread_key == key,
        messages.c.seq > inspection.thread.history_starts_after,
        messages.c.seq <= inspection.cutoff.to_seq,
    )
    rows: Sequence[AnyRow] = connection.execute(query).all()
    return inspection, rows[0]
