"""Claiming by the function in PostgreSQL, `claim_turn_v1`: the call, and what its value means.

What stays true: one round trip claims a turn, and does not wait for the disk. What few turns have, a journal and
files, is read afterwards: the lease is taken by then, so nobody writes to either.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from conversation.attachment import Attachment
from conversation.pending_call import PendingCall
from conversation.step import Step
from conversation.turn import ClaimedTurn, Lease, RefusedTurn, TurnError
from store.database.function_calls import FunctionCall
from store.files.attachments import load_attachments
from store.history import message_rows
from store.history.stored_window import StoredWindow
from store.lineage import Lineage, read_lineage
from store.turns import journal, pending_calls, rolled_back
from store.turns.claim_request import ClaimOutcome, ClaimRequest, NothingDue, Quarantined, ending_of, refusal_of
from store.turns.frozen_context import context_texts


def build(tenant: str, thread_id: str, claimant: ClaimRequest, held: Lease | None) -> FunctionCall:
    """The call that claims a thread's next turn."""
    agents = {name: [version, claimant.max_messages.get(name)] for name, version in claimant.agents.items()}
    return FunctionCall(
        "claim_turn_v1",
        {
            "p_tenant": tenant,
            "p_thread_id": thread_id,
            "p_worker": claimant.worker,
            "p_held_token": None if held is None else held.fencing_token,
            "p_agents": json.dumps(agents),
            "p_local_process_id": claimant.local_process_id,
            "p_only_turn": claimant.only_turn,
            "p_runs_quarantine": claimant.runs_quarantine,
            "p_tenant_max_running": claimant.tenant_max_running,
            "p_merge_max": claimant.merge_max,
        },
        # Who claims has done nothing yet: forgotten, it is claimed again, and what it writes makes it last.
        commits_lazily=True,
        # Who goes on with its thread holds up whoever waits for that: it waits for nobody else's transaction.
        locks=(tenant, thread_id) if held is None else (),
        leaves_half=True,
    )


@dataclass(frozen=True, slots=True)
class FunctionTurn:
    """A turn that the function claimed, as its value names it."""

    thread_key: int
    lineage: list[list[int]] | None
    fencing_token: int
    id: str
    agent: str
    attempt: int
    retries: int
    failing_seconds: float | None
    crashes: int
    interruptions: int
    error_kind: str | None
    local_process_id: str | None
    parent_turn_id: str | None
    depth: int
    is_cancel_requested: bool
    remaining_seconds: float | None
    #: What the turn waited for was not decided in time.
    wait_is_over: bool
    #: Earlier attempts, or the decision that made it, may have written steps.
    has_journal: bool
    window_to_seq: int
    metadata: dict[str, Any]
    user: str | None
    thread_owner: str | None
    summary: str | None
    context: list[str] | None
    #: Rows of messages, as `message_rows.build_messages` takes them: those that a branch shares, then its own.
    shared_window: list[list[Any]] | None
    window: list[list[Any]] | None
    #: Messages wait that are to be read while it runs.
    is_steered: bool
    #: Turns of its thread were taken out of view that may have done something.
    has_rolled_back: bool

    @property
    def messages(self) -> list[list[Any]]:
        return [*(self.shared_window or ()), *(self.window or ())]


@dataclass(frozen=True, slots=True)
class PartialClaim:
    """A turn that was claimed, of which its journal or its files are still to be read."""

    tenant: str
    thread_id: str
    claimant: ClaimRequest
    turn: FunctionTurn
    #: The error with which it must end, if it must.
    error: TurnError | None

    @property
    def is_refused(self) -> bool:
        return self.error is not None or self.turn.is_cancel_requested

    @property
    def has_journal(self) -> bool:
        return self.turn.has_journal

    @property
    def needs_rolled_back_calls(self) -> bool:
        return self.turn.has_rolled_back and not self.is_refused

    @property
    def message_ids_with_files(self) -> dict[int, list[str]]:
        """The ids by the key that they stand under."""
        lineage = Lineage.build(self.turn.thread_key, self.turn.lineage)
        return {} if self.is_refused else message_rows.ids_with_attachments(lineage, self.turn.messages)

    def finish(
        self,
        steps: dict[int, Step],
        files: Mapping[str, list[Attachment]],
        pending: tuple[PendingCall, ...] = (),
        notes: Sequence[str] = (),
    ) -> ClaimedTurn | RefusedTurn:
        """The turn with its journal, the files of its window by message id, what it waited for, and further texts."""
        turn = self.turn
        lease = Lease(thread_key=turn.thread_key, worker=self.claimant.worker, fencing_token=turn.fencing_token)
        if self.is_refused:
            return RefusedTurn(
                lease=lease,
                id=turn.id,
                tenant=self.tenant,
                thread_id=self.thread_id,
                agent=turn.agent,
                attempt=turn.attempt,
                parent_turn_id=turn.parent_turn_id,
                window_to_seq=turn.window_to_seq,
                ending=ending_of(turn.id, turn.agent, steps, self.error),
            )
        return ClaimedTurn(
            lease=lease,
            id=turn.id,
            tenant=self.tenant,
            thread_id=self.thread_id,
            agent=turn.agent,
            attempt=turn.attempt,
            parent_turn_id=turn.parent_turn_id,
            depth=turn.depth,
            retries=turn.retries,
            failing_seconds=turn.failing_seconds or 0,
            remaining_seconds=turn.remaining_seconds,
            window=StoredWindow(turn.messages, files),
            may_have_files=bool(files),
            steps=steps,
            pending=pending,
            context=(*context_texts(turn.context or (), turn.summary), *notes),
            metadata=turn.metadata,
            user=turn.user,
            thread_owner=turn.thread_owner,
            is_steered=turn.is_steered,
        )


def read(value: Any, tenant: str, thread_id: str, claimant: ClaimRequest) -> ClaimOutcome | PartialClaim:
    """The outcome that the function's value says, or the part of it that the function reads."""
    if value is None:
        return NothingDue()
    if "quarantined" in value:
        return Quarantined(value["quarantined"])
    turn = FunctionTurn(**value)
    error = refusal_of(turn, claimant, remaining_seconds=turn.remaining_seconds, wait_is_over=turn.wait_is_over)
    partial_claim = PartialClaim(tenant, thread_id, claimant, turn, error)
    if partial_claim.has_journal or partial_claim.message_ids_with_files or partial_claim.needs_rolled_back_calls:
        return partial_claim
    return partial_claim.finish({}, {})


def complete(connection: Connection, partial_claim: PartialClaim) -> ClaimedTurn | RefusedTurn:
    """Read the rest of a claimed turn."""
    turn, message_ids = partial_claim.turn, partial_claim.message_ids_with_files
    steps = journal.load(connection, turn.id) if partial_claim.has_journal else {}
    files = load_attachments(connection, message_ids) if message_ids else {}
    pending = pending_calls.load(connection, turn.id) if partial_claim.has_journal else ()
    notes: tuple[str, ...] = ()
    if partial_claim.needs_rolled_back_calls:
        notes = rolled_back.tell_calls(connection, read_lineage(connection, turn.thread_key))
    return partial_claim.finish(steps, files, pending, notes)
