"""JSON in one form for equal values, as a text to hash.

What stays true: `store/functions/canonical_json_v1.sql` makes the same text of the same value, so that a request is
the same whether it came from Python or by SQL. Keys are in the order of their code points, without white space;
numbers of one value are written alike: 1, 1.0 and 1e0, in Python's words or in another language's.
"""

import json
from decimal import Decimal
from typing import Any


def canonical_json(value: Any) -> str:
    """The text of a JSON value."""
    match value:
        case dict():
            return "{" + ",".join(f"{_quote(key)}:{canonical_json(value[key])}" for key in sorted(value)) + "}"
        case list() | tuple():
            return "[" + ",".join(map(canonical_json, value)) + "]"
        case float():
            return _decimal(value)
        case _:
            return _quote(value)


def _quote(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _decimal(value: float) -> str:
    """A number without an exponent and without zeros behind its last digit."""
    text = f"{Decimal(repr(value)):f}"
    digits = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if digits == "-0" else digits
