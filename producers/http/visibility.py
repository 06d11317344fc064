"""What a principal may see: one function decides for threads, another for turns."""

from conversation.errors import ThreadNotFound, TurnNotFound
from conversation.thread import Thread
from conversation.turn import TurnRecord
from producers.http.dependencies import Gateway
from producers.http.principal import Principal
from store.threads import repository
from store.turns import records


async def visible_thread(gateway: Gateway, principal: Principal, thread_id: str) -> Thread:
    """A thread that the principal may see. Raises `ThreadNotFound`."""
    thread = await gateway.producer.database.run_async(repository.load, principal.tenant, thread_id, last=1)
    if principal.user not in {None, thread.user}:
        raise ThreadNotFound("thread_id: no such thread is stored")
    return thread


async def visible_turn(gateway: Gateway, principal: Principal, turn_id: str) -> TurnRecord:
    """A turn of such a thread. Raises `TurnNotFound`."""
    record = await gateway.producer.database.run_async(records.read, turn_id=turn_id)
    if record.tenant != principal.tenant or principal.user not in {None, record.user}:
        raise TurnNotFound("turn_id: no such turn is stored")
    return record
