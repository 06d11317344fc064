"""The logs of the embedded stack, read as one: the lines of all programs in the order of time, and those that come.

What stays true: a line that is no event, as a program writes that dies while it starts, is read, too. It has the time
of the line before it.
"""

import heapq
import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from conversation.log_lines import show_line
from threadmill.embedded.log_file import parts_of

#: Seconds between two looks for new lines.
POLL_SECONDS = 0.2
LEVELS = ("debug", "info", "warning", "error", "critical")
#: Servers write no events; they have a folder each.
SERVERS = ("postgres", "valkey")
_LEVEL_IN_TEXT = re.compile(r"\b(DEBUG|INFO|LOG|NOTICE|WARNING|ERROR|FATAL|PANIC|CRITICAL)\b")
_LEVEL_OF_WORD = {"LOG": "info", "NOTICE": "info", "FATAL": "critical", "PANIC": "critical"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of one program."""

    service: str
    #: As it is in the file.
    raw: str
    #: When it was written, in ISO 8601; "" where nothing before it in its file has a time.
    timestamp: str
    #: The event that it is; None for another line.
    event: Mapping[str, Any] | None = None

    @property
    def level(self) -> str | None:
        """How grave it is; None for a line that does not say so."""
        if self.event is not None:
            return str(self.event.get("level", "info"))
        word = _LEVEL_IN_TEXT.search(self.raw)
        return _LEVEL_OF_WORD.get(word[1], word[1].lower()) if word else None

    def text(self) -> str:
        """The line for people."""
        return self.raw if self.event is None else show_line(self.event)

    def to_json(self) -> dict[str, Any]:
        """The line for programs."""
        event = {"timestamp": self.timestamp, "event": self.raw} if self.event is None else self.event
        return {"service": self.service, **event}


class Matches(Protocol):
    """Whether a line is wanted."""

    def __call__(self, line: LogLine) -> bool: ...


def choose(*, turn: str | None = None, level: str | None = None) -> Matches:
    """The check for lines that name a turn, and are of a level or a graver one."""
    levels = LEVELS[LEVELS.index(level) :] if level else ()
    return lambda line: (turn is None or turn in line.raw) and (level is None or line.level in levels)


def find_logs(directory: Path, services: Collection[str] = ()) -> dict[str, Path]:
    """The logs of a stack's folder by the names of their services: of the programs, unless servers are named."""
    logs = {path.stem: path for path in sorted((directory / "logs").glob("*.log"))}
    logs |= {name: path for name in SERVERS if name in services and (path := directory / name / "server.log").exists()}
    return {name: path for name, path in logs.items() if not services or name in services}


def read_lines(logs: Mapping[str, Path], ends: Mapping[str, int] | None = None) -> Iterator[LogLine]:
    """The lines that are there, in the order of time; of a log that has an end, in bytes, those before it."""
    ends = ends or {}
    by_service = (_read(service, log, ends.get(service)) for service, log in logs.items())
    return heapq.merge(*by_service, key=lambda line: line.timestamp)


def _read(service: str, log: Path, end: int | None) -> Iterator[LogLine]:
    timestamp = ""
    for path in parts_of(log):
        position = 0
        with path.open("rb") as file:
            for raw in file:
                position += len(raw)
                if path == log and end is not None and position > end:
                    return
                line = parse_line(service, raw.decode(errors="replace").rstrip("\n"), timestamp)
                timestamp = line.timestamp
                yield line


def parse_line(service: str, raw: str, last_timestamp: str) -> LogLine:
    """The line that this text of a file is."""
    if raw.startswith("{"):
        try:
            event = json.loads(raw)
        except ValueError:
            event = None
        if isinstance(event, dict) and "event" in event:
            return LogLine(service=service, raw=raw, timestamp=str(event.get("timestamp", "")), event=event)
    return LogLine(service=service, raw=raw, timestamp=last_timestamp)


@dataclass(slots=True)
class _Tail:
    """The end of one log, which goes on."""

    service: str
    path: Path
    position: int = 0
    rest: bytes = b""
    timestamp: str = ""

    def read(self) -> Iterator[LogLine]:
        """The whole lines that came since the last look."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            if self.path.stat().st_size < self.position:
                # It was set aside.
                self.position, self.rest = 0, b""
            file.seek(self.position)
            *lines, self.rest = (self.rest + file.read()).split(b"\n")
            self.position = file.tell()
        for raw in lines:
            line = parse_line(self.service, raw.decode(errors="replace"), self.timestamp)
            self.timestamp = line.timestamp
            yield line


@dataclass(slots=True)
class Follower:
    """The lines that come from now on."""

    find: Callable[[], Mapping[str, Path]]
    _tails: dict[str, _Tail] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for service, path in self.find().items():
            self._tails[service] = _Tail(service, path, position=path.stat().st_size)

    def positions(self) -> dict[str, int]:
        """The bytes of each log that were seen."""
        return {service: tail.position for service, tail in self._tails.items()}

    def poll(self) -> list[LogLine]:
        """The lines that came since the last look, in the order of time; a program may be new."""
        for service, path in self.find().items():
            self._tails.setdefault(service, _Tail(service, path))
        lines = [line for tail in self._tails.values() for line in tail.read()]
        return sorted(lines, key=lambda line: line.timestamp)

    def follow(self) -> Iterator[LogLine]:
        """Each line as it comes, for ever."""
        while True:
            yield from self.poll()
            time.sleep(POLL_SECONDS)
