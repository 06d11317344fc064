"""The events of a worker's log, passed on to `threadmill dev` as JSON lines in a file.

What stays true: the worker's own log is as it would be without; what reads the file depends on names of events and
of their values alone, never on how a log line looks.
"""

import json
import os
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

#: Bytes of events that were read, after which the file begins anew.
MAX_BYTES = 5_000_000
#: Names the file, to workers that are to copy their events.
FILE_VARIABLE = "THREADMILL_DEV_EVENTS"

Event = MutableMapping[str, Any]


def copy_events() -> None:
    """Copy each event that this process logs to the file, from now on."""
    path = Path(os.environ[FILE_VARIABLE])

    def copy(_logger: object, _level: str, event: Event) -> Event:
        values = structlog.contextvars.get_contextvars() | dict(event)
        # One write to a file that is appended to: events of several processes do not mix. Gone, it is nobody's loss.
        with suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, default=str) + "\n")
        return event

    structlog.configure(processors=[copy, *structlog.get_config()["processors"]])


class EventFile:
    """The file, as `threadmill dev` reads it."""

    def __init__(self, path: Path) -> None:
        """Events of an earlier run are forgotten."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        self._offset = 0

    def read_new(self) -> Iterator[Event]:
        """Read the events that were written since the last time."""
        if not self.path.exists():
            self._offset = 0
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)
        if self._offset > MAX_BYTES:
            # What is written in this moment is shown nowhere, and stands in the log.
            self.path.write_text("")
            self._offset = 0
