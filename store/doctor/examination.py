"""An examination: check after check, each finding repaired on request, and a report of it all.

What stays true: a check that breaks takes no other along; what could not be examined is never called
healthy; and a check that repaired something runs again, so that the report says what is left.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

from conversation.errors import InvalidInput, OperatorError
from store.blobs import BlobStore
from store.database.engine import Database
from store.doctor.catalogue import CHECKS
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Inspection, Scope


class Outcome(StrEnum):
    """The outcome of a finding."""

    #: No repair was asked for.
    FOUND = "found"
    REPAIRED = "repaired"
    #: Under the lock the finding was no longer true: a worker went on meanwhile.
    GONE = "gone"
    #: There is no repair: see the check's advice.
    LEFT = "left"
    #: The repair did not work.
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether the finding is still wrong."""
        return self not in (Outcome.REPAIRED, Outcome.GONE)


@dataclass(frozen=True, slots=True)
class Note:
    """A finding and its outcome."""

    finding: Finding
    outcome: Outcome
    #: What was done, or why it could not be; "" where nothing was tried.
    result: str = ""

    def to_json(self) -> dict[str, Any]:
        """The note as JSON."""
        return {
            "ids": dict(self.finding.ids),
            "detail": self.finding.detail,
            "repairable": self.finding.is_repairable,
            "outcome": self.outcome.value,
            "done": self.result,
        }


@dataclass(slots=True)
class Result:
    """The result of one check."""

    check: Check
    notes: list[Note] = field(default_factory=list)
    #: The bounds that left something out, by the names of the scope's fields.
    bounds_reached: set[str] = field(default_factory=set)
    #: Why it could not be examined; None where it was.
    problem: str | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether something is wrong, or could not be examined."""
        return self.problem is not None or any(note.outcome.is_open for note in self.notes)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "check": self.check.name,
            "means": self.check.means,
            "advice": self.check.advice,
            "findings": [note.to_json() for note in self.notes],
            "bounds_reached": sorted(self.bounds_reached),
            "problem": self.problem,
        }


@dataclass(slots=True, kw_only=True)
class Examination:
    """An examination of a store: where, by which checks, and whether findings are repaired."""

    database: Database
    files: BlobStore
    scope: Scope = field(default_factory=Scope)
    #: Mend what can be mended.
    repairs: bool = False
    #: Names of checks; all that the scope allows if there are none.
    only: Sequence[str] = ()
    #: Names of checks that are left out.
    skip: Sequence[str] = ()

    def run(self) -> Iterator[Result]:
        """Run check after check, and yield the result of each. Raises `InvalidInput` for an unknown check."""
        checks, inspection = self.choose_checks(), self.start_inspection()
        return (self._examine(check, inspection) for check in checks)

    def start_inspection(self) -> Inspection:
        """Begin an inspection now: its time runs from here."""
        deadline = time.monotonic() + self.scope.seconds
        return Inspection(database=self.database, files=self.files, scope=self.scope, deadline=deadline)

    def choose_checks(self) -> list[Check]:
        """Choose the checks to run. Raises `InvalidInput`."""
        check_names = {check.name for check in CHECKS}
        for name in (*self.only, *self.skip):
            if name not in check_names:
                raise InvalidInput("check", f"is {name!r}", f"name one of {', '.join(sorted(check_names))}")
        return [
            check
            for check in CHECKS
            if (not self.only or check.name in self.only)
            and check.name not in self.skip
            and not (check.is_global and self.scope.tenant is not None)
        ]

    def _examine(self, check: Check, inspection: Inspection) -> Result:
        inspection.bounds_reached = set()
        result = Result(check)
        try:
            while not inspection.is_over():
                findings = list(islice(check.find(inspection), self.scope.findings + 1))
                notes = [
                    self._handle_finding(check, inspection, finding) for finding in findings[: self.scope.findings]
                ]
                # Findings of an earlier round that are still wrong are found once more.
                result.notes = [note for note in result.notes if not note.outcome.is_open] + notes
                has_more = len(findings) > self.scope.findings
                if not has_more or not any(note.outcome is Outcome.REPAIRED for note in notes):
                    inspection.bounds_reached |= {"findings"} if has_more else set()
                    break
        except OperatorError as error:
            result.problem = str(error)
        result.bounds_reached = inspection.bounds_reached
        return result

    def _handle_finding(self, check: Check, inspection: Inspection, finding: Finding) -> Note:
        if not self.repairs:
            return Note(finding, Outcome.FOUND)
        if check.repair is None or not finding.is_repairable:
            return Note(finding, Outcome.LEFT)
        try:
            result = check.repair(inspection, finding)
        except OperatorError as error:
            return Note(finding, Outcome.FAILED, str(error))
        return Note(finding, Outcome.GONE) if result is None else Note(finding, Outcome.REPAIRED, result)
