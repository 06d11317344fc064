"""The database: engines for sync and async callers, and transactions that may be run again.

What stays true: an operation is a plain function over a `Connection`; the code that opens a
transaction commits it; driver errors leave here as our own. An operation makes its ids before it
is handed in, so a commit whose outcome is unknown is resolved by running it again.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event
from sqlalchemy import create_engine as create_sync_engine
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, QueuePool
from sqlalchemy.util import greenlet_spawn

from store.database.function_calls import PLAIN_STATEMENTS, FunctionCall, call_alone, call_alone_on_loop
from store.database.limits import begin_sql, limit_statements, postgres_arguments
from store.database.retry_policy import READ_ONLY, Attempts
from store.database.url import driver_url, is_in_memory
from store.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

P = ParamSpec("P")
T = TypeVar("T")
#: A function of a connection and its own arguments: what runs in one transaction.
Operation = Callable[Concatenate[Connection, P], T]


class TransactionRunner(Protocol):
    """An object that runs operations in transactions, as `Database` does."""

    def run(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `operation(connection, …)` in a transaction and return its result."""
        ...


class Database:
    """The database of one process. Engines are opened on first use, one for sync and one a loop."""

    def __init__(self, settings: Settings, *, use_functions: bool = True) -> None:
        """`use_functions=False` has the store work in plain statements on PostgreSQL, too, as it does on SQLite."""
        self.settings = settings
        self._use_functions = use_functions
        self.url = driver_url(settings.database_url.get_secret_value())
        self._async_engines: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncEngine] = WeakKeyDictionary()
        self._shielded_tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def is_in_memory(self) -> bool:
        """Whether the database lives in one connection, and dies with it."""
        return self.is_sqlite and self.url.database in (None, "", ":memory:")

    @property
    def has_functions(self) -> bool:
        """Whether the store calls its functions in the database."""
        return self._use_functions and not self.is_sqlite

    @cached_property
    def call_limits_sql(self) -> str:
        """The SQL before each call of a function: the limits of its transaction."""
        return "".join(f"{statement}; " for statement in limit_statements(self.url, self.settings))

    @cached_property
    def engine(self) -> Engine:
        """The engine of sync callers."""
        # Parameters are messages: they stay out of errors, and so out of logs.
        engine = create_sync_engine(self.url, **self._engine_options(self.url, QueuePool))
        _add_listeners(engine, self.settings)
        return engine

    @property
    def async_engine(self) -> "AsyncEngine":
        """The engine of the running event loop: asyncio connections cannot move between loops."""
        loop = asyncio.get_running_loop()
        engine = self._async_engines.get(loop)
        if engine is None:
            # It imports SQLAlchemy's whole ORM: a quarter of a second that sync callers need not wait.
            from sqlalchemy.ext.asyncio import create_async_engine

            if self.is_sqlite and not self.is_in_memory:
                _check_file(self.url)
            url = self.url.set(drivername="sqlite+aiosqlite") if self.is_sqlite else self.url
            engine = create_async_engine(url, **self._engine_options(self.url, AsyncAdaptedQueuePool))
            _add_listeners(engine.sync_engine, self.settings)
            self._async_engines[loop] = engine
        return engine

    def _engine_options(self, url: URL, pool: type[QueuePool]) -> dict[str, Any]:
        return {
            "hide_parameters": True,
            "execution_options": {PLAIN_STATEMENTS: not self.has_functions},
            **_engine_options(url, self.settings, pool),
        }

    def run(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `operation(connection, …)` in a transaction of its own, again where that is safe.

        Raises `DatabaseUnavailable`.
        """
        return self.patient(0).run(operation, *args, **kwargs)

    async def run_async(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, on the event loop."""
        return await self.patient(0).run_async(operation, *args, **kwargs)

    def call(self, call: FunctionCall) -> Any:
        """Call one of the store's functions, alone, in one round trip, again where that is safe; returns its value.

        Raises `DatabaseUnavailable`. Only where `has_functions`.
        """
        return self.patient(0).call(call)

    async def call_async(self, call: FunctionCall) -> Any:
        """As `call`, on the event loop."""
        return await self.patient(0).call_async(call)

    def patient(self, seconds: float) -> "PatientRunner":
        """The database for callers that wait so many seconds for a server that is away."""
        return PatientRunner(self, seconds)

    async def shield(self, transaction: Coroutine[Any, Any, T]) -> T:
        """Await a transaction that goes on to its end when its caller is cancelled."""
        # Cancelled in the middle of a statement, SQLAlchemy closes the connection: in memory that would
        # be the whole database, and in a file the lock outlives it, while the traceback of the caller
        # holds a cursor. So the transaction goes on to its end, whether a caller still waits or not.
        task = asyncio.create_task(transaction)
        self._shielded_tasks.add(task)
        task.add_done_callback(self._shielded_tasks.discard)
        return await asyncio.shield(task)

    def close(self) -> None:
        """Close the sync engine's connections."""
        if "engine" in self.__dict__:
            self.engine.dispose()
            del self.engine

    async def close_async(self) -> None:
        """Close the connections of the running loop's engine, once no cancelled transaction needs them."""
        loop = asyncio.get_running_loop()
        if unfinished_tasks := [task for task in self._shielded_tasks if task.get_loop() is loop]:
            await asyncio.wait(unfinished_tasks)
        engine = self._async_engines.pop(loop, None)
        if engine is not None:
            await engine.dispose()


@dataclass(frozen=True, slots=True)
class PatientRunner:
    """Transactions of one database, tried again for a while where the server is away."""

    database: Database
    patience_seconds: float

    def run(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Database.run`. Raises `DatabaseUnavailable` once the patience is over."""
        attempts = Attempts(self.patience_seconds)
        while True:
            try:
                with self.database.engine.begin() as connection:
                    return operation(connection, *args, **kwargs)
            except (DBAPIError, PoolTimeout) as error:
                time.sleep(attempts.pause_after(error))

    async def run_async(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, on the event loop."""
        transaction = self._run_on_loop(operation, *args, **kwargs)
        return await (self.database.shield(transaction) if self.database.is_sqlite else transaction)

    async def _run_on_loop(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        attempts = Attempts(self.patience_seconds)
        while True:
            try:
                async with self.database.async_engine.begin() as connection:
                    return await connection.run_sync(operation, *args, **kwargs)
            except (DBAPIError, PoolTimeout) as error:
                await asyncio.sleep(attempts.pause_after(error))

    def call(self, call: FunctionCall) -> Any:
        """As `Database.call`. Raises `DatabaseUnavailable` once the patience is over."""
        attempts = Attempts(self.patience_seconds)
        while True:
            try:
                return call_alone(self.database.engine, self.database.call_limits_sql, call)
            except (DBAPIError, PoolTimeout) as error:
                time.sleep(attempts.pause_after(error))

    async def call_async(self, call: FunctionCall) -> Any:
        """As `call`, on the event loop."""
        attempts = Attempts(self.patience_seconds)
        while True:
            engine = self.database.async_engine.sync_engine
            try:
                return await greenlet_spawn(call_alone_on_loop, engine, self.database.call_limits_sql, call)
            except (DBAPIError, PoolTimeout) as error:
                await asyncio.sleep(attempts.pause_after(error))


class LoopTransactionRunner:
    """Runs operations on the database of a running event loop, for code in another thread."""

    def __init__(self, database: Database, loop: asyncio.AbstractEventLoop) -> None:
        self._database = database
        self._loop = loop

    def run(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Database.run`, on the loop's own connections: a database in memory has no others."""
        coroutine = self._database.run_async(operation, *args, **kwargs)
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _check_file(url: URL) -> None:
    """Check that the file of an SQLite database opens. Raises `DBAPIError`.

    One that does not would leave a thread of aiosqlite behind, which prints a traceback once the loop is closed.
    """
    engine = create_sync_engine(url, poolclass=NullPool)
    engine.connect().close()


def _engine_options(url: URL, settings: Settings, pool: type[QueuePool]) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return _sqlite_options(url, settings, pool)
    return {
        "poolclass": pool,
        "pool_size": settings.db_pool_size,
        "max_overflow": settings.db_max_overflow,
        "pool_timeout": settings.db_pool_timeout,
        "pool_recycle": settings.db_pool_recycle,
        "connect_args": postgres_arguments(url, settings),
        # No column of ours is one, and a query for the type is a transaction of its own.
        "use_native_hstore": False,
    }


def _sqlite_options(url: URL, settings: Settings, pool: type[QueuePool]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "poolclass": pool,
        "pool_timeout": settings.db_pool_timeout,
        "connect_args": {"timeout": settings.db_statement_timeout_seconds, "check_same_thread": False},
    }
    if is_in_memory(url):
        # One connection *is* the database: it stays open, and its users queue for it.
        return options | {"pool_size": 1, "max_overflow": 0, "pool_recycle": -1}
    return options | {"pool_size": settings.db_pool_size, "max_overflow": settings.db_max_overflow}


def _add_listeners(engine: Engine, settings: Settings) -> None:
    if engine.dialect.name == "sqlite":
        _add_sqlite_listeners(engine)
        return
    begin = begin_sql(engine.url, settings)
    event.listen(engine, "handle_error", _strip_row_from_error)
    event.listen(engine, "handle_error", _disconnect_from_standby)

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # Several statements at once go without parameters only.
        connection.exec_driver_sql(begin, execution_options={"no_parameters": True})


def _add_sqlite_listeners(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        # SQLAlchemy shall begin, not the driver: see `_on_begin`.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # A reader that became a writer in mid-transaction would fail instead of waiting.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _strip_row_from_error(failure: ExceptionContext) -> None:
    """Keep the refused row out of errors: PostgreSQL quotes it in their details, and it holds messages."""
    original, wrapper = failure.original_exception, failure.sqlalchemy_exception
    primary_message = getattr(getattr(original, "diag", None), "message_primary", None)
    if primary_message is not None and wrapper is not None:
        original.args = (primary_message,)
        wrapper.args = (str(wrapper.args[0]).partition("\n")[0],)


def _disconnect_from_standby(failure: ExceptionContext) -> None:
    """Disconnect from a server that was demoted under its connections: none of them will write again."""
    if getattr(failure.original_exception, "sqlstate", None) == READ_ONLY:
        failure.is_disconnect = True
