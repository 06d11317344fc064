"""Values inside JSON columns of SQLite, compared as PostgreSQL compares JSONB.

What stays true: a number equals a number of the same value, however it is written; the order of an
object's keys means nothing; true is not 1, "1" is not 1, and null is not a missing key.
"""

import json
from typing import Any

from sqlalchemy import ColumnElement, TextClause, bindparam, text

_MEMBER = "EXISTS (SELECT 1 FROM json_each(threads.metadata) AS member WHERE member.key = :key AND {})"
#: SQLite reads the given number as it read the stored one: it knows integers up to 64 bits only.
_NUMBER = "member.type IN ('integer', 'real') AND member.value = json_extract(:value, '$')"
_TEXT = "member.type = 'text' AND member.value = json_extract(:value, '$')"
_CONSTANT = "member.type = :value"
_LEAVES = "SELECT fullkey, replace(type, 'real', 'integer'), atom FROM json_tree({})"
_HAS_EXTRA_LEAF = "EXISTS ({} EXCEPT {})"
_GIVEN_LEAVES, _STORED_LEAVES = _LEAVES.format(":value"), _LEAVES.format("member.value")
_NESTED = (
    "member.type IN ('array', 'object')"
    f" AND NOT {_HAS_EXTRA_LEAF.format(_GIVEN_LEAVES, _STORED_LEAVES)}"
    f" AND NOT {_HAS_EXTRA_LEAF.format(_STORED_LEAVES, _GIVEN_LEAVES)}"
)


def metadata_has(key: str, value: Any) -> ColumnElement[bool] | TextClause:
    """Whether a thread's metadata has exactly this value under `key`."""
    statement = text(_MEMBER.format(_comparison(value)))
    return statement.bindparams(bindparam("key", key, unique=True), bindparam("value", json.dumps(value), unique=True))


def _comparison(value: Any) -> str:
    match value:
        case None | True | False:
            return _CONSTANT
        case int() | float():
            return _NUMBER
        case str():
            return _TEXT
        case _:
            return _NESTED
