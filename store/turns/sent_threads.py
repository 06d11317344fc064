"""The threads that SQL sent messages to, as `send_message_v1.sql` notifies of them when its caller commits.

What stays true: a notification carries the key of a thread and nothing else. One that is lost loses nothing: the
sweep finds the turn.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from conversation.errors import DatabaseUnavailable
from store.database.engine import Database

CHANNEL = "threadmill_turns"
#: A key as the function sends it. Whoever is connected may notify, of anything: the rest is not ours.
_KEY = re.compile(r"[0-9]{1,18}", re.ASCII)


class SentThreads:
    """A connection that hears of threads."""

    def __init__(self, driver: psycopg.Connection[Any]) -> None:
        self._driver = driver

    @property
    def can_hear(self) -> bool:
        """Whether notifications come through: a pooler lends the server's connections to others, and loses them."""
        # A pooler gives its clients a process id of its own.
        row = self._driver.execute("SELECT pg_backend_pid()").fetchone()
        return row is not None and row[0] == self._driver.info.backend_pid

    def listen(self) -> None:
        """Begin to hear."""
        self._driver.execute(f"LISTEN {CHANNEL}")

    def wait(self, seconds: float) -> set[int]:
        """Wait for so many seconds, at most, for the next ones; returns all that came meanwhile."""
        notifications = self._driver.notifies(timeout=seconds, stop_after=1)
        return {int(each.payload) for each in notifications if _KEY.fullmatch(each.payload)}


@contextmanager
def open_sent_threads(database: Database) -> Iterator[SentThreads]:
    """A connection of its own. Raises `DatabaseUnavailable`, also in the block."""
    try:
        pooled = database.engine.raw_connection()
        driver: Any = pooled.driver_connection
        # It is no other's any more.
        pooled.detach()
        try:
            yield SentThreads(driver)
        finally:
            driver.close()
    except (psycopg.Error, DBAPIError, PoolTimeout) as error:
        raise DatabaseUnavailable(f"no notifications are heard: {type(error).__name__}") from error
