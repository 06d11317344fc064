"""The supervisor of a running stack: it reports each part that died, and starts it again.

What stays true: a part that dies again and again is started later and later, so that it cannot use
up the machine; one that then stays up begins anew.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from conversation.backoff import backoff_seconds
from conversation.errors import OperatorError

#: Seconds before the first restart of a part, doubled with each death up to the maximum.
RESTART_FIRST_SECONDS = 1.0
RESTART_MAX_SECONDS = 60.0
#: Seconds of life after which earlier deaths no longer count.
RESET_SECONDS = 120.0


class Parts(Protocol):
    """The parts of a stack, as the supervisor sees them."""

    def dead_parts(self) -> list[str]: ...

    def restart(self, name: str) -> None: ...

    def log_tail(self, name: str) -> str: ...


@dataclass(slots=True)
class _PartState:
    deaths: int = 0
    died_at: float = 0.0
    #: None while it lives.
    restart_at: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Supervisor of the parts, at work whenever `check` is called."""

    parts: Parts
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _part_states: dict[str, _PartState] = field(default_factory=dict)

    def check(self) -> None:
        """Report each part that died since the last check, and restart each that is due."""
        for name in self.parts.dead_parts():
            part = self._part_states.setdefault(name, _PartState())
            if part.restart_at is None:
                self._record_death(name, part)
            elif self.clock() >= part.restart_at:
                self._restart(name, part)

    def _record_death(self, name: str, part: _PartState) -> None:
        now = self.clock()
        part.deaths = 1 if now - part.died_at > RESET_SECONDS else part.deaths + 1
        part.died_at = now
        wait = backoff_seconds(part.deaths - 1, first=RESTART_FIRST_SECONDS, maximum=RESTART_MAX_SECONDS)
        part.restart_at = now + wait
        self.say(f"{name} died and is started again in {wait:g} s; the end of its log:")
        self.say(indent(self.parts.log_tail(name)))

    def _restart(self, name: str, part: _PartState) -> None:
        part.restart_at = None
        try:
            self.parts.restart(name)
        except OperatorError as error:
            self.say(f"{name} could not be started: {str(error).splitlines()[0]}")
        else:
            self.say(f"{name} is up again")


def indent(text: str) -> str:
    """Indent the lines of another program, to tell them from ours."""
    return "\n".join(f"    {line}" for line in (text or "(nothing)").splitlines())
