"""The interface of a virus scanner, and its verdict."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of a scanner on a file."""

    #: The scanner's name for what it found; None in a clean file.
    finding: str | None = None
    #: Why the scanner will never read this file; None where it did.
    refusal: str | None = None

    @property
    def is_clean(self) -> bool:
        return self.finding is None and self.refusal is None


class Scanner(Protocol):
    """Scans files for malware. It blocks, and may be called from any thread."""

    def scan(self, chunks: Iterable[bytes]) -> Verdict:
        """Read a file to its end and judge it. Raises `ScannerUnavailable` where there is no verdict."""
        ...
