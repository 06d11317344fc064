"""The database: engines for sync and async callers, and transactions that may be run again.

What stays true: an operation is a plain function over a `Connection`; the code that opens a
transaction commits it; driver errors leave here as our own. An operation makes its ids before it
is handed in, so a commit whose outcome is unknown is resolved by running it again.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event
from sqlalchemy import create_engine as create_sync_engine
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import greenlet_spawn

from store.database import sqlite
from store.database.call_queue import CallQueue
from store.database.fair_pool import FairPool
from store.database.function_calls import PLAIN_STATEMENTS, FunctionCall, call_alone, call_on_loop
from store.database.limits import begin_sql, check_options, limits_sql, postgres_arguments
from store.database.retry_policy import READ_ONLY, UNSENDABLE, Attempts, refusal_of
from store.database.tenant import act_for, current_tenant, tenant_statements
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

    def __init__(self, settings: Settings, *, use_functions: bool = True, tenant: str | None = None) -> None:
        """`use_functions=False` has the store work in plain statements on PostgreSQL, too, as it does on SQLite.

        Its transactions act for `tenant`, unless `acting_for` names another one.
        """
        self.settings = settings
        self._tenant = tenant
        self._use_functions = use_functions
        self.url = driver_url(settings.database_url.get_secret_value())
        check_options(self.url)
        self._async_engines: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncEngine] = WeakKeyDictionary()
        #: By their function.
        self._call_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, CallQueue]] = WeakKeyDictionary()

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
        return limits_sql(self.settings)

    @property
    def call_sql(self) -> str:
        """The SQL before a call that is made now: the limits of its transaction, and the tenant that it acts for."""
        return self.call_limits_sql + "".join(f"{statement}; " for statement in tenant_statements())

    @cached_property
    def engine(self) -> Engine:
        """The engine of sync callers."""
        # Parameters are messages: they stay out of errors, and so out of logs.
        engine = create_sync_engine(self.url, **self._engine_options(self.url, QueuePool))
        _add_listeners(engine, self.settings)
        return engine

    def engine_for(self, operation: Callable[..., Any]) -> Engine:
        """The engine whose transactions begin as the operation needs it."""
        return self._reading_engine if self.is_sqlite and sqlite.is_read_only(operation) else self.engine

    @cached_property
    def _reading_engine(self) -> Engine:
        """The same engine, for transactions that only read."""
        return self.engine.execution_options(**{sqlite.ONLY_READS: True})

    @cached_property
    def sqlite_threads(self) -> sqlite.TransactionThreads:
        """The threads in which SQLite's transactions run for event loops."""
        settings = self.settings
        return sqlite.TransactionThreads(
            1 if is_in_memory(self.url) else settings.db_pool_size + settings.db_max_overflow
        )

    @property
    def async_engine(self) -> "AsyncEngine":
        """PostgreSQL's engine of the running event loop: asyncio connections cannot move between loops."""
        loop = asyncio.get_running_loop()
        engine = self._async_engines.get(loop)
        if engine is None:
            # It imports SQLAlchemy's whole ORM: a quarter of a second that sync callers need not wait.
            from sqlalchemy.ext.asyncio import create_async_engine

            engine = create_async_engine(self.url, **self._engine_options(self.url, FairPool))
            _add_listeners(engine.sync_engine, self.settings)
            self._async_engines[loop] = engine
        return engine

    async def call_once_async(self, call: FunctionCall) -> Any:
        """Call a function on the running loop, once; with others, where it may be."""
        engine = self.async_engine.sync_engine
        if not call.locks or current_tenant() is not None:
            (read,) = await greenlet_spawn(call_on_loop, engine, self.call_sql, [call])
            return read()
        queues = self._call_queues.setdefault(asyncio.get_running_loop(), {})
        queue = queues.get(call.name)
        if queue is None:
            queue = queues[call.name] = CallQueue(engine, self.settings, leaves_half=call.leaves_half)
        return await queue.call(call)

    def _engine_options(self, url: URL, pool: type[QueuePool]) -> dict[str, Any]:
        return {
            "hide_parameters": True,
            "execution_options": {PLAIN_STATEMENTS: not self.has_functions},
            **_engine_options(url, self.settings, pool),
        }

    def run(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `operation(connection, …)` in a transaction of its own, again where that is safe.

        Raises `DatabaseUnavailable` and `DatabaseRefused`: no error of a driver's leaves here.
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
        return PatientRunner(self, seconds, self._tenant)

    def acting_for(self, tenant: str | None) -> "PatientRunner":
        """The database for one tenant: a role that row-level security binds sees its rows, and no others.

        None leaves it to whoever was named before. Its methods raise `InvalidInput` for what is no tenant's name.
        """
        return PatientRunner(self, 0, self._tenant if tenant is None else tenant)

    def close(self) -> None:
        """Close the sync engine's connections."""
        if "engine" in self.__dict__:
            self.engine.dispose()
            del self.engine
            self.__dict__.pop("_reading_engine", None)

    async def close_async(self) -> None:
        """Close the connections of the running loop; of SQLite all of them, once its transactions have ended."""
        if self.is_sqlite:
            await self.sqlite_threads.join()
            self.close()
        elif (engine := self._async_engines.pop(asyncio.get_running_loop(), None)) is not None:
            self._call_queues.pop(asyncio.get_running_loop(), None)
            await engine.dispose()


@dataclass(frozen=True, slots=True)
class PatientRunner:
    """Transactions of one database, tried again for a while where the server is away."""

    database: Database
    patience_seconds: float
    #: The tenant that they act for; None for whoever was named before.
    tenant: str | None = None

    def run(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Database.run`. Raises `DatabaseUnavailable` once the patience is over."""
        attempts = Attempts(self.patience_seconds)
        while True:
            try:
                with act_for(self.tenant), self.database.engine_for(operation).begin() as connection:
                    return operation(connection, *args, **kwargs)
            except (DBAPIError, PoolTimeout) as error:
                time.sleep(attempts.pause_after(error))
            except UNSENDABLE as error:
                raise refusal_of(error) from error

    async def run_async(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, on the event loop."""
        if self.database.is_sqlite:
            return await self.database.sqlite_threads.run(lambda: self.run(operation, *args, **kwargs))
        attempts = Attempts(self.patience_seconds)
        while True:
            try:
                with act_for(self.tenant):
                    async with self.database.async_engine.begin() as connection:
                        return await connection.run_sync(operation, *args, **kwargs)
            except (DBAPIError, PoolTimeout) as error:
                await asyncio.sleep(attempts.pause_after(error))
            except UNSENDABLE as error:
                raise refusal_of(error) from error

    def call(self, call: FunctionCall) -> Any:
        """As `Database.call`. Raises `DatabaseUnavailable` once the patience is over."""
        attempts = Attempts(self.patience_seconds)
        while True:
            try:
                with act_for(self.tenant):
                    return call_alone(self.database.engine, self.database.call_sql, call)
            except (DBAPIError, PoolTimeout) as error:
                time.sleep(attempts.pause_after(error))
            except UNSENDABLE as error:
                raise refusal_of(error) from error

    async def call_async(self, call: FunctionCall) -> Any:
        """As `call`, on the event loop."""
        attempts = Attempts(self.patience_seconds)
        while True:
            try:
                with act_for(self.tenant):
                    return await self.database.call_once_async(call)
            except (DBAPIError, PoolTimeout) as error:
                await asyncio.sleep(attempts.pause_after(error))
            except UNSENDABLE as error:
                raise refusal_of(error) from error


def _engine_options(url: URL, settings: Settings, pool: type[QueuePool]) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return sqlite.engine_options(url, settings)
    return {
        "poolclass": pool,
        "pool_size": settings.db_pool_size,
        "max_overflow": settings.db_max_overflow,
        "pool_timeout": settings.db_pool_timeout,
        "pool_recycle": settings.db_pool_recycle,
        # The one that was used last: its server process has in memory what the next call needs.
        "pool_use_lifo": True,
        "connect_args": postgres_arguments(url, settings),
        # No column of ours is one, and a query for the type is a transaction of its own.
        "use_native_hstore": False,
    }


def _add_listeners(engine: Engine, settings: Settings) -> None:
    if engine.dialect.name == "sqlite":
        sqlite.add_listeners(engine, settings)
        return
    begin = begin_sql(settings)
    event.listen(engine, "handle_error", _strip_row_from_error)
    event.listen(engine, "handle_error", _disconnect_from_standby)

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # Several statements at once go without parameters only.
        statements = "; ".join([begin, *tenant_statements()])
        connection.exec_driver_sql(statements, execution_options={"no_parameters": True})


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
