"""The end of a turn.

What stays true: whoever settles asks here, by a connection of whichever database; the function of PostgreSQL and
the plain statements come to the same.
"""

from dataclasses import replace

from sqlalchemy import Connection

from conversation.turn import Ending, FinalEnding, Lease, Waiting
from store.database.function_calls import call_within, has_functions
from store.turns import settle_call, settle_statements
from store.turns.children import Kin, cancel_children, lock_parent, start_children, tell_parent
from store.turns.settle_outcome import SettleOutcome

__all__ = ["SettleOutcome", "settle"]


def settle(
    connection: Connection,
    lease: Lease,
    turn_id: str,
    ending: Ending,
    *,
    release: bool,
    kin: Kin | None = None,
    mark_notified: bool = True,
) -> SettleOutcome:
    """Write a turn's end: its replies, its last steps, its state; keep or release the lease.

    `kin` names the turns that are to be told of it, or that it begins; without `mark_notified`, the sweep publishes
    what goes on with it, and not the caller. Running it twice changes nothing. Raises
    `LeaseLost` if another worker has claimed the thread: then nothing is written.
    """
    if kin is None:
        return _settle_alone(connection, lease, turn_id, ending, release=release)
    if kin.parent_turn_id is not None:
        lock_parent(connection, kin.tenant, kin.parent_turn_id)
    outcome = _settle_alone(connection, lease, turn_id, ending, release=release)
    wake_ups = []
    if isinstance(ending, Waiting):
        wake_ups += start_children(connection, kin.tenant, turn_id, ending.pending)
    elif isinstance(ending, FinalEnding):
        if kin.has_children:
            cancel_children(connection, kin.tenant, turn_id)
        if kin.parent_turn_id is not None:
            wake_ups += tell_parent(connection, turn_id, ending.messages, mark_notified=mark_notified)
    return replace(outcome, wake_ups=tuple(wake_ups))


def _settle_alone(
    connection: Connection, lease: Lease, turn_id: str, ending: Ending, *, release: bool
) -> SettleOutcome:
    if not has_functions(connection) or settle_call.has_files(ending):
        return settle_statements.settle(connection, lease, turn_id, ending, release=release)
    call = settle_call.build(lease, turn_id, ending, release=release)
    return settle_call.read(call_within(connection, call), lease, turn_id)
