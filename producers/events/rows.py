"""The rows that events are read from, as followers ask for them.

What stays true: what a viewer is shown of a thread's durable events was read here, and came by no other way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Protocol

from conversation.shielding import run_to_completion
from store.database.engine import Database
from store.installation import read_signing_key
from store.turns import event_rows, thread_marks
from store.turns.event_rows import EventPage
from store.turns.user_threads import ActiveThreads, list_user_threads

#: The tenant and the id of a thread.
ThreadName = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a feed: a thread, or one turn of it."""

    tenant: str
    thread_id: str
    turn_id: str | None = None

    @property
    def thread(self) -> ThreadName:
        return self.tenant, self.thread_id


class EventRows(Protocol):
    """Where durable events are read."""

    async def read_key(self) -> bytes:
        """The key that deltas are signed with."""
        ...

    async def read_page(self, source: Source, after: int) -> EventPage:
        """Events behind a number. Raises `ThreadNotFound` and `TurnNotFound`."""
        ...

    async def peek(self, threads: Sequence[ThreadName]) -> Mapping[ThreadName, object]:
        """A mark of each thread that is stored: another one where its rows changed."""
        ...

    async def list_active(
        self, tenant: str, user: str, *, since: datetime | None, margin: timedelta, limit: int
    ) -> ActiveThreads:
        """The threads of a user that were in use since a moment less the margin, or since the margin."""
        ...


class DatabaseRows:
    """The rows of the database. All of it raises `DatabaseUnavailable`.

    What was begun is read to its end, whoever stopped following: a connection broken off while it opens is lost.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_key(self) -> bytes:
        return await run_to_completion(self._database.run_async(read_signing_key))

    async def read_page(self, source: Source, after: int) -> EventPage:
        runner = self._database.acting_for(source.tenant)
        if source.turn_id is not None:
            of_turn = {"turn_id": source.turn_id, "tenant": source.tenant}
            return await run_to_completion(runner.run_async(event_rows.read_turn_events, **of_turn, after=after))
        return await run_to_completion(runner.run_async(event_rows.read_thread_events, *source.thread, after=after))

    async def peek(self, threads: Sequence[ThreadName]) -> Mapping[ThreadName, object]:
        marks: dict[ThreadName, object] = {}
        # A role that row-level security binds sees the rows of one tenant at a time.
        for tenant, names in groupby(sorted(threads), key=itemgetter(0)):
            runner = self._database.acting_for(tenant)
            marks |= await run_to_completion(runner.run_async(thread_marks.peek_threads, list(names)))
        return marks

    async def list_active(
        self, tenant: str, user: str, *, since: datetime | None, margin: timedelta, limit: int
    ) -> ActiveThreads:
        runner = self._database.acting_for(tenant)
        reading = runner.run_async(list_user_threads, tenant, user, since=since, margin=margin, limit=limit)
        return await run_to_completion(reading)
