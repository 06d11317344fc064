"""Callers with a connection of their own, each in the way of its library, behind the same four verbs."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from producers.producer import Producer
from store.database.engine import driver_url

INSERT = "INSERT INTO orders VALUES ('{}')"


class Lender(Protocol):
    """A backend in the middle of its own transaction."""

    def insert(self, note: str) -> None: ...

    def send(self, producer: Producer, content: str, **options: Any) -> Any: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class CoreLender:
    def __init__(self, url: str) -> None:
        self.engine = create_engine(driver_url(url))
        self.connection = self._open()

    def _open(self) -> Any:
        return self.engine.connect()

    def insert(self, note: str) -> None:
        self.connection.execute(text(INSERT.format(note)))

    def send(self, producer: Producer, content: str, **options: Any) -> Any:
        return producer.send("t", content, connection=self.connection, **options)

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()

    def close(self) -> None:
        self.connection.close()
        self.engine.dispose()


class SessionLender(CoreLender):
    def _open(self) -> Any:
        return Session(self.engine)


class ScopedSessionLender(CoreLender):
    """As Flask-SQLAlchemy's `db.session`."""

    def _open(self) -> Any:
        return scoped_session(sessionmaker(self.engine))

    def close(self) -> None:
        self.connection.remove()
        self.engine.dispose()


class PsycopgLender(CoreLender):
    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url)

    def insert(self, note: str) -> None:
        self.connection.execute(INSERT.format(note).encode())

    def close(self) -> None:
        self.connection.close()


class AsyncCoreLender:
    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.engine = create_async_engine(driver_url(url))
        self.connection = self.runner.run(self._open())

    async def _open(self) -> Any:
        return await self.engine.connect()

    def insert(self, note: str) -> None:
        self.runner.run(self.connection.execute(text(INSERT.format(note))))

    def send(self, producer: Producer, content: str, **options: Any) -> Any:
        return self.runner.run(producer.send_async("t", content, connection=self.connection, **options))

    def commit(self) -> None:
        self.runner.run(self.connection.commit())

    def rollback(self) -> None:
        self.runner.run(self.connection.rollback())

    def close(self) -> None:
        self.runner.run(self.connection.close())
        self.runner.run(self.engine.dispose())
        self.runner.close()


class AsyncSessionLender(AsyncCoreLender):
    async def _open(self) -> Any:
        return AsyncSession(self.engine)


LENDERS: dict[str, Callable[[str], Lender]] = {
    "Core": CoreLender,
    "Session": SessionLender,
    "scoped_session": ScopedSessionLender,
    "AsyncConnection": AsyncCoreLender,
    "AsyncSession": AsyncSessionLender,
    "psycopg": PsycopgLender,
}
