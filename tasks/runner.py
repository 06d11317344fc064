"""Running a thread after a wake-up: claim it, run its turns one after the other, release it.

What stays true: no connection is held while an agent runs; every path out of here has released the
lease, or lost it, or leaves it for the heartbeat to free.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

import structlog

from agent.agent import Agent
from agent.dependencies import RunDependencies
from agent.files.protocol import AttachmentReader
from agent.loop import Run
from agent.model_factory import model_for
from agent.models.protocol import ModelPermits
from agent.tools.thread_pool import ToolThreads
from agent.tools.tool_loops import ToolLoops
from conversation.errors import LeaseLost
from conversation.exhaustion import Resource
from conversation.fair_slots import FairSlots
from conversation.logs import bind_turn
from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE, WakeUp
from conversation.turn import ClaimedTurn, HandOver, Lease, LeasedTurn, RefusedTurn
from conversation.water_marks import WaterMarks
from store.live.event_publisher import EventPublisher
from store.settings import Settings
from store.summaries.summarize import defaults_of
from store.turns.claims import ClaimRequest, NothingDue, Quarantined
from store.turns.settle import SettleOutcome
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRun, ActiveRuns
from tasks.agent_trace import trace_agent_error
from tasks.live_turn import LiveJournal, LiveTurn
from tasks.publish import publish_wake_up, request_summaries
from tasks.tenant_places import TenantPlaces
from tasks.turn_events import TurnEvents, TurnOutcome
from tasks.turn_executor import ExecutedTurn, TurnExecutor
from tasks.turn_log import log_turn_end
from tasks.worker_connections import claims_at_once

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _TaskOutcome:
    """The outcome of the turns that one task ran."""

    #: The last turn left its thread above the high mark.
    is_due_for_summary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs turns for one worker."""

    settings: Settings
    agents: Mapping[str, Agent]
    claim_request: ClaimRequest
    turn_store: TurnStore
    active_runs: ActiveRuns
    attachments: AttachmentReader
    tool_threads: ToolThreads
    #: Called with the id of each turn that ended; must not block.
    publish_turn_ended: Callable[[str], None]
    #: Where async tools run; None runs them on the loop of the turns.
    tool_loops: ToolLoops | None = None
    #: The circuit breakers of its models; None has none.
    breakers: ModelPermits | None = None
    #: Called with what this process lacks, where a turn met that.
    on_exhaustion: Callable[[Resource], None] | None = None
    #: Where Flower hears of turns.
    turn_events: TurnEvents = field(default_factory=TurnEvents)
    #: Where those hear of turns who follow their threads.
    event_publisher: EventPublisher = field(default_factory=EventPublisher.to_nobody)
    #: Its places, which tenants share.
    places: TenantPlaces = field(default_factory=TenantPlaces)
    #: Bounds the claims at work at once.
    _claim_slots: FairSlots = field(init=False)
    #: The water marks of agents that have run: the same for each of their turns.
    _water_marks: dict[str, WaterMarks] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        slots = FairSlots(claims_at_once(self.turn_store.database))
        object.__setattr__(self, "_claim_slots", slots)

    async def run_thread(self, wake_up: WakeUp) -> None:
        """Run what is due on the wake-up's thread, within a bound; then publish a wake-up for the remainder.

        Where its tenant has as many places as it may, the wake-up is put back.
        """
        if not await self.places.take(wake_up.tenant):
            await asyncio.to_thread(publish_wake_up, wake_up)
            return
        try:
            await self._run_thread(wake_up)
        finally:
            self.places.give_back(wake_up.tenant)

    async def _run_thread(self, wake_up: WakeUp) -> None:
        outcome = _TaskOutcome()
        with self.active_runs.enter((wake_up.tenant, wake_up.thread_id)) as entry:
            next_turn_id = await self._run_due_turns(wake_up, entry, outcome)
        if next_turn_id is not None:
            await asyncio.to_thread(publish_wake_up, _next_wake_up(wake_up, next_turn_id))
        if outcome.is_due_for_summary:
            await asyncio.to_thread(request_summaries, expires_seconds=self.settings.summarize_interval_seconds)

    async def _notify_waiting_threads(self, tenant: str) -> None:
        """Wake a tenant's next threads, now that its limit of running turns has a free slot."""
        limit = self.settings.tenant_max_running_turns.count
        if limit:
            for wake_up in await self.turn_store.pick_wake_up_of_tenant(tenant, tenant_max_running=limit):
                await asyncio.to_thread(publish_wake_up, wake_up)

    async def _run_due_turns(self, wake_up: WakeUp, entry: ActiveRun, outcome: "_TaskOutcome") -> str | None:
        """Run turn after turn; returns the id of the next due turn, if one is left to another task."""
        started = time.monotonic()
        lease: Lease | None = None
        settle_outcome: SettleOutcome | None = None
        for count in range(1, self.settings.task_max_turns + 1):
            turn = await self._claim_next(wake_up, lease)
            if turn is None or self.active_runs.has_lease(turn.lease, besides=entry):
                # The database forgot the claim of a task that is about to commit its turn's end: that one ends it.
                return None
            entry.lease = turn.lease
            is_last = (
                # Quarantined turns run one by one: what is queued behind is for workers that run many.
                self.claim_request.runs_quarantine
                or count == self.settings.task_max_turns
                or time.monotonic() - started > self.settings.task_max_seconds
            )
            settle_outcome = await self._run_claimed(turn, entry, outcome, is_last=is_last)
            if settle_outcome is None or not settle_outcome.keeps_lease:
                break
            lease = turn.lease
        return settle_outcome.next_turn_id if settle_outcome is not None else None

    async def _claim_next(self, wake_up: WakeUp, lease: Lease | None) -> ClaimedTurn | RefusedTurn | None:
        if lease is not None:
            # It goes on with its thread, or releases it: who begins comes behind it.
            return await self._claim(wake_up, lease)
        async with self._claim_slots.take(wake_up.tenant):
            # Asked when it is this claim's turn: it may have waited for long.
            if self.active_runs.has_run((wake_up.tenant, wake_up.thread_id)):
                # The task that runs here claims what comes next. After a failover that forgot its claim, a second
                # claim would get the same token, and both could write.
                return None
            if not self.active_runs.is_stopping:
                return await self._claim(wake_up, None)
        # Another worker takes the wake-up; were this one the last, the sweep would publish it again.
        await asyncio.to_thread(publish_wake_up, wake_up)
        return None

    async def _claim(self, wake_up: WakeUp, lease: Lease | None) -> ClaimedTurn | RefusedTurn | None:
        claim_outcome = await self.turn_store.claim(wake_up.tenant, wake_up.thread_id, self.claim_request, held=lease)
        match claim_outcome:
            case ClaimedTurn() | RefusedTurn():
                return claim_outcome
            case NothingDue():
                return None
            case Quarantined(turn_id=turn_id):
                await asyncio.to_thread(publish_wake_up, _next_wake_up(wake_up, turn_id, queue=QUARANTINE_QUEUE))
                return None
            case _:
                assert_never(claim_outcome)

    async def _run_claimed(
        self, turn: ClaimedTurn | RefusedTurn, entry: ActiveRun, outcome: "_TaskOutcome", *, is_last: bool
    ) -> SettleOutcome | None:
        """Run one claimed turn to the commit of its end; None where the lease was lost."""
        started = time.monotonic()
        with bind_turn(turn):
            _log.info("turn_started", attempt=turn.attempt, fencing_token=turn.lease.fencing_token)
            self.turn_events.start(turn)
            live_turn = LiveTurn(self.event_publisher, turn)
            try:
                executed = await self._execute(
                    turn, entry, live_turn, releases=lambda: is_last or self.active_runs.is_stopping
                )
                live_turn.end(executed.ending)
            except LeaseLost:
                # Whoever has it now tells how it goes on.
                _log.warning("turn_lost", attempt=turn.attempt, fencing_token=turn.lease.fencing_token)
                return None
            finally:
                live_turn.close()
            turn_outcome = _outcome_of(executed, time.monotonic() - started)
            log_turn_end(turn, turn_outcome)
        self.turn_events.end(turn, turn_outcome)
        self.publish_turn_ended(turn.id)
        outcome.is_due_for_summary = self._is_above_mark(turn.agent, executed.settle_outcome)
        if isinstance(executed.ending, HandOver) and executed.ending.error is not None:
            # Another process can go on at once: it need not wait for the sweep.
            await asyncio.to_thread(publish_wake_up, _wake_up_of(turn))
        for wake_up in executed.settle_outcome.wake_ups:
            await asyncio.to_thread(publish_wake_up, wake_up)
        if not executed.settle_outcome.keeps_lease:
            await self._notify_waiting_threads(turn.tenant)
        return executed.settle_outcome

    async def _execute(
        self, turn: ClaimedTurn | RefusedTurn, entry: ActiveRun, live_turn: LiveTurn, *, releases: Callable[[], bool]
    ) -> ExecutedTurn:
        executor = TurnExecutor(
            turn_store=self.turn_store,
            active_runs=self.active_runs,
            is_resumable=True,
            on_exhaustion=self.on_exhaustion,
        )
        match turn:
            case RefusedTurn():
                # Perhaps a turn of an agent that is not served here: its process is dead.
                return await executor.end_refused(turn, release=releases())
            case ClaimedTurn():
                return await executor.execute(turn, lambda: self._create_run(turn, live_turn), entry, releases=releases)
            case _:
                assert_never(turn)

    def _is_above_mark(self, agent_name: str, settle_outcome: SettleOutcome) -> bool:
        agent, marks = self.agents.get(agent_name), self._water_marks.get(agent_name)
        if agent is None:
            return False
        if marks is None:
            marks = self._water_marks[agent_name] = agent.water_marks(defaults_of(self.settings))
        marks = marks.within(settle_outcome.window_tokens)
        return marks.are_passed(messages=settle_outcome.uncovered_messages, tokens=settle_outcome.uncovered_tokens)

    def _create_run(self, turn: ClaimedTurn, live_turn: LiveTurn) -> Run:
        agent = self.agents[turn.agent]
        return Run(agent, turn, self._build_dependencies(agent, turn, live_turn))

    def _build_dependencies(self, agent: Agent, turn: ClaimedTurn, live_turn: LiveTurn) -> RunDependencies:
        name = agent.model_name or self.settings.model
        return RunDependencies(
            model=agent.model or model_for(name),
            model_name=name,
            default_model_name=self.settings.model,
            max_depth=self.settings.agent_max_depth,
            max_children=self.settings.agent_max_children,
            journal=LiveJournal(self.turn_store.journal_of(turn), live_turn),
            attachments=self.attachments,
            tool_threads=self.tool_threads,
            tool_loops=self.tool_loops,
            max_attempts=self.settings.turn_max_attempts,
            max_retry_seconds=self.settings.turn_retry_max_seconds,
            wait_expire_seconds=self.settings.wait_expire_seconds,
            keeps_provider_errors=self.settings.keep_provider_errors,
            breakers=self.breakers,
            mcp_allow_networks=self.settings.mcp_allow_networks,
            # A reply that is taken whole has no pieces to show.
            emit=live_turn.observe if agent.streams else None,
        )


def _outcome_of(executed: ExecutedTurn, seconds: float) -> TurnOutcome:
    return TurnOutcome(
        ending=executed.ending,
        seconds=seconds,
        model_calls=executed.model_calls,
        tokens=executed.tokens,
        trace=() if executed.error is None else tuple(trace_agent_error(executed.error)),
    )


def _wake_up_of(turn: LeasedTurn) -> WakeUp:
    return WakeUp(tenant=turn.tenant, thread_id=turn.thread_id, turn_id=turn.id)


def _next_wake_up(wake_up: WakeUp, turn_id: str, *, queue: str = TURNS_QUEUE) -> WakeUp:
    return WakeUp(tenant=wake_up.tenant, thread_id=wake_up.thread_id, turn_id=turn_id, queue=queue)
