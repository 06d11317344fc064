"""Checks of the doctor and their findings: ids and words of ours, never the text of a message."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from store.database.statements import AnyRow
from store.doctor.inspection import Inspection


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One contradiction."""

    #: The ids of the wrong rows: tenant, thread, turn, worker, seq, sha256 … by name.
    ids: Mapping[str, Any]
    #: What is wrong with it, in a line.
    detail: str
    #: Whether it can be repaired here without a guess.
    is_repairable: bool
    #: The row that it was found by, which a repair reads again. Never shown.
    row: AnyRow | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One kind of contradiction, and how it is repaired."""

    #: Stable: scripts may count on it.
    name: str
    #: What is found, in a line.
    means: str
    #: What the repair does; or, where there is none, what an operator can do.
    advice: str
    find: Callable[[Inspection], Iterator[Finding]]
    #: Returns what it did; None where there was nothing to repair any more.
    repair: Callable[[Inspection, Finding], str | None] | None = None
    #: The check is about no tenant's data: left out where only one tenant is inspected.
    is_global: bool = False
