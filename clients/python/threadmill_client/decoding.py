"""JSON into models, forgivingly.

What stays true: a field that this version does not know is kept in `raw` and stops nothing; one that is missing has
its default. So a newer gateway does not break an older client.
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from types import UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from threadmill_client.errors import UnexpectedAnswer

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-]\d\d:\d\d))")


@dataclass(frozen=True, kw_only=True)
class Model:
    """One thing that an answer tells of."""

    #: The JSON as it came, with what this version of the client does not know.
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False, hash=False)


M = TypeVar("M", bound=Model)


def read_model(kind: type[M], value: object, **given: Any) -> M:
    """Read a model out of its JSON; `given` are fields from elsewhere. Raises `UnexpectedAnswer`."""
    if not isinstance(value, Mapping):
        raise UnexpectedAnswer(f"{kind.__name__} is {type(value).__name__}, no JSON object")
    hints: dict[str, Any] = _hints_of(kind)  # type: ignore[arg-type]
    named = {name: _read(hint, value[name]) for name, hint in hints.items() if name in value}
    stated = {name: item for name, item in named.items() if item is not None}
    try:
        return kind(**{**stated, **given, "raw": value})
    except TypeError as error:
        missing = re.findall(r"'(\w+)'", str(error))
        raise UnexpectedAnswer(f"{kind.__name__} lacks {', '.join(missing)}") from error


def read_models(kind: type[M], value: object) -> tuple[M, ...]:
    """Read a list of models out of its JSON."""
    if not isinstance(value, list):
        raise UnexpectedAnswer(f"a list of {kind.__name__} is {type(value).__name__}")
    return tuple(read_model(kind, item) for item in value)


def read_moment(value: object) -> datetime:
    """Read a moment of RFC 3339, which `fromisoformat` of Python 3.10 cannot."""
    match = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise UnexpectedAnswer(f"a moment is {type(value).__name__}, not text of RFC 3339")
    day, time, fraction, offset = match.groups()
    moment = datetime.fromisoformat(f"{day}T{time}.{(fraction or '')[:6]:0<6}{offset or '+00:00'}")
    return moment.astimezone(timezone.utc)


@cache
def _hints_of(kind: Hashable) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is not ClassVar}


def _read(hint: Any, value: Any) -> Any:
    """Convert where the hint asks for it; what is of another kind than expected is passed on as it is."""
    if value is None:
        return None
    if get_origin(hint) in (Union, UnionType):
        return _read(next(arg for arg in get_args(hint) if arg is not type(None)), value)
    if hint is datetime:
        return read_moment(value)
    if get_origin(hint) is tuple:
        return tuple(_read(get_args(hint)[0], item) for item in value) if isinstance(value, list) else ()
    if isinstance(hint, type) and issubclass(hint, Model):
        return read_model(hint, value)
    return value
