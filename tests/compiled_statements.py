"""One cache of compiled statements for all engines of a test process.

A test has a database of its own, hence engines of its own, hence an empty cache: compiling its thirty statements
is a quarter of what a test costs. What stays true: only dialects of one class share what they compiled, and all
of the application's engines of one class are made with the same options; a test that moves the database's clock,
which statements hold, has a cache of its own.
"""

from collections import defaultdict
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg, PGDialectAsync_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from store.database.column_types import CLOCK_SQL

DIALECTS = (PGDialect_psycopg, PGDialectAsync_psycopg, SQLiteDialect_pysqlite)
#: Statements that a process remembers: more than the application has.
REMEMBERED_STATEMENTS = 10_000


def share_compiled_statements(patch: pytest.MonkeyPatch) -> None:
    """Let every engine use one cache."""
    caches: defaultdict[str, LRUCache[Any, Any]] = defaultdict(lambda: LRUCache(REMEMBERED_STATEMENTS))
    shared_cache = property(lambda _: caches[str(CLOCK_SQL)], lambda *_: None)
    patch.setattr(Engine, "_compiled_cache", shared_cache, raising=False)
    for dialect in DIALECTS:
        # The key of a compiled statement holds its dialect, which is equal to itself alone.
        patch.setattr(dialect, "__hash__", lambda self: hash(type(self)))
        patch.setattr(dialect, "__eq__", lambda self, other: type(self) is type(other))
