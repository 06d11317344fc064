"""Claiming a thread: take its lease, move its head's inputs into the history, freeze its window.

What stays true: whoever claims asks here, by a connection of whichever database; the function of PostgreSQL and
the plain statements come to the same.
"""

from sqlalchemy import Connection

from conversation.turn import Lease
from store.database.function_calls import call_within, has_functions
from store.turns import claim_call, claim_statements
from store.turns.claim_call import PartialClaim
from store.turns.claim_request import (
    INTERRUPTIONS_MAX,
    SHARED_CRASHES,
    ClaimOutcome,
    ClaimRequest,
    NothingDue,
    Quarantined,
)

__all__ = ["INTERRUPTIONS_MAX", "SHARED_CRASHES", "ClaimOutcome", "ClaimRequest", "NothingDue", "Quarantined", "claim"]


def claim(
    connection: Connection, tenant: str, thread_id: str, claimant: ClaimRequest, *, held: Lease | None = None
) -> ClaimOutcome:
    """Take the thread's next turn. `held` is the lease of a claimant that goes on with the thread."""
    if not has_functions(connection):
        return claim_statements.claim(connection, tenant, thread_id, claimant, held=held)
    value = call_within(connection, claim_call.build(tenant, thread_id, claimant, held))
    outcome = claim_call.read(value, tenant, thread_id, claimant)
    return claim_call.complete(connection, outcome) if isinstance(outcome, PartialClaim) else outcome
