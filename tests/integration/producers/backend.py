"""A backend as tests see it: what it stored, whom it notified, and who answers in its workers' place."""

import base64
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis
from sqlalchemy import Connection, exists, func, select, text

from conversation.ids import new_id
from conversation.message import Message
from conversation.task_contract import WakeUp
from conversation.turn import ClaimedTurn, Completed
from store import tables
from store.database.engine import Database
from store.settings import Settings
from store.turns import claims, workers
from store.turns import settle as turns
from store.turns.claims import ClaimRequest

COUNTED = ("threads", "turns", "inbox_messages", "attachments", "blobs")


def register_agent(database: Database, *names: str) -> str:
    """A worker enters itself with these agents; returns its id."""
    worker = new_id()
    serves = dict.fromkeys(names or ("assistant",), "1")
    database.run(workers.register, worker=worker, host="here", pid=1, serves=serves, lease_duration_seconds=60)
    return worker


def counts(database: Database) -> dict[str, int]:
    """How many rows there are of what a message is made of. A blob without a message is none of it."""
    blobs, attached = tables.blobs.c, tables.attachments.c
    is_used = exists().where(attached.tenant == blobs.tenant, attached.sha256 == blobs.sha256)

    def count(connection: Connection) -> dict[str, int]:
        found = {}
        for name in COUNTED:
            table = tables.metadata.tables[name]
            counted = select(func.count()).select_from(table)
            if table is tables.blobs:
                counted = counted.where(is_used)
            found[name] = connection.execute(counted).scalar_one()
        return found

    return database.run(count)


NOTHING = dict.fromkeys(COUNTED, 0)


def said(database: Database, turn_id: str) -> Any:
    """The message of a turn, as it waits in the inbox."""
    inputs = tables.inbox_messages
    return database.run(lambda c: c.execute(select(inputs).where(inputs.c.turn_id == turn_id)).one())


def turn_row(database: Database, turn_id: str) -> Any:
    return database.run(lambda c: c.execute(select(tables.turns).where(tables.turns.c.id == turn_id)).one())


def is_committed(database: Database, turn_id: str) -> bool:
    """Whether others see the turn."""
    found = select(func.count()).select_from(tables.turns).where(tables.turns.c.id == turn_id)
    return database.run(lambda c: c.execute(found).scalar_one()) == 1


def queued_wake_ups(settings: Settings) -> list[str]:
    """The turns whose wake-ups wait in the broker."""
    with redis.Redis.from_url(settings.broker_url.get_secret_value()) as client:
        waiting = [client.lrange(key, 0, -1) for key in client.scan_iter("turns*") if client.type(key) == b"list"]
    return [_turn_of(json.loads(message)) for messages in waiting for message in messages]


def _turn_of(message: dict[str, Any]) -> str:
    _args, payload, _embed = json.loads(base64.b64decode(message["body"]))
    return str(payload["turn"])


def claim(database: Database, worker: str, thread: str) -> ClaimedTurn:
    claimant = ClaimRequest(worker=worker, agents={"assistant": "1"})
    claimed = database.run(claims.claim, tenant="default", thread_id=thread, claimant=claimant, held=None)
    assert isinstance(claimed, ClaimedTurn)
    return claimed


def answer(database: Database, worker: str, thread: str, reply: str) -> None:
    """What a worker does with the thread's next turn, without a worker."""
    claimed = claim(database, worker, thread)
    ending = Completed(messages=(Message(role="assistant", content=reply),))
    database.run(turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=True)


@dataclass
class SpyNotifier:
    """Publishes nothing; remembers each wake-up, and whether its turn was committed by then."""

    database: Database
    #: (turn id, whether others saw the turn then)
    notified: list[tuple[str, bool]] = field(default_factory=list)

    def warm_up(self) -> None:
        pass

    def notify(self, wake_up: WakeUp) -> bool:
        self.notified.append((wake_up.turn_id, is_committed(self.database, wake_up.turn_id)))
        return True

    def notify_soon(self, wake_up: WakeUp) -> "Future[bool]":
        published: Future[bool] = Future()
        published.set_result(self.notify(wake_up))
        return published

    async def notify_async(self, wake_up: WakeUp) -> bool:
        return self.notify(wake_up)

    def close(self) -> None:
        pass


def make_orders(database: Database) -> None:
    """The backend's own table, in the same database."""
    database.run(lambda c: c.execute(text("CREATE TABLE orders (note text NOT NULL)")))


def orders(database: Database) -> list[str]:
    return list(database.run(lambda c: c.execute(text("SELECT note FROM orders ORDER BY note")).scalars().all()))


def break_inbox(database: Database) -> None:
    """From now on the database fails in the middle of our statements, where a message says `burn`."""

    def break_it(connection: Connection) -> None:
        connection.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'disk is on fire'; END $$"
            )
        )
        connection.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON inbox_messages FOR EACH ROW "
                "WHEN (NEW.content = 'burn') EXECUTE FUNCTION refuse()"
            )
        )

    database.run(break_it)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def silent_server(port: int = 0) -> Iterator[int]:
    """A server that accepts and never says a word; gives its port."""
    accepted: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", port), backlog=200)

    def accept() -> None:
        while True:
            try:
                accepted.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept, name="silent", daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in accepted:
            connection.close()
