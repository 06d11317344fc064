"""Lines of the log that others write: libraries, and what users' own code logs.

What stays true: a line of the user's own code has its text, which is the user's to choose. One of a library that
handles messages has none, only its place, since libraries quote what they are given; below a warning it is not written
at all. No line quotes an exception that it was given. Lines have a length, and a turn so many of them.
"""

import copy
import logging
import sysconfig
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from conversation.foreign_exceptions import name_of, shorten
from tasks.line_budget import LineBudget

#: Libraries that see no message: what they say is for the operator.
TRUSTED = frozenset({"alembic", "amqp", "asyncio", "billiard", "celery", "concurrent", "flower", "kombu",
                     "tornado", "uvicorn"})  # fmt: skip
#: Characters of a line's text.
TEXT_MAX_CHARS = 4_000
#: Where the text of asyncio's ends that is its own: behind it stand the values of what ran.
_QUOTES = "\n<([{\"':"

_SITE = tuple(f"{sysconfig.get_path(name)}/" for name in ("purelib", "platlib"))
_STANDARD = tuple(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib"))


class LineHandler(logging.StreamHandler[Any]):
    """The handler of what is logged by `logging`, by whomever."""

    def __init__(self, stream: Any, *, own_modules: Collection[str] = (), shows_all: bool = False) -> None:
        """`own_modules` are the user's; `shows_all` writes what libraries say, too."""
        super().__init__(stream)
        self._own_packages = {module.partition(".")[0] for module in own_modules}
        self._shows_all = shows_all
        self._budget = LineBudget()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, if it is one to write."""
        is_withheld = not self._shows_all and self._is_of_library(record)
        if is_withheld and record.levelno < logging.WARNING:
            return
        left_out = self._budget.admit(_turn_id() or record.name)
        if left_out is None:
            return
        # A copy: other handlers have the record, too.
        record = copy.copy(record)
        record.args = _without_errors(record.args)
        record.__dict__.update(is_withheld=is_withheld, left_out=left_out)
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Nothing: logging's own prints the line that it could not make, with all that was to stand in it."""

    def _is_of_library(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] in TRUSTED:
            return False
        site = next((folder for folder in _SITE if record.pathname.startswith(folder)), None)
        if site is None:
            return record.pathname.startswith(_STANDARD)
        return Path(record.pathname.removeprefix(site)).parts[0].removesuffix(".py") not in self._own_packages


def describe_record(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The text of a line as it may be written, of one whose text may not, its place; and how many were left out."""
    record = event["_record"]
    if getattr(record, "is_withheld", False):
        event["event"], event["place"] = "library_logged", f"{record.pathname}:{record.lineno}"
    elif event.get("logger") in {"asyncio", "concurrent.futures"}:
        text = str(event["event"])
        end = min((position for quote in _QUOTES if (position := text.find(quote)) >= 0), default=len(text))
        event["event"] = text[:end].rstrip()
    event["event"] = shorten(str(event["event"]), TEXT_MAX_CHARS)
    return count_left_out(event, getattr(record, "left_out", 0))


def count_left_out(event: EventDict, left_out: int) -> EventDict:
    """Say with a line how many before it were left out."""
    if left_out:
        event["lines_left_out"] = left_out
    return event


class EventBudget:
    """A processor that leaves out events that come in a flood: of one turn, or, of none, of one name."""

    def __init__(self) -> None:
        self._budget = LineBudget()

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        left_out = self._budget.admit(str(event.get("turn") or _turn_id() or event["event"]))
        if left_out is None:
            raise structlog.DropEvent
        return count_left_out(event, left_out)


def _turn_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("turn", ""))


def _without_errors(arguments: Any) -> Any:
    """The values of a line, with the types of exceptions in place of these: their texts quote anybody."""
    if isinstance(arguments, Mapping):
        return {name: _without_error(value) for name, value in arguments.items()}
    return tuple(map(_without_error, arguments)) if isinstance(arguments, tuple) else arguments


def _without_error(value: object) -> object:
    return name_of(value) if isinstance(value, BaseException) else value
