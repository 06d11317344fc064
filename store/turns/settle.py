"""The end of a turn.

What stays true: whoever settles asks here, by a connection of whichever database; the function of PostgreSQL and
the plain statements come to the same.
"""

from sqlalchemy import Connection

from conversation.turn import Ending, Lease
from store.database.function_calls import call_within, has_functions
from store.turns import settle_call, settle_statements
from store.turns.settle_outcome import SettleOutcome

__all__ = ["SettleOutcome", "settle"]


def settle(connection: Connection, lease: Lease, turn_id: str, ending: Ending, *, release: bool) -> SettleOutcome:
    """Write a turn's end: its replies, its last steps, its state; keep or release the lease.

    Running it twice changes nothing. Raises `LeaseLost` if another worker has claimed the thread:
    then nothing is written.
    """
    if not has_functions(connection) or settle_call.has_files(ending):
        return settle_statements.settle(connection, lease, turn_id, ending, release=release)
    call = settle_call.build(lease, turn_id, ending, release=release)
    return settle_call.read(call_within(connection, call), lease, turn_id)
