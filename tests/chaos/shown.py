"""What the installation shows to its readers, for the checker to compare with what is stored."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from sqlalchemy import select

from conversation.branch_address import MAIN, address_of
from conversation.errors import TurnNotFound
from producers import Producer
from store.tables import threads
from store.threads import repository
from tests.chaos.picture import Accepted, Handle


def read_views(producer: Producer) -> Mapping[int, Sequence[str]]:
    """The ids of the messages that each thread and branch shows, by its key."""
    statement = select(threads.c.key, threads.c.id, threads.c.root_key).where(threads.c.deleted_at.is_(None))
    rows = producer.database.run(lambda connection: connection.execute(statement).all())
    views: dict[int, Sequence[str]] = {}
    for row in rows:
        address = row.id if row.root_key else address_of(row.id, MAIN)
        views[row.key] = [m.id for m in producer.database.run(repository.load, "default", address).messages]
    return views


def read_handles(producer: Producer, accepted: Mapping[str, Accepted]) -> Mapping[str, Handle]:
    """What each sender is shown of the turn that answers their message."""
    handles: dict[str, Handle] = {}
    for sent in accepted.values():
        with suppress(TurnNotFound):
            result = producer.find_turn(sent.turn_id).result
            if result is None:
                continue
            handles[sent.turn_id] = Handle(result.state.value, result.content)
    return handles
