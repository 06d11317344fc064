"""What a scanner has to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scanner says of a file."""

    #: What the scanner calls what it found; None in a clean file.
    finding: str | None = None
    #: Why the scanner will never look into this file; None where it did.
    refusal: str | None = None

    @property
    def is_clean(self) -> bool:
        return self.finding is None and self.refusal is None


class Scanner(Protocol):
    """Looks for what must reach nobody. It blocks, and may be called from any thread."""

    def scan(self, chunks: Iterable[bytes]) -> Verdict:
        """Read a file to its end and judge it. Raises `ScannerUnavailable` where there is no verdict."""
        ...
