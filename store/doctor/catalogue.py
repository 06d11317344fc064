"""All checks, in the order in which they are made: first what stops work, then what is cheap, files last.

A counter that one repair leaves wrong is put right by a check behind it.
"""

from store.doctor.checks import (
    archives,
    branches,
    erasures,
    files,
    leases,
    merged_turns,
    schedules,
    sequences,
    tool_calls,
    upkeep,
    waiting,
    webhooks,
)
from store.doctor.finding import Check

CHECKS: tuple[Check, ...] = (
    *leases.CHECKS,
    *waiting.CHECKS,
    *merged_turns.CHECKS,
    *sequences.CHECKS,
    *branches.CHECKS,
    *tool_calls.CHECKS,
    *upkeep.CHECKS,
    *webhooks.CHECKS,
    *schedules.CHECKS,
    *erasures.CHECKS,
    *files.CHECKS,
    *archives.CHECKS,
)
