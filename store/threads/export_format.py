"""Lines of an export as they are read: numbered, and checked field by field.

What stays true: whatever is wrong with a line raises `InvalidInput`, and its field begins with the
line's number; nothing that a database would refuse gets past here.
"""

import json
import re
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from conversation.arguments import INTEGER_MAX, check_whole_number, iterate
from conversation.errors import Fault, InvalidInput
from conversation.ids import is_our_id
from conversation.message import Usage
from conversation.quotation import quote
from conversation.task_contract import PRIORITY_MAX
from conversation.thread import TITLE_MAX_CHARS
from conversation.turn import FINAL_STATES
from conversation.validation import check_id, check_metadata, check_tenant, check_text, moment_from_json
from conversation.when_busy import WhenBusy, check_when_busy
from store.threads.import_bounds import FILES_MAX

#: The kinds of lines, in the order in which they come: a message may name a turn, a turn names none.
KINDS = ("thread", "context", "summary", "turn", "message", "end")
#: A message of a million characters, each written as an escape, and its other fields.
LINE_MAX_CHARS = 16 * 1024 * 1024

#: Lines of one file, and characters of all of them, at most.
LINES_MAX, FILE_MAX_CHARS = 1_000_000, 8 * 1024**3
_HASH = re.compile(r'"sha256":\s?"([0-9a-f]{64})"')
#: The highest seq that a thread may come with: far below what a bigint holds, so that it may go on.
SEQ_MAX = 2**53

_FIX = "pass the line as export_thread wrote it"

Check = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an export, and its number."""

    number: int
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """A value that has to be there. Raises `InvalidInput`."""
        if name not in self.values:
            raise InvalidInput(name, "is missing", _FIX)
        return self.values[name]


async def spool_lines(lines: Iterable[str] | AsyncIterable[str], spool: IO[str]) -> None:
    """Write lines that may come only once, or slowly, to a file: the transaction is short and repeatable.

    Raises `InvalidInput` for what is no text, and for more than one file may have.
    """
    spooled = _Spool(spool)
    if isinstance(lines, AsyncIterable):
        async for line in lines:
            spooled.write(line)
    else:
        for line in iterate("lines", lines):
            spooled.write(line)


@dataclass(slots=True)
class _Spool:
    """The file that lines are written to, and what it has so far."""

    file: IO[str]
    lines: int = 0
    chars: int = 0
    hashes: set[str] = field(default_factory=set)
    has_begun: bool = False

    def write(self, line: object) -> None:
        self.lines += 1
        with locate_errors(self.lines):
            text = check_text("text", line, max_chars=LINE_MAX_CHARS).rstrip("\n")
            if "\n" in text:
                raise InvalidInput("text", "holds an end of line", "pass the lines of an export, one text each")
            self.chars += len(text)
            if self.lines > LINES_MAX or self.chars > FILE_MAX_CHARS:
                fix = f"at most {LINES_MAX} lines with {FILE_MAX_CHARS} characters fit"
                raise InvalidInput("file", "is too long", fix)
            if not self.has_begun and text.strip():
                # Of what is no export, no more is read.
                _read_line(text)
                self.has_begun = True
            # Before any row of theirs is written.
            self.hashes.update(_HASH.findall(text))
            if len(self.hashes) > FILES_MAX:
                raise InvalidInput("attachments", "are too many", f"at most {FILES_MAX} files fit")
        self.file.write(text + "\n")


def parse_lines(lines: Iterable[Mapping[str, Any] | str]) -> Iterator[Line]:
    """Number the lines that are not blank, and parse those that are text. Raises `InvalidInput`."""
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, str) or line.strip():
            with locate_errors(number):
                values = _read_line(line)
            yield Line(number, values)


@contextmanager
def locate_errors(number: int) -> Iterator[None]:
    """Put the number of the line before the field of an `InvalidInput` that is raised inside."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"line {number}: {error.field}", error.problem, error.fix) from error


def check_fields(values: object, checks: Mapping[str, Check]) -> dict[str, Any]:
    """Check the fields that `checks` names, and return what the checks return; others are left out."""
    if not isinstance(values, Mapping):
        raise InvalidInput("thread", "is no JSON object", _FIX)
    missing_names = [name for name in checks if name not in values]
    if missing_names:
        raise InvalidInput(missing_names[0], "is missing", _FIX)
    return {name: check(name, values[name]) for name, check in checks.items()}


def check_count(field: str, value: object, maximum: int = SEQ_MAX) -> int:
    """Check a whole number from 0 to `maximum`, by default the highest seq. Raises `InvalidInput`."""
    fix = f"a whole number from 0 to {maximum} stands there"
    return check_whole_number(field, value, maximum=maximum, fix=fix)


def _read_line(line: Mapping[str, Any] | str) -> Mapping[str, Any]:
    values = _parse(line) if isinstance(line, str) else line
    if not isinstance(values, Mapping) or values.get("kind") not in KINDS:
        raise InvalidInput("kind", "is unknown", f"each line is one of {', '.join(KINDS)}")
    return values


def _parse(line: str) -> Any:
    if len(line) > LINE_MAX_CHARS:
        raise InvalidInput("json", f"has {len(line)} characters", f"at most {LINE_MAX_CHARS} fit")
    try:
        return json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("json", f"cannot be read ({error})", _FIX) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _allow_none(check: Check) -> Check:
    return lambda field, value: None if value is None else check(field, value)


def _check_flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(field, f"is {quote(value)}", "true or false stands there")
    return value


def _check_our_id(field: str, value: object) -> object:
    if not is_our_id(value):
        raise InvalidInput(field, f"is {quote(value)}", "a UUID stands there")
    return value


def _check_final_state(field: str, value: object) -> object:
    if not isinstance(value, str) or value not in FINAL_STATES:
        raise InvalidInput(field, f"is {quote(value)}", "only finished turns are exported")
    return value


def _check_policy(field: str, value: object) -> object:
    if not isinstance(value, str) or value not in {*WhenBusy} - {WhenBusy.ENQUEUE}:
        raise InvalidInput(field, f"is {quote(value)}", "a policy stands there, or null for one that waits")
    return value


def _check_thread_policy(field: str, value: object) -> object:
    return check_when_busy(field, value).value


def _check_fault(field: str, value: object) -> object:
    if not isinstance(value, str) or value not in set(Fault):
        raise InvalidInput(field, f"is {quote(value)}", f"one of {', '.join(Fault)} stands there")
    return value


def _check_dollars(field: str, value: object) -> float:
    # Its column holds nine digits before the point.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        raise InvalidInput(field, f"is {quote(value)}", "an amount in US dollars stands there")
    return float(value)


def _check_usage(field: str, value: object) -> dict[str, Any]:
    """The tokens of model calls, in a form that can be read back."""
    counts = check_metadata(field, value)
    try:
        usage = Usage(**counts)
        is_usage = usage.is_counted and type(usage.is_estimate) is bool
    except TypeError:
        is_usage = False
    if not is_usage:
        raise InvalidInput(field, f"is {quote(value)}", "whole numbers of tokens stand there")
    return counts


def _check_omitted(field: str, value: object) -> dict[str, Any]:
    """The list of messages that a model was not shown, in a form that can be read back."""
    omitted = _check_long_object(field, value)
    if not isinstance(omitted.get("messages"), list) or not isinstance(omitted.get("cut"), dict):
        raise InvalidInput(field, "names no messages, or nothing that was cut", _FIX)
    return omitted


_check_long_object = partial(check_metadata, max_bytes=LINE_MAX_CHARS)
#: Checks what a column of integers holds.
_check_integer = partial(check_count, maximum=INTEGER_MAX)

CONTEXT: Mapping[str, Check] = {"key": check_id, "content": check_text}
SUMMARY: Mapping[str, Check] = {
    "id": _check_our_id,
    "from_seq": check_count,
    "to_seq": check_count,
    "content": check_text,
    "model": check_text,
    "usage": _allow_none(_check_usage),
    "cost": _allow_none(_check_dollars),
    "prompt_version": _allow_none(check_text),
    "sections": _allow_none(_check_long_object),
    "report": _allow_none(_check_long_object),
    "previous_id": _allow_none(_check_our_id),
    "restored_at": _allow_none(moment_from_json),
    "created_at": moment_from_json,
}
THREAD: Mapping[str, Check] = {
    "id": check_id,
    "tenant": lambda _field, value: check_tenant(value),
    "owner": _allow_none(check_id),
    "title": _allow_none(partial(check_text, max_chars=TITLE_MAX_CHARS)),
    "metadata": check_metadata,
    "created_at": moment_from_json,
    "updated_at": moment_from_json,
    "last_seq": check_count,
    "summary_id": _allow_none(_check_our_id),
    "agent": _allow_none(check_id),
    "assigned_agent": _allow_none(check_id),
    "when_busy": _allow_none(_check_thread_policy),
    "history_starts_after": check_count,
    "legal_hold": _check_flag,
}
#: The exported fields of a turn; its journal stays where it ran.
TURN: Mapping[str, Check] = {
    "id": _check_our_id,
    "state": _check_final_state,
    "agent": check_id,
    "agent_version": _allow_none(check_text),
    "attempt": _check_integer,
    "retries": _check_integer,
    "crashes": _check_integer,
    "priority": partial(check_count, maximum=PRIORITY_MAX),
    "metadata": check_metadata,
    "sender": _allow_none(check_id),
    "window_to_seq": _allow_none(check_count),
    "cancel_requested_at": _allow_none(moment_from_json),
    "cancel_requested_by": _allow_none(check_text),
    "when_busy": _allow_none(_check_policy),
    "interrupted_by": _allow_none(_check_our_id),
    "rolled_back": _check_flag,
    "merged_into": _allow_none(_check_our_id),
    "created_at": moment_from_json,
    "started_at": _allow_none(moment_from_json),
    "attempt_started_at": _allow_none(moment_from_json),
    "finished_at": _allow_none(moment_from_json),
    "error_kind": _allow_none(check_text),
    "error_message": _allow_none(check_text),
    "error_retryable": _allow_none(_check_flag),
    "error_fault": _allow_none(_check_fault),
    "omitted": _allow_none(_check_omitted),
    "usage": _allow_none(_check_usage),
    "cost": _allow_none(_check_dollars),
}
