"""The store as a runner of turns uses it: claim, record, settle, on the event loop.

What stays true: each verb is one short transaction, and none holds a connection while a model or a tool is at
work. Where the database has functions, a claim and a settling are one round trip each.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from conversation.errors import DatabaseRefused
from conversation.pending_call import PendingRequest
from conversation.step import Step
from conversation.task_contract import WakeUp
from conversation.turn import ClaimedTurn, Ending, Lease, RefusedTurn
from conversation.when_busy import MERGE_MAX
from store.database.call_queue import half_of_connections
from store.database.engine import Database
from store.turns import cancel, claim_call, claims, journal, settle_call, steering, unreadable
from store.turns import settle as turns
from store.turns.awaiting_model import BATCH, let_go
from store.turns.children import Kin
from store.turns.claim_call import PartialClaim
from store.turns.claims import ClaimOutcome, ClaimRequest
from store.turns.settle import SettleOutcome
from store.turns.sweep import pick_wake_ups


@dataclass(frozen=True, slots=True)
class TurnStore:
    """The turns of one database."""

    database: Database
    #: Seconds to go on trying while the database is away; what is in memory would be lost.
    patience_seconds: float = 30
    #: Messages that a turn takes at once while it runs, at most.
    merge_max: int = MERGE_MAX
    #: Bounds what claims do besides their calls, which are bounded themselves: ends of turns need connections, too.
    #: It binds the store to one event loop.
    _claim_rests: asyncio.Semaphore = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_claim_rests", asyncio.Semaphore(half_of_connections(self.database.settings)))

    async def claim(
        self, tenant: str, thread_id: str, claimant: ClaimRequest, *, held: Lease | None = None
    ) -> ClaimOutcome:
        """Take the thread's next turn, if there is one for this claimant.

        One at which this fails on stored data comes refused, to be ended as failed.
        """
        value = None
        try:
            if not self.database.has_functions:
                return await self.database.run_async(
                    claims.claim, tenant=tenant, thread_id=thread_id, claimant=claimant, held=held
                )
            value = await self.database.call_async(claim_call.build(tenant, thread_id, claimant, held))
            outcome = claim_call.read(value, tenant, thread_id, claimant)
            if isinstance(outcome, PartialClaim):
                # The turn is claimed: whoever gives up here leaves it to the heartbeat.
                async with self._enter_rest(held):
                    return await self.database.patient(self.patience_seconds).run_async(claim_call.complete, outcome)
        except Exception as failure:
            error = unreadable.error_of(failure)
            if error is None:
                raise
            async with self._enter_rest(held):
                return await self.database.patient(self.patience_seconds).run_async(
                    unreadable.claim_unreadable,
                    tenant,
                    thread_id,
                    claimant,
                    error,
                    held=held,
                    # The function's transaction was committed, unless the database itself refused it.
                    takes_own=value is not None
                    or (self.database.has_functions and not isinstance(failure, DatabaseRefused)),
                )
        return outcome

    def _enter_rest(self, held: Lease | None) -> AbstractAsyncContextManager[None]:
        # Who goes on with its thread waits for nobody.
        return self._claim_rests if held is None else nullcontext()

    async def pick_wake_up_of_tenant(self, tenant: str, *, tenant_max_running: int) -> list[WakeUp]:
        """Pick the wake-up of a turn that may run now that its tenant runs one less, if any waits."""
        return await self.database.run_async(
            pick_wake_ups, grace_seconds=0, limit=1, tenant_max_running=tenant_max_running, tenant=tenant
        )

    async def let_go_waiting(self, breaker: str) -> int:
        """Let the turns come that wait for a model's breaker, which was closed; returns how many."""
        count = await self.database.run_async(let_go, breaker=breaker)
        return count if count < BATCH else count + await self.let_go_waiting(breaker)

    async def list_cancel_requests(self, turn_ids: Collection[str]) -> list[str]:
        """List those of these turns that run, and that somebody has asked to stop."""
        return await self.database.run_async(cancel.list_requested, turn_ids=turn_ids)

    def journal_of(self, claimed: ClaimedTurn) -> "TurnJournal":
        """The journal of a claimed turn, to write its steps to."""
        return TurnJournal(self, claimed.lease, claimed.id)

    async def settle(self, claimed: ClaimedTurn | RefusedTurn, ending: Ending, *, release: bool) -> SettleOutcome:
        """Commit a turn's end. Raises `LeaseLost` if another worker has claimed its thread."""
        database = self.database.patient(self.patience_seconds)
        kin = Kin.of(claimed, ending)
        if not self.database.has_functions or settle_call.has_files(ending) or kin is not None:
            return await database.run_async(
                turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=release, kin=kin
            )
        value = await database.call_async(settle_call.build(claimed.lease, claimed.id, ending, release=release))
        return settle_call.read(value, claimed.lease, claimed.id)


@dataclass(frozen=True, slots=True)
class TurnJournal:
    """The journal of one claimed turn."""

    turn_store: TurnStore
    lease: Lease
    turn_id: str

    async def record(self, steps: Sequence[Step], pending: Sequence[PendingRequest] = ()) -> bool:
        """Write entries, and what is left to be decided; returns whether messages wait for the turn.

        Raises `LeaseLost` if another worker has the thread.
        """
        database = self.turn_store.database.patient(self.turn_store.patience_seconds)
        return await database.run_async(
            journal.record, lease=self.lease, turn_id=self.turn_id, entries=steps, pending=pending
        )

    async def take_messages(self, index: int) -> list[Step]:
        """Take the messages that wait for the turn into its journal, from this index on. Raises `LeaseLost`."""
        database = self.turn_store.database.patient(self.turn_store.patience_seconds)
        return await database.run_async(
            steering.take, lease=self.lease, turn_id=self.turn_id, index=index, limit=self.turn_store.merge_max
        )
