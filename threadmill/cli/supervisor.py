"""Keeps the parts of a running stack alive: says which one died, and starts it again.

What stays true: a part that dies again and again is started later and later, so that it cannot use
up the machine; one that then stays up is forgiven.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from conversation.errors import OperatorError

#: Seconds before the first restart of a part, doubled with each death up to the most.
RESTART_FIRST_SECONDS = 1.0
RESTART_MOST_SECONDS = 60.0
#: Seconds of life after which earlier deaths no longer count.
FORGIVEN_SECONDS = 120.0


class Parts(Protocol):
    """What is watched: a stack, as this module sees it."""

    def dead(self) -> list[str]: ...

    def restart(self, name: str) -> None: ...

    def last_words(self, name: str) -> str: ...


@dataclass(slots=True)
class _Part:
    deaths: int = 0
    died_at: float = 0.0
    #: None while it lives.
    restart_at: float | None = None


@dataclass(slots=True)
class Watch:
    """Looks at the parts whenever it is told to."""

    parts: Parts
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _known: dict[str, _Part] = field(default_factory=dict)

    def look(self) -> None:
        """Notice who died since the last look, and start whoever is due."""
        for name in self.parts.dead():
            part = self._known.setdefault(name, _Part())
            if part.restart_at is None:
                self._died(name, part)
            elif self.clock() >= part.restart_at:
                self._restart(name, part)

    def _died(self, name: str, part: _Part) -> None:
        now = self.clock()
        part.deaths = 1 if now - part.died_at > FORGIVEN_SECONDS else part.deaths + 1
        part.died_at = now
        wait = min(RESTART_FIRST_SECONDS * 2 ** (part.deaths - 1), RESTART_MOST_SECONDS)
        part.restart_at = now + wait
        self.say(f"{name} died and is started again in {wait:g} s; its last words:")
        self.say(indented(self.parts.last_words(name)))

    def _restart(self, name: str, part: _Part) -> None:
        part.restart_at = None
        try:
            self.parts.restart(name)
        except OperatorError as error:
            self.say(f"{name} could not be started: {str(error).splitlines()[0]}")
        else:
            self.say(f"{name} is up again")


def indented(text: str) -> str:
    """Somebody else's lines, told apart from ours."""
    return "\n".join(f"    {line}" for line in (text or "(nothing)").splitlines())
