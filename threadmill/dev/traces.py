"""Tracebacks as the author of an agent wants them: what is wrong, then the project's own lines, the innermost first.

What stays true: lines of Threadmill and of libraries are counted, not shown: the log has them.
"""

import linecache
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

#: A frame in a traceback of Python, and in a list of places.
_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>\S+))?')
_PLACE = re.compile(r"(?P<file>[^\n:]+):(?P<line>\d+) (?P<name>\S+)$")
#: The beginning of what a worker says that cannot start.
CANNOT_START = "the worker cannot start:"
TRACEBACK = "Traceback (most recent call last):"


def describe_trace(error: str, frames: Iterable[str], folder: Path) -> Iterator[str]:
    """The lines about an error, out of frames as a log has them."""
    yield error
    places = [match for frame in frames if (match := _FRAME.match(frame) or _PLACE.match(frame))]
    own_places = [match for match in reversed(places) if _is_own(match["file"], folder)]
    for match in own_places:
        linecache.checkcache(match["file"])
        source = linecache.getline(match["file"], int(match["line"])).strip()
        yield from _show_frame(match, folder, [source] if source else [])
    if not own_places:
        yield "  (no line of this project: the log has the others)"


def describe_failure(log: str, folder: Path) -> Iterator[str]:
    """The lines about a worker that could not start, out of the end of its log."""
    text = log.rpartition(CANNOT_START)[2].strip() if CANNOT_START in log else log.strip()
    # A chain of errors ends with the one that matters.
    head, mark, trace = text.rpartition(TRACEBACK)
    if not mark:
        yield from (head or text).splitlines()[-20:]
        return
    groups, rest = _group(trace.splitlines())
    yield from rest
    for match, lines in reversed(groups):
        if _is_own(match["file"], folder):
            yield from _show_frame(match, folder, lines)


def _group(lines: Sequence[str]) -> tuple[list[tuple[re.Match[str], list[str]]], list[str]]:
    """The frames of a traceback with their lines, and the lines about the error itself."""
    groups: list[tuple[re.Match[str], list[str]]] = []
    rest: list[str] = []
    for line in filter(None, lines):
        if match := _FRAME.match(line):
            groups.append((match, []))
        elif line.startswith(" ") and groups and not rest:
            groups[-1][1].append(line.removeprefix("    "))
        else:
            rest.append(line)
    return groups, rest


def _show_frame(match: re.Match[str], folder: Path, lines: Iterable[str]) -> Iterator[str]:
    name = match["name"]
    path = Path(match["file"]).relative_to(folder)
    yield f"  {path}:{match['line']}{f' in {name}' if name and name != '<module>' else ''}"
    yield from (f"      {line}" for line in lines)


def _is_own(file: str, folder: Path) -> bool:
    path = Path(file)
    return path.is_relative_to(folder) and not any(part.startswith(".") for part in path.relative_to(folder).parts)
