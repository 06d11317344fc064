"""What the doctor looks for, and what was found: ids and words of ours, never what somebody said."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from store.database.statements import AnyRow
from store.doctor.inspection import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One contradiction."""

    #: What it is about: tenant, thread, turn, worker, seq, sha256 … by name.
    ids: Mapping[str, Any]
    #: What is wrong with it, in a line.
    detail: str
    #: Whether it can be mended here without a guess.
    is_repairable: bool
    #: The row that it was found by: what a repair looks for again. Never shown.
    row: AnyRow | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One kind of contradiction, and how it is mended."""

    #: Stable: scripts may count on it.
    name: str
    #: What is found, in a line.
    means: str
    #: What the repair does; or, where there is none, what a person can do.
    advice: str
    find: Callable[[Look], Iterator[Finding]]
    #: Says what it did; None where there was nothing to mend any more.
    repair: Callable[[Look, Finding], str | None] | None = None
    #: It is about no tenant's data: left out where only one tenant is looked at.
    is_of_everybody: bool = False
