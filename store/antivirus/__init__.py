"""The seam to a virus scanner, and its implementation for ClamAV.

What stays true: a file is clean only when a scanner said so; a file that it will never read is not;
a scanner that is away or slow leaves it waiting, which is no verdict.
"""

from store.antivirus.factory import open_scanner
from store.antivirus.protocol import Scanner, Verdict

__all__ = ["Scanner", "Verdict", "open_scanner"]
