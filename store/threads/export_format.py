"""Lines of an export as they are read: numbered, and checked field by field.

What stays true: whatever is wrong with a line raises `InvalidInput`, and its field begins with the
line's number; nothing that a database would refuse gets past here.
"""

import json
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from conversation.errors import Fault, InvalidInput
from conversation.ids import is_our_id
from conversation.thread import TITLE_MAX_CHARS
from conversation.turn import FINAL_STATES
from conversation.validation import check_id, check_metadata, check_tenant, check_text, moment_from_json

#: The kinds of lines, in the order in which they come: a message may name a turn, a turn names none.
KINDS = ("thread", "context", "summary", "turn", "message", "end")
#: A message of a million characters, each written as an escape, and room for what hangs on it.
LINE_MAX_CHARS = 16 * 1024 * 1024

_FIX = "pass the line as export_thread wrote it"

Check = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and which one it is."""

    number: int
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """A value that has to be there. Raises `InvalidInput`."""
        if name not in self.values:
            raise InvalidInput(name, "is missing", _FIX)
        return self.values[name]


async def keep_lines(lines: Iterable[str] | AsyncIterable[str], spool: IO[str]) -> None:
    """Keep lines that may come only once, or slowly: the transaction can be run again, and is short."""
    if isinstance(lines, AsyncIterable):
        async for line in lines:
            spool.write(line.rstrip("\n") + "\n")
    else:
        spool.writelines(line.rstrip("\n") + "\n" for line in lines)


def numbered(lines: Iterable[Mapping[str, Any] | str]) -> Iterator[Line]:
    """The lines that say anything, parsed where they are text."""
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, str) or line.strip():
            with named(number):
                values = _parsed(line) if isinstance(line, str) else line
                if not isinstance(values, Mapping) or values.get("kind") not in KINDS:
                    raise InvalidInput("kind", "is unknown", f"each line is one of {', '.join(KINDS)}")
            yield Line(number, values)


@contextmanager
def named(number: int) -> Iterator[None]:
    """What is wrong in here is wrong with this line."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"line {number}: {error.field}", error.problem, error.fix) from error


def checked(values: object, checks: Mapping[str, Check]) -> dict[str, Any]:
    """The fields of `checks`, each as its check gives it back; others are left out."""
    if not isinstance(values, Mapping):
        raise InvalidInput("thread", "is no JSON object", _FIX)
    missing = [name for name in checks if name not in values]
    if missing:
        raise InvalidInput(missing[0], "is missing", _FIX)
    return {name: check(name, values[name]) for name, check in checks.items()}


def whole_number(field: str, value: object, most: int = 2**63 - 1) -> int:
    """A number that a bigint has room for, from 0 on. Raises `InvalidInput`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise InvalidInput(field, f"is {value!r}", f"a whole number from 0 to {most} stands there")
    return value


def _parsed(line: str) -> Any:
    if len(line) > LINE_MAX_CHARS:
        raise InvalidInput("json", f"has {len(line)} characters", f"at most {LINE_MAX_CHARS} fit")
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("json", f"cannot be read ({error})", _FIX) from None


def _optional(check: Check) -> Check:
    return lambda field, value: None if value is None else check(field, value)


def _title(field: str, value: object) -> str:
    return check_text(field, value, max_chars=TITLE_MAX_CHARS)


def _up_to(most: int) -> Check:
    return lambda field, value: whole_number(field, value, most)


def _tenant(_field: str, value: object) -> str:
    return check_tenant(value)


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(field, f"is {value!r}", "true or false stands there")
    return value


def _our_id(field: str, value: object) -> object:
    if not is_our_id(value):
        raise InvalidInput(field, f"is {value!r}", "a UUID stands there")
    return value


def _final(field: str, value: object) -> object:
    if value not in FINAL_STATES:
        raise InvalidInput(field, f"is {value!r}", "only finished turns are exported")
    return value


def _fault(field: str, value: object) -> object:
    if value not in set(Fault):
        raise InvalidInput(field, f"is {value!r}", f"one of {', '.join(Fault)} stands there")
    return value


def _dollars(field: str, value: object) -> float:
    # Nine digits before the point are what its column has room for.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        raise InvalidInput(field, f"is {value!r}", "an amount in US dollars stands there")
    return float(value)


def _long_object(field: str, value: object) -> dict[str, Any]:
    return check_metadata(field, value, max_bytes=LINE_MAX_CHARS)


_INT = 2**31 - 1

CONTEXT: Mapping[str, Check] = {"key": check_id, "content": check_text}
SUMMARY: Mapping[str, Check] = {
    "id": _our_id,
    "from_seq": whole_number,
    "to_seq": whole_number,
    "content": check_text,
    "model": check_text,
    "usage": _optional(check_metadata),
    "cost": _optional(_dollars),
    "prompt_version": _optional(check_text),
    "sections": _optional(_long_object),
    "report": _optional(_long_object),
    "previous_id": _optional(_our_id),
    "restored_at": _optional(moment_from_json),
    "created_at": moment_from_json,
}
THREAD: Mapping[str, Check] = {
    "id": check_id,
    "tenant": _tenant,
    "title": _optional(_title),
    "metadata": check_metadata,
    "created_at": moment_from_json,
    "updated_at": moment_from_json,
    "last_seq": whole_number,
    "summary_id": _optional(_our_id),
    "agent": _optional(check_text),
    "retention_cut": whole_number,
    "legal_hold": _flag,
}
#: What is written of a turn; its journal stays where it ran.
TURN: Mapping[str, Check] = {
    "id": _our_id,
    "state": _final,
    "agent": check_text,
    "agent_version": _optional(check_text),
    "attempt": _up_to(_INT),
    "retries": _up_to(_INT),
    "crashes": _up_to(_INT),
    "priority": _up_to(9),
    "metadata": check_metadata,
    "window_to_seq": _optional(whole_number),
    "cancel_requested_at": _optional(moment_from_json),
    "created_at": moment_from_json,
    "started_at": _optional(moment_from_json),
    "finished_at": _optional(moment_from_json),
    "error_kind": _optional(check_text),
    "error_message": _optional(check_text),
    "error_retryable": _optional(_flag),
    "error_fault": _optional(_fault),
    "usage": _optional(check_metadata),
    "cost": _optional(_dollars),
}
