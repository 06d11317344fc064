"""All checks, in the order in which they are made: first what stops work, then what is cheap, files last.

A counter that one repair leaves wrong is put right by a check behind it.
"""

from store.doctor.checks import archives, erasures, files, leases, sequences, tool_calls, upkeep, waiting
from store.doctor.finding import Check

CHECKS: tuple[Check, ...] = (
    *leases.CHECKS,
    *waiting.CHECKS,
    *sequences.CHECKS,
    *tool_calls.CHECKS,
    *upkeep.CHECKS,
    *erasures.CHECKS,
    *files.CHECKS,
    *archives.CHECKS,
)
