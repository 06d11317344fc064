"""How a command ends that cannot do what it was asked for: one line on standard error, and a status.

What stays true: what the caller or the operator can mend is told without a traceback, in the words of the
command line (`--idle-days`, not `idle_days`), and without passwords; a traceback is left to errors of our own.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import StringIO
from typing import Any

import typer
from typer.exceptions import TyperException

from conversation.errors import DatabaseRefused, DatabaseUnavailable, ThreadmillError, UserError
from threadmill.cli import running_stack
from threadmill.cli.output import print_note, print_problem

#: Exit status of a command that was refused, or failed.
FAILED = 1
#: Libraries whose errors speak of what surrounds a command: servers that are away, files of another kind.
SURROUNDINGS = frozenset({"alembic", "botocore", "celery", "kombu", "psycopg", "redis", "sqlalchemy", "sqlite3"})
#: Arguments of the library, and the parameter of a command that they come from where its name is another one.
OTHER_NAMES = {
    "attachments": "attach",
    "file": "attach",
    "keep_messages": "keep",
    "mapping.idempotency_key": "key",
    "mapping.text": "text",
    "mapping.thread_id": "thread",
    "mapping.user": "user",
    "open": "is_open",
    "thread_id": "thread",
    "time_zone": "zone",
    "turn_id": "turn_ids",
    "when_busy": "policy",
    "worker_id": "worker_ids",
}
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
#: Advice that only a call of the library can follow.
_PYTHON_CALL = re.compile(r",? or pass \w+=\w+|, as a timedelta")
#: A name of several words as Python spells it, where it is no value in quotes.
_PYTHON_NAME = re.compile(r"(?<!['\"\w])[a-z]+(?:_[a-z]+)+(?!['\"\w])")


def run(command: Callable[..., Any]) -> int:
    """Run the command that this process was started with, and return its exit status."""
    try:
        status = command(prog_name="threadmill", standalone_mode=False)
        # What is still in a buffer fails here, and not at the end of the interpreter.
        print(end="", flush=True)
    except Exception as error:  # noqa: BLE001 - raised again, where it is no matter of the surroundings
        return _report(error, _option_names(command))
    return status if isinstance(status, int) else 0


def _report(error: Exception, option_names: Mapping[str, str]) -> int:
    """Print what went wrong, and return the exit status. Raises what is an error of our own."""
    match error:
        case TyperException():
            return _report_usage(error)
        case typer.Abort():
            print_note("Aborted.")
        case DatabaseUnavailable() | DatabaseRefused():
            print_problem(running_stack.add_advice(str(error)))
        case ThreadmillError():
            print_problem(_rename_arguments(error, option_names))
        case BrokenPipeError():
            _discard_output()
        case OSError():
            print_problem(_describe_os_error(error))
        case _ if type(error).__module__.partition(".")[0] in SURROUNDINGS:
            print_problem(running_stack.add_advice(f"{type(error).__name__}: {_first_line(error)}"))
        case _:
            raise error
    return FAILED


def _report_usage(error: TyperException) -> int:
    text = StringIO()
    show = getattr(error, "show", None)
    if show is None:
        print_problem(error)
    else:
        show(text)
        print_note(text.getvalue(), end="")
    return error.exit_code


def _rename_arguments(error: ThreadmillError, option_names: Mapping[str, str]) -> str:
    """The text of an error, with options in the place of the library's arguments."""
    field, colon, rest = str(error).partition(": ")
    option = None
    if isinstance(error, UserError):
        option = option_names.get(field) or option_names.get(field.partition(".")[0])
    text = f"{option or field}{colon}{rest}"
    text = _PYTHON_CALL.sub("", text)
    return _PYTHON_NAME.sub(lambda match: option_names.get(match[0], match[0]), text)


def _option_names(command: Any) -> dict[str, str]:
    """The option or argument of the command that runs, as help shows it, by the argument of the library."""
    for word in sys.argv[1:]:
        command = getattr(command, "commands", {}).get(word, command)
    names = {
        parameter.name: max(parameter.opts, key=len)
        if parameter.param_type_name == "option"
        else parameter.name.upper()
        for parameter in command.params
        if parameter.name is not None
    }
    return names | {field: names[name] for field, name in OTHER_NAMES.items() if name in names}


def _discard_output() -> None:
    """Have the interpreter write nowhere what is left for a reader that is gone."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe_os_error(error: OSError) -> str:
    reason = error.strerror or _first_line(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return _CREDENTIALS.sub("//***@", lines[0]) if lines else "it says no more"
