"""The turn of a library call in the database: sent, claimed, withdrawn, and read when it is over.

What stays true: however a call is cancelled, the user's message is kept and the thread is free; the
caller's copy of the thread says what is stored.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from sqlalchemy import Connection

from agent.agent import Agent
from conversation.backoff import pauses
from conversation.branch_address import MAIN, address_of, row_id_of, split_address
from conversation.ids import new_id
from conversation.message import Message
from conversation.pending_call import Decision, PendingCall
from conversation.shielding import run_to_completion
from conversation.thread import Thread
from conversation.turn import Cancelled, ClaimedTurn, RefusedTurn, TurnResult
from store.thread_store import ThreadStore
from store.threads import repository
from store.turns import cancel, inbox, records
from store.turns.claims import ClaimOutcome, ClaimRequest, NothingDue, Quarantined
from store.turns.decisions import adopt, decide
from store.turns.pending_listing import read_pending
from store.turns.send_request import SendRequest
from store.turns.turn_store import TurnStore
from tasks.active_runs import ThreadName
from threadmill.process_lease import ProcessLease

#: Seconds between two polls whether the thread is free, doubled up to the maximum.
POLL_FIRST_SECONDS = 0.01
POLL_MAX_SECONDS = 0.5


@dataclass(slots=True)
class LocalTurn:
    """One turn of an agent in this process, on the caller's copy of its thread."""

    agent: Agent
    store: ThreadStore
    thread: Thread
    process_lease: ProcessLease
    #: The user who asks; None where the thread's owner does.
    user: str | None = None
    id: str = field(default_factory=new_id)
    #: The user's message that the turn answers, once it is in the inbox; None where it was stored before.
    question: Message | None = None

    @property
    def thread_name(self) -> ThreadName:
        # Its row's: once it is stored, the copy knows its branch.
        return self.thread.tenant, row_id_of(self.thread.address)

    @property
    def turn_store(self) -> TurnStore:
        return TurnStore(self.store.database)

    async def send(self) -> None:
        """Store what is new: the question into the inbox, what stands before it into the history."""
        send_task = asyncio.ensure_future(self._store_new_messages())
        try:
            await asyncio.shield(send_task)
        except asyncio.CancelledError:
            # Half a sending cannot be told from a whole one: let it end, then withdraw the turn.
            await asyncio.wait([send_task])
            if send_task.exception() is None:
                await run_to_completion(self._withdraw())
            raise

    async def _store_new_messages(self) -> None:
        new_messages = self.thread.new_messages
        has_question = (
            bool(new_messages) and new_messages[-1].role == "user" and self.thread.messages[-1] is new_messages[-1]
        )
        question = new_messages[-1] if has_question else None

        def store(connection: Connection) -> tuple[repository.SaveOutcome, bool]:
            save_outcome = repository.save(
                connection, self.thread, new=new_messages[:-1] if has_question else new_messages, user=self.user
            )
            # The same copy, asked twice at once, says it once.
            is_new = question is not None and not inbox.has_message(
                connection, save_outcome.row.key, question.id, except_turn_id=self.id
            )
            request = SendRequest(
                turn_id=self.id,
                tenant=self.thread.tenant,
                thread_id=address_of(self.thread.id, split_address(save_outcome.row.id)[1] or MAIN),
                message=question if is_new else None,
                agent=self.agent.name,
                allow_unknown_agent=True,
                local_process_id=self.process_lease.process_id,
                metadata=dict(save_outcome.row.metadata),
                user=self.user,
            )
            inbox.accept(connection, request)
            return save_outcome, is_new

        save_outcome, is_new = await self.store.database.run_async(store)
        repository.apply(self.thread, save_outcome)
        self.question = question if is_new else None

    async def go_on(self, decisions: Mapping[str, Decision], *, by: str | None) -> bool:
        """Decide what the turn waits for; make it this process's own, if nothing is left to decide.

        Returns whether it is: else it waits, runs elsewhere or has ended. Raises as `decide`.
        """

        def work(connection: Connection) -> bool:
            for call_id, decision in decisions.items():
                decide(connection, self.id, call_id, decision, by=by, tenant=self.thread.tenant)
            return adopt(connection, self.id, self.thread.tenant, self.process_lease.process_id)

        return await self.store.database.run_async(work)

    async def load_pending(self) -> tuple[PendingCall, ...]:
        """The open calls of the turn."""
        return await self.store.database.run_async(read_pending, turn_id=self.id, tenant=self.thread.tenant)

    async def claim(self) -> ClaimedTurn | RefusedTurn:
        """Wait until the thread is free and this turn is its next."""
        claim_request = ClaimRequest(
            worker=self.process_lease.process_id,
            local_process_id=self.process_lease.process_id,
            only_turn=self.id,
            agents={self.agent.name: self.agent.version},
            max_messages={self.agent.name: self.agent.max_messages},
        )
        for pause in pauses(POLL_FIRST_SECONDS, POLL_MAX_SECONDS):
            claim_task = asyncio.ensure_future(self.turn_store.claim(*self.thread_name, claim_request))
            try:
                outcome = await asyncio.shield(claim_task)
                match outcome:
                    case ClaimedTurn() | RefusedTurn(id=self.id):
                        self._set_question_seq(outcome)
                        return outcome
                    case RefusedTurn():
                        await self._end_abandoned_turn(outcome)
                    case NothingDue() | Quarantined():
                        await self.process_lease.wait_for_turn_end(self.thread_name, within_seconds=pause)
                    case _:
                        assert_never(outcome)
            except asyncio.CancelledError:
                await run_to_completion(self._give_up(claim_task))
                raise
        raise AssertionError("the pauses never end")

    async def _give_up(self, claim_task: "asyncio.Future[ClaimOutcome]") -> None:
        """Undo a cancelled wait: a turn that was claimed meanwhile is ended, the user's message is kept."""
        outcome = await claim_task
        match outcome:
            case ClaimedTurn():
                self._set_question_seq(outcome)
                await self.turn_store.settle(outcome, Cancelled(), release=True)
            case RefusedTurn(id=self.id):
                self._set_question_seq(outcome)
                await self.turn_store.settle(outcome, outcome.ending, release=True)
            case RefusedTurn():
                await self._end_abandoned_turn(outcome)
                await self._withdraw()
            case NothingDue() | Quarantined():
                await self._withdraw()
            case _:
                assert_never(outcome)

    async def _end_abandoned_turn(self, turn: RefusedTurn) -> None:
        """End an earlier turn whose process is dead: no process runs it, the text that it had is kept."""
        await self.turn_store.settle(turn, turn.ending, release=True)

    async def _withdraw(self) -> None:
        """Withdraw the turn before it began; the user's message is kept."""
        question = self.question

        def withdraw(connection: Connection) -> repository.SaveOutcome:
            cancel.request_cancel(connection, self.id)
            inbox.discard(connection, self.id)
            return repository.save(connection, self.thread, new=[question] if question else [])

        repository.apply(self.thread, await self.store.database.run_async(withdraw))

    def _set_question_seq(self, turn: ClaimedTurn | RefusedTurn) -> None:
        """Give the question the position in the history that the claim assigned."""
        question = self.question
        if question is None:
            return
        for file in question.attachments:
            file.content = None
        if isinstance(turn, RefusedTurn):
            question.seq = turn.window_to_seq
        else:
            question.seq = next(m.seq for m in turn.window if m.id == question.id)

    async def load_result(self) -> TurnResult:
        """Bring the caller's thread up to date with what was committed."""
        result = await self.store.database.run_async(records.read_result, turn_id=self.id, tenant=self.thread.tenant)
        # A turn that is asked for once more, after its end, has its messages there already.
        known_ids = {message.id for message in self.thread.messages}
        self.thread.messages.extend(message for message in result.messages if message.id not in known_ids)
        self.thread.note_stored()
        return result
