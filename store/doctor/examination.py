"""An examination: check after check, each finding mended if that is asked for, and a report of it all.

What stays true: a check that breaks takes no other along; what could not be examined is never called
healthy; and what is mended is looked for again, so that the report says what is left.
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
from store.doctor.inspection import Look, Scope


class Outcome(StrEnum):
    """What became of a finding."""

    #: Nobody asked for a repair.
    FOUND = "found"
    REPAIRED = "repaired"
    #: Under the lock it was no longer so: somebody else went on with it.
    GONE = "gone"
    #: There is no repair: see the check's advice.
    LEFT = "left"
    #: The repair did not work.
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether it is still wrong."""
        return self not in (Outcome.REPAIRED, Outcome.GONE)


@dataclass(frozen=True, slots=True)
class Note:
    """A finding and what became of it."""

    finding: Finding
    outcome: Outcome
    #: What was done, or why it could not be; "" where nothing was tried.
    done: str = ""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "ids": dict(self.finding.ids),
            "detail": self.finding.detail,
            "repairable": self.finding.is_repairable,
            "outcome": self.outcome.value,
            "done": self.done,
        }


@dataclass(slots=True)
class Result:
    """What one check came to."""

    check: Check
    notes: list[Note] = field(default_factory=list)
    #: The bounds that left something out, by the names of the scope's fields.
    cut_by: set[str] = field(default_factory=set)
    #: Why it could not be examined; None where it was.
    problem: str | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether something is wrong, or could not be seen."""
        return self.problem is not None or any(note.outcome.is_open for note in self.notes)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "check": self.check.name,
            "means": self.check.means,
            "advice": self.check.advice,
            "findings": [note.to_json() for note in self.notes],
            "cut_by": sorted(self.cut_by),
            "problem": self.problem,
        }


@dataclass(slots=True, kw_only=True)
class Examination:
    """What is examined, where, and whether it is mended."""

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
        """Check after check, as each is made. Raises `InvalidInput` for a check that there is none of."""
        chosen, look = self.chosen(), self.look()
        return (self._examine(check, look) for check in chosen)

    def look(self) -> Look:
        """A look that begins now."""
        until = time.monotonic() + self.scope.seconds
        return Look(database=self.database, files=self.files, scope=self.scope, until=until)

    def chosen(self) -> list[Check]:
        """The checks that are made. Raises `InvalidInput`."""
        known = {check.name for check in CHECKS}
        for name in (*self.only, *self.skip):
            if name not in known:
                raise InvalidInput("check", f"is {name!r}", f"name one of {', '.join(sorted(known))}")
        return [
            check
            for check in CHECKS
            if (not self.only or check.name in self.only)
            and check.name not in self.skip
            and not (check.is_of_everybody and self.scope.tenant is not None)
        ]

    def _examine(self, check: Check, look: Look) -> Result:
        look.cut_by = set()
        result = Result(check)
        try:
            while not look.is_over():
                found = list(islice(check.find(look), self.scope.findings + 1))
                notes = [self._note(check, look, finding) for finding in found[: self.scope.findings]]
                # Those of an earlier round that are still wrong are found once more.
                result.notes = [note for note in result.notes if not note.outcome.is_open] + notes
                has_more = len(found) > self.scope.findings
                if not has_more or not any(note.outcome is Outcome.REPAIRED for note in notes):
                    look.cut_by |= {"findings"} if has_more else set()
                    break
        except OperatorError as error:
            result.problem = str(error)
        result.cut_by = look.cut_by
        return result

    def _note(self, check: Check, look: Look, finding: Finding) -> Note:
        if not self.repairs:
            return Note(finding, Outcome.FOUND)
        if check.repair is None or not finding.is_repairable:
            return Note(finding, Outcome.LEFT)
        try:
            done = check.repair(look, finding)
        except OperatorError as error:
            return Note(finding, Outcome.FAILED, str(error))
        return Note(finding, Outcome.GONE) if done is None else Note(finding, Outcome.REPAIRED, done)
