"""Notifications of PostgreSQL: what commits has work for somebody, who need not wait for the next tick to find it.

`threadmill_turns` carries the key of a thread whose turn is due, from `send_message_v1.sql`; or, of one that waits for
more messages, the key, an at sign, and the milliseconds until it has waited enough, from a send with a window.
`threadmill_webhooks` says that there are new deliveries, from the triggers that write them.

What stays true: a notification carries keys and nothing else. One that is lost loses nothing: a tick finds the work.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from conversation.errors import DatabaseUnavailable
from store.database.engine import Database

TURNS_CHANNEL, WEBHOOKS_CHANNEL = "threadmill_turns", "threadmill_webhooks"
#: A key as it is sent, and a time. Whoever is connected may notify, of anything: the rest is not ours.
_TURN = re.compile(r"([0-9]{1,18})(?:@([0-9]{1,8}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Heard:
    """Notifications that were heard at once."""

    #: The keys of threads with a turn that is due.
    threads: frozenset[int] = frozenset()
    #: The seconds until the turn of a thread is due, by its key: what was heard first of it.
    windows: Mapping[int, float] = field(default_factory=dict)
    has_deliveries: bool = False


class Notifications:
    """A connection that hears."""

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
        for channel in (TURNS_CHANNEL, WEBHOOKS_CHANNEL):
            self._driver.execute(f"LISTEN {channel}")

    def wait(self, seconds: float) -> Heard:
        """Wait for so many seconds, at most, for the next ones; returns all that came meanwhile."""
        notifications = list(self._driver.notifies(timeout=seconds, stop_after=1))
        turns = [_TURN.fullmatch(each.payload) for each in notifications if each.channel == TURNS_CHANNEL]
        known = [match.groups() for match in turns if match is not None]
        return Heard(
            threads=frozenset(int(key) for key, milliseconds in known if milliseconds is None),
            # Of several to one thread, the first one's: the last that is written into a dict is what stays.
            windows={
                int(key): int(milliseconds) / 1000 for key, milliseconds in reversed(known) if milliseconds is not None
            },
            has_deliveries=any(each.channel == WEBHOOKS_CHANNEL for each in notifications),
        )


@contextmanager
def open_notifications(database: Database) -> Iterator[Notifications]:
    """A connection of its own. Raises `DatabaseUnavailable`, also in the block."""
    try:
        pooled = database.engine.raw_connection()
        driver: Any = pooled.driver_connection
        # It is no other's any more.
        pooled.detach()
        try:
            yield Notifications(driver)
        finally:
            driver.close()
    except (psycopg.Error, DBAPIError, PoolTimeout) as error:
        raise DatabaseUnavailable(f"no notifications are heard: {type(error).__name__}") from error


def notify_of_window(connection: Connection, thread_key: int, seconds: float) -> None:
    """Notify, with the commit, of a turn that waits for more messages; SQLite has no notifications.

    `send_turn_v1.sql` does the same.
    """
    if connection.dialect.name == "postgresql":
        payload = f"{thread_key}@{round(1000 * seconds)}"
        connection.execute(select(func.pg_notify(TURNS_CHANNEL, payload)))
