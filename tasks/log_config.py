"""Logging of our processes: workers, beat and Flower write one form, whoever logs.

What stays true: an event of ours has a static name and ids as values; a line of Celery, or of the user's code, has its
text as the event, and its logger; one of another library its place (`tasks/foreign_lines.py`). Of an exception only
the type and the places stand in a line, since its message may quote anybody. Each line has a time, a level and the ids
of the turn that it belongs to, and no secret of this process.
"""

import ast
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from conversation.errors import OperatorError
from conversation.foreign_exceptions import name_of, trace_of
from conversation.log_lines import IDS, LEADING, SECRET_MIN_CHARS, mask, show_line
from store.settings import Settings
from tasks.checked_task import TaskBroke
from tasks.foreign_lines import EventBudget, LineHandler, describe_record

#: Celery tells of every task that it received and finished: with our own events that is twice.
QUIET_LOGGERS = ("celery.app.trace", "celery.worker.strategy", "httpx", "httpcore", "LiteLLM")
#: What says that a program works, and is waited for, whatever the level.
READY_LOGGERS = ("celery.apps.worker", "celery.beat")

_SECRET_NAME = re.compile(r"key|token|secret|password|passwd|credential|authorization|auth$", re.IGNORECASE)
_IN_URL = re.compile(r"://[^\s/@:]*:([^\s/@]+)@")
#: A longer `repr` of a task's arguments is none of ours.
ARGUMENTS_MAX_CHARS = 1000


def configure(settings: Settings, stream: Any = None) -> None:
    """Log events and what libraries log, in the form and from the level that the settings name.

    `stream` is a worker's, where code of agents runs, whose lines are bounded for it; None is standard error.
    """
    level = _level_of(settings)
    budget = [] if stream is None else [EventBudget()]
    stream = stream or sys.stderr
    logging.basicConfig(level=level, handlers=[_make_handler(settings, stream)], force=True)
    logging.captureWarnings(capture=True)
    if not settings.show_output:
        warnings.showwarning = _log_warning
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in READY_LOGGERS:
        logging.getLogger(name).setLevel(min(level, logging.INFO))
    logging.getLogger("celery.beat").addFilter(_is_no_tick)
    structlog.configure(
        processors=[*budget, *_common(), _describe_exception, _line_maker(settings)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # A line and its end in one write: other threads and processes have the same file.
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )


@contextmanager
def log_library(name: str, settings: Settings, *, beginning: str) -> Iterator[None]:
    """Log lines of one library that begin so on standard error, in a process whose log is not ours."""
    logger, handler = logging.getLogger(name), _make_handler(settings, sys.stderr)
    level_before = logger.level
    handler.addFilter(lambda record: str(record.msg).startswith(beginning))
    logger.addHandler(handler)
    logger.setLevel(_level_of(settings))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level_before)


def _level_of(settings: Settings) -> int:
    return logging.getLevelNamesMapping()[settings.log_level.upper()]


def _log_warning(  # noqa: PLR0917 - as Python calls it
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Log a warning by its type and its place: its text may quote what code was given."""
    del message, file, line
    structlog.get_logger(__name__).warning("code_warned", category=category.__name__, place=f"{filename}:{lineno}")


def _make_handler(settings: Settings, stream: Any) -> logging.Handler:
    """The handler of lines that others log, by `logging`."""
    handler = LineHandler(stream, own_modules=settings.agent_modules, shows_all=settings.show_output)
    line = _line_maker(settings)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, describe_record, _describe_task, *_common()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _describe_exception, line],
        )
    )
    return handler


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _line_maker(settings: Settings) -> Processor:
    """The last processor, which makes a line of an event."""
    render = json.dumps if settings.log_format == "json" else show_line
    options: dict[str, Any] = {"default": str} if settings.log_format == "json" else {}
    hide = partial(mask, secrets=_list_secrets(settings))

    def make_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
        leading = {name: event.pop(name, "") for name in LEADING}
        return hide(render({**leading, **event}, **options))

    return make_line


def _list_secrets(settings: Settings) -> list[str]:
    """The secrets of this process, the longest first: of its settings, and of variables that are named as ones."""
    values = [value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)]
    values += [value for name, value in os.environ.items() if _SECRET_NAME.search(name)]
    passwords = [password for value in (*values, *os.environ.values()) for password in _IN_URL.findall(value)]
    secrets = {value for value in (*values, *passwords, *map(unquote, passwords)) if len(value) >= SECRET_MIN_CHARS}
    # As they are, and as they stand in a line of JSON.
    return sorted(secrets | {json.dumps(value)[1:-1] for value in secrets}, key=len, reverse=True)


def _describe_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The type of an exception, and the places that it came through, in place of its text."""
    error = event.pop("exc_info", None)
    error = error[1] if isinstance(error, tuple) else sys.exception() if error is True else error
    event.pop("stack_info", None)
    if isinstance(error, BaseException):
        event["error"], event["trace"] = name_of(error), trace_of(error)
    if isinstance(error, OperatorError | TaskBroke):
        # Words of ours, which say what to do.
        event["problem"] = str(error)
    for name, value in event.items():
        if isinstance(value, BaseException):
            event[name] = name_of(value)
    return event


def _describe_task(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Celery's line of a task: an event of ours, since its text quotes what the task raised and its arguments."""
    data = getattr(event["_record"], "data", None)
    if event.get("logger") == "celery.app.trace" and isinstance(data, dict):
        event["event"] = "task_failed" if event["_record"].levelno >= logging.WARNING else "task_noted"
        event["task"], event["task_id"] = data.get("name"), data.get("id")
        event.update(_ids_in(str(data.get("kwargs", ""))))
    return event


def _ids_in(arguments: str) -> dict[str, str]:
    """The ids among a task's arguments, of which Celery has the `repr` alone; none where that is cut."""
    try:
        named = ast.literal_eval(arguments) if len(arguments) <= ARGUMENTS_MAX_CHARS else {}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        named = {}
    return {name: str(named[name]) for name in IDS if name in named} if isinstance(named, dict) else {}


def _is_no_tick(record: logging.LogRecord) -> bool:
    """Whether a line of beat is none that says that it ticks, each two seconds."""
    return not str(record.msg).startswith("Scheduler: Sending due task")
