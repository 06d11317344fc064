"""Where the code of an agent broke: places and types, for the log and for Flower.

What stays true: no message of an exception, no value and no line of source is in it, as they may quote what a user
wrote; nothing of the exception's own code runs; it has a length.
"""

import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

#: Exceptions of a chain that are told, and innermost places of each.
CHAIN_MAX, PLACES_MAX = 5, 20

_ROOT = Path(__file__).resolve().parents[1]
_LIBRARIES = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_OURS = {str(_ROOT / name) for name in ("agent", "conversation", "store", "tasks", "threadmill")}
#: Folders whose code is not the agent's: Python's, what is installed, and ours.
_FOREIGN = tuple(f"{folder}/" for folder in _LIBRARIES | _OURS)


def trace_agent_error(error: BaseException) -> list[str]:
    """The places that an error came through, what caused it first: the agent's own, and the innermost."""
    return [line for each in reversed(list(_chain(error))) for line in (*_places(each), _name(each))]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and what led to it; of a group, its first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(seen) < CHAIN_MAX:
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            current = current.exceptions[0]
        else:
            current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _places(error: BaseException) -> list[str]:
    frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
    own_frames = [frame for frame in frames[:-1] if not frame.filename.startswith(_FOREIGN)]
    chosen_frames = [*own_frames, *frames[-1:]][-PLACES_MAX:]
    return [f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in chosen_frames]


def _name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
