"""The branches of a thread that is exported, and what each shares of one before it.

What stays true: what a branch shows is in its own lines or in those of a branch that it shares, from where it begins to
show it; messages that no branch shows any more are in none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from conversation.branch_address import MAIN, split_address
from store.database.statements import AnyRow
from store.history.row_ids import exact_address
from store.lineage import Lineage
from store.tables import threads


@dataclass(frozen=True, slots=True)
class ExportedBranch:
    """A branch as its part of an export says."""

    #: Its own one, whichever is chosen.
    address: str
    shared_to_seq: int
    #: What stands in its header besides.
    header: dict[str, Any] = field(default_factory=dict)


def list_exported_branches(connection: Connection, tenant: str, address: str) -> Sequence[ExportedBranch]:
    """List the branches of a thread that has any, its first one first; none where the address names one."""
    if split_address(address)[1] is not None:
        return ()
    of_first = select(threads).where(threads.c.tenant == tenant, threads.c.id == address)
    first = connection.execute(of_first).one_or_none()
    if first is None or first.deleted_at is not None:
        return ()
    of_thread = (threads.c.root_key == first.key) & threads.c.deleted_at.is_(None)
    rows = [first, *connection.execute(select(threads).where(of_thread).order_by(threads.c.key))]
    return [] if len(rows) == 1 else [_export(row, rows[:index], rows) for index, row in enumerate(rows)]


def _export(row: AnyRow, before: Sequence[AnyRow], rows: Sequence[AnyRow]) -> ExportedBranch:
    if not before:
        chosen = next((each for each in rows if each.key == row.chosen_key), row)
        return ExportedBranch(exact_address(row.id), 0, {"chosen": _branch_of(chosen)})
    header = {"branch_name": row.branch_name, "branch_origin": row.branch_origin, "shares": None}
    # What a policy hides of another one that this one still shows, this one says itself.
    sources = [each for each in before if each.history_starts_after <= row.history_starts_after]
    shared = [(find_common_end(row, each), each) for each in sources]
    to_seq, source = max(shared, key=lambda pair: pair[0], default=(0, None))
    if source is not None and to_seq > row.history_starts_after:
        header["shares"] = {"branch": _branch_of(source), "to_seq": to_seq}
        return ExportedBranch(exact_address(row.id), to_seq, header)
    return ExportedBranch(exact_address(row.id), 0, header)


def _branch_of(row: AnyRow) -> str:
    return split_address(row.id)[1] or MAIN


def find_common_end(one: AnyRow, other: AnyRow) -> int:
    """The last seq up to which two rows have the same history."""
    end = 0
    for part, other_part in zip(Lineage.of(one).parts, Lineage.of(other).parts, strict=False):
        if part.thread_key != other_part.thread_key:
            break
        end = min(part.to_seq, other_part.to_seq, other.last_seq)
        if part.to_seq != other_part.to_seq:
            break
    return end
