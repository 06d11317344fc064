"""SQLite: how its connections are opened, how a transaction begins, and in which thread it runs.

What stays true: a transaction that may write takes the file's lock when it begins, and waits for it; one that only
reads takes none and never waits for a writer. For an event loop a transaction runs whole in a thread of its own, on
the same connections as for everybody else: a database in memory is one, whoever asks.
"""

import asyncio
import contextvars
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import inf
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool

from store.database.url import is_in_memory
from store.settings import Settings

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
#: The option of an engine whose transactions only read.
ONLY_READS = "threadmill_only_reads"
#: What a connection's information calls the limit of its statements.
STATEMENT_LIMIT = "threadmill_statement_limit"
#: SQLite's own steps between two looks at the time: some milliseconds.
LIMIT_STEPS = 200_000


def read_only(operation: F) -> F:
    """Declare that an operation never writes. SQLite refuses it the first write."""
    operation.is_read_only = True  # type: ignore[attr-defined]
    return operation


def is_read_only(operation: Callable[..., Any]) -> bool:
    """Whether an operation was declared never to write."""
    return getattr(operation, "is_read_only", False)


def engine_options(url: URL, settings: Settings) -> dict[str, Any]:
    """The arguments of `create_engine` for a file or a database in memory."""
    options: dict[str, Any] = {
        "poolclass": QueuePool,
        "pool_timeout": settings.db_pool_timeout,
        "connect_args": {"timeout": settings.db_statement_timeout_seconds, "check_same_thread": False},
    }
    if is_in_memory(url):
        # One connection *is* the database: it stays open, and its users queue for it.
        return options | {"pool_size": 1, "max_overflow": 0, "pool_recycle": -1}
    return options | {"pool_size": settings.db_pool_size, "max_overflow": settings.db_max_overflow}


class _StatementLimit:
    """The limit of the statements of one connection, which SQLite asks about while it works."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._ends_at = seconds, 0.0

    def restart(self) -> None:
        """A statement begins."""
        self._ends_at = time.monotonic() + self.seconds

    def is_over(self) -> bool:
        return time.monotonic() > self._ends_at


@contextmanager
def lift_statement_limit(connection: Connection) -> Iterator[None]:
    """Let statements in this block take as long as they need: of a migration, which nobody asks for to cost."""
    limit = connection.info[STATEMENT_LIMIT]
    seconds, limit.seconds = limit.seconds, inf
    try:
        yield
    finally:
        limit.seconds = seconds


def add_listeners(engine: Engine, settings: Settings) -> None:
    """Let the engine's connections keep foreign keys and limits, and its transactions begin as this module says."""

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, record: Any) -> None:
        # SQLAlchemy shall begin, not the driver: see `_on_begin`.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()
        limit = record.info[STATEMENT_LIMIT] = _StatementLimit(settings.db_statement_timeout_seconds)
        connection.set_progress_handler(limit.is_over, LIMIT_STEPS)

    @event.listens_for(engine, "before_cursor_execute")
    def _on_statement(connection: Connection, *_: object) -> None:
        connection.info[STATEMENT_LIMIT].restart()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        only_reads = connection.get_execution_options().get(ONLY_READS, False)
        if connection.info.get(ONLY_READS, False) != only_reads:
            connection.exec_driver_sql(f"PRAGMA query_only={'ON' if only_reads else 'OFF'}")
            connection.info[ONLY_READS] = only_reads
        # A reader that became a writer in mid-transaction would fail instead of waiting.
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")


class TransactionThreads:
    """The threads in which the transactions of event loops run."""

    def __init__(self, max_threads: int) -> None:
        self._max_threads = max_threads
        self._pid = 0
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, transaction: Callable[[], T]) -> T:
        """Run a transaction to its end, whether its caller is cancelled meanwhile or not."""
        context = contextvars.copy_context()
        future = asyncio.wrap_future(self._open().submit(context.run, transaction))
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return await asyncio.shield(future)

    async def join(self) -> None:
        """Wait for the transactions that the running loop has begun."""
        loop = asyncio.get_running_loop()
        if unfinished := [future for future in self._running if future.get_loop() is loop]:
            await asyncio.wait(unfinished)

    def _open(self) -> ThreadPoolExecutor:
        if self._pid != os.getpid():
            # In a forked child the parent's threads are not there.
            self._pid = os.getpid()
            self._executor = ThreadPoolExecutor(self._max_threads, thread_name_prefix="sqlite")
        return self._executor
