"""What may happen next, as values: whoever reads a failing run reads its story.

What stays true: each names all that it needs, ids included; nothing is left to chance once it is drawn.
"""

from dataclasses import dataclass
from enum import Enum

from tests.integration.store.turns.model_based.operations import Operation, Send
from tests.integration.store.turns.model_based.values import Process


class Fate(Enum):
    """What becomes of a process around its commit."""

    LIVES = "it commits and is told"
    DIES_BEFORE = "it dies before its commit"
    DIES_AFTER = "it commits, and is never told"
    TRIES_AGAIN = "it commits, is not told, and runs the same again"


@dataclass(frozen=True)
class Runs:
    """Somebody runs one operation."""

    operation: Operation
    fate: Fate = Fate.LIVES


@dataclass(frozen=True)
class Race:
    """Two at once: the first is held up after some of its statements, the second runs meanwhile."""

    first: Operation
    second: Operation
    after: int
    #: False: the first one's process dies before its commit.
    commits: bool


@dataclass(frozen=True)
class TimePasses:
    seconds: int
    #: The hearts of all that live go on meanwhile; else everybody stands still.
    beating: bool


@dataclass(frozen=True)
class Starts:
    """A worker, or a library caller, enters itself."""

    process: Process
    fate: Fate


@dataclass(frozen=True)
class Dies:
    """SIGKILL: it never acts again, and its row stays. `lapses`: so long that its leases are over."""

    process: Process
    lapses: bool


@dataclass(frozen=True)
class OpensSend:
    """A producer sends within a long transaction of its own: its turn takes its place in the order now."""

    send: Send


@dataclass(frozen=True)
class ClosesSend:
    """That transaction ends: now others see the turn, or never."""

    commits: bool


Event = Runs | Race | TimePasses | Starts | Dies | OpensSend | ClosesSend
