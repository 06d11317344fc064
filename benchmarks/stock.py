"""Threads that have a past: rows as months of use leave them, written by SQL alone.

What stays true: the newest seq of a thread is its number of messages; every message is 200 characters
long; PostgreSQL knows what it stores.
"""

from typing import Any

import psycopg

THREADS = """
    insert into threads (tenant, id, metadata, created_at, updated_at, last_seq)
    select 'default', %(prefix)s || n, '{}', now(), now(), %(messages)s from generate_series(0, %(count)s - 1) n
"""
MESSAGES = """
    insert into messages (thread_key, seq, id, role, content, metadata, created_at)
    select key, n, 'm-' || n, case n %% 2 when 1 then 'user' else 'assistant' end,
        rpad('message ' || n, 200, '.'), '{}', now()
    from threads, generate_series(1, %(messages)s) n where starts_with(threads.id, %(prefix)s)
"""


def stock_threads(connection: psycopg.Connection[Any], prefix: str, count: int, messages: int) -> None:
    """Store so many threads, named by the prefix and a number from 0, each of so many messages."""
    values = {"prefix": prefix, "count": count, "messages": messages}
    for statement in (THREADS, MESSAGES):
        connection.execute(statement, values)
    connection.execute("vacuum analyze")
