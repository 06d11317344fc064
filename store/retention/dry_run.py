"""What retention would delete now, and what stays only because of a hold or of work: nothing is changed.

What stays true: it asks the same questions as the run, of the same rows; a thread is counted once.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, func, select

from store.database.engine import Database
from store.database.statements import AnyRow
from store.retention import move_cut, policies
from store.retention.deletion import bytes_of
from store.retention.due import due
from store.settings import Settings
from store.tables import messages

T = TypeVar("T")

#: Threads under hold that a report names.
NAMED = 1_000


@dataclass(slots=True)
class Share:
    """What one policy would delete."""

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
    """What a run of retention would come to."""

    due: list[Share] = field(default_factory=list)
    #: Threads that a policy wants and a legal hold keeps: tenant, id, and the policy.
    held: list[dict[str, Any]] = field(default_factory=list)
    #: All of them are named.
    held_is_complete: bool = True
    #: Threads that are at work: their turn comes later.
    busy: int = 0
    #: No policy changed since the last run; else the next run may find more.
    is_complete: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Within:
    """Runs operations in one transaction, of which nothing stays."""

    connection: Connection

    def run(self, operation: Callable[[Connection], T]) -> T:
        return operation(self.connection)


def report(database: Database, settings: Settings) -> Report:
    """Look at everything that is due by the policies, with what these settings say for the installation.

    One transaction, of which nothing stays: a run of others goes on by their settings. It locks no thread;
    SQLite lets nobody else write until it ends.
    """

    def look(connection: Connection) -> Report:
        with connection.begin_nested() as nothing_stays:
            policies.mirror(connection, settings)
            made = _report(_Within(connection))
            made.is_complete = not policies.is_changed(connection)
            nothing_stays.rollback()
        return made

    return database.run(look)


def _report(database: _Within) -> Report:
    made = Report()
    shares: dict[str, Share] = {}
    for key in set(due(database)):
        look, size = database.run(partial(_look, key=key))
        if look.came_to == "busy":
            made.busy += 1
        elif look.came_to == "held" and len(made.held) == NAMED:
            made.held_is_complete = False
        elif look.came_to == "held":
            assert look.thread is not None
            made.held.append({"tenant": look.thread.tenant, "id": look.thread.id, "policy": look.policy})
        elif look.came_to == "cut":
            assert look.policy is not None
            assert size is not None
            shares.setdefault(str(look.policy), Share(look.policy)).add(size)
    made.due = [shares[name] for name in sorted(shares)]
    made.held.sort(key=lambda thread: (thread["tenant"], thread["id"]))
    return made


def _look(connection: Connection, *, key: int) -> tuple[move_cut.Look, AnyRow | None]:
    look = move_cut.look(connection, key, locks=False)
    if look.came_to != "cut":
        return look, None
    assert look.thread is not None
    assert look.reach is not None
    goes = select(
        func.count().label("messages"),
        func.coalesce(func.sum(bytes_of(connection, messages.c.content)), 0).label("bytes"),
        func.min(messages.c.created_at).label("oldest"),
    ).where(
        messages.c.thread_key == key,
        messages.c.seq > look.thread.retention_cut,
        messages.c.seq <= look.reach.cut,
    )
    found: Sequence[AnyRow] = connection.execute(goes).all()
    return look, found[0]
