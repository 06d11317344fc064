"""Answering a bell: claim the thread, run its turns one after the other, let go.

What stays true: no connection is held while an agent runs; every path out of here has released the
lease, or lost it, or leaves it for the heartbeat to free.
"""

import asyncio
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import assert_never

import structlog

from agent.agent import Agent
from agent.dependencies import Hands
from agent.files.protocol import AttachmentReader
from agent.journal import over_before_it_ran
from agent.loop import Run
from agent.model_factory import model_for
from agent.tools.thread_pool import ToolThreads
from conversation.errors import DatabaseUnavailable, LeaseLost, ThreadmillError
from conversation.task_contract import SUSPECTS_QUEUE, TURNS_QUEUE, Bell
from conversation.turn import ClaimedTurn, Ending, Failed, HandBack, Lease, TurnError
from store.settings import Settings
from store.summaries.summarize import defaults_of
from store.turns.claims import Claimant, Nothing, Suspect
from store.turns.settle import Settled
from store.turns.turn_store import Ledger
from tasks.active_runs import Occupied, Running, StopReason
from tasks.publish import ring, ring_for_summaries

#: The kind of error of a turn that its agent broke.
BUG = "bug"
#: Innermost frames of a bug in the log: enough to find the line.
BUG_FRAMES = 8

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Drained:
    """What the turns of one bell came to."""

    #: The turns that their agent broke.
    broken: list[str] = field(default_factory=list)
    #: The last turn left its thread above the high mark.
    is_due_for_summary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs turns for one worker."""

    settings: Settings
    agents: Mapping[str, Agent]
    claimant: Claimant
    ledger: Ledger
    running: Running
    attachments: AttachmentReader
    tool_threads: ToolThreads
    #: Told the id of each turn that ended; must not block.
    announce: Callable[[str], None]

    async def answer(self, bell: Bell) -> None:
        """Run what is due on the bell's thread, within a bound; then ring for the rest.

        Raises `ThreadmillError` when all that is done, if an agent broke a turn: the turn has failed
        in good order, and Celery and Flower shall show that there is a bug.
        """
        drained = _Drained()
        with self.running.entered((bell.tenant, bell.thread_id)) as entry:
            following = await self._drain(bell, entry, drained)
        if following is not None:
            await asyncio.to_thread(ring, _next_bell(bell, following))
        if drained.is_due_for_summary:
            # After all turns: nobody waits for this, and beat finds the thread without it.
            ring_late = partial(ring_for_summaries, expires_seconds=self.settings.summarize_seconds)
            await asyncio.to_thread(ring_late)
        if drained.broken:
            raise ThreadmillError(f"an agent broke {', '.join(drained.broken)}")

    async def _pass_on_place(self, tenant: str) -> None:
        """A tenant with a limit has a place free: whoever waits for it need not wait for the sweep."""
        limit = self.settings.tenant_max_running_turns
        if limit:
            for bell in await self.ledger.next_of_tenant(tenant, tenant_max_running=limit):
                await asyncio.to_thread(ring, bell)

    async def _drain(self, bell: Bell, entry: Occupied, drained: "_Drained") -> str | None:
        """Run turn after turn; the id of the one that is left to others, if one is due."""
        started = time.monotonic()
        held: Lease | None = None
        settled: Settled | None = None
        for count in range(1, self.settings.drain_max_turns + 1):
            claimed = await self._claim(bell, held)
            if claimed is None:
                return None
            is_last = (
                # Suspects come one by one: what stands behind this one is for workers that run many.
                self.claimant.runs_suspects
                or count == self.settings.drain_max_turns
                or time.monotonic() - started > self.settings.drain_max_seconds
            )
            settled = await self._run(claimed, entry, drained, is_last=is_last)
            if settled is None or not settled.keeps_lease:
                break
            held = claimed.lease
        return settled.next_turn_id if settled is not None else None

    async def _claim(self, bell: Bell, held: Lease | None) -> ClaimedTurn | None:
        if held is None and self.running.has_run((bell.tenant, bell.thread_id)):
            # Whoever runs here looks for what comes next. After a failover that forgot its claim, a second
            # one would get the same token, and both could write.
            return None
        if self.running.is_stopping and held is None:
            # Another worker hears it; were this one the last, the sweep would ring again.
            await asyncio.to_thread(ring, bell)
            return None
        found = await self.ledger.claim(bell.tenant, bell.thread_id, self.claimant, held=held)
        match found:
            case ClaimedTurn():
                return found
            case Nothing():
                return None
            case Suspect(turn_id=turn_id):
                await asyncio.to_thread(ring, _next_bell(bell, turn_id, queue=SUSPECTS_QUEUE))
                return None
            case _:
                assert_never(found)

    async def _run(
        self, claimed: ClaimedTurn, entry: Occupied, drained: "_Drained", *, is_last: bool
    ) -> Settled | None:
        """One turn, from its claim to its commit; None where the lease was lost."""
        log = _log.bind(
            turn=claimed.id, thread=claimed.thread_id, tenant=claimed.tenant, attempt=claimed.attempt
        )
        log.info("turn_started", agent=claimed.agent, fence=claimed.lease.fence)
        try:
            ending = await self._ending(claimed, entry)
            release = is_last or self.running.is_stopping
            ending, settled = await self._settle(claimed, ending, release=release)
        except LeaseLost:
            log.warning("turn_lost", fence=claimed.lease.fence)
            return None
        log.info("turn_ended", ending=type(ending).__name__)
        self.announce(claimed.id)
        if isinstance(ending, Failed) and ending.error.kind == BUG:
            drained.broken.append(claimed.id)
        drained.is_due_for_summary = self._passes_mark(claimed.agent, settled)
        if not settled.keeps_lease:
            await self._pass_on_place(claimed.tenant)
        return settled

    def _passes_mark(self, agent_name: str, settled: Settled) -> bool:
        agent = self.agents.get(agent_name)
        return agent is not None and agent.water_marks(defaults_of(self.settings)).are_passed(
            messages=settled.uncovered_messages, tokens=settled.uncovered_tokens
        )

    async def _settle(self, claimed: ClaimedTurn, ending: Ending, *, release: bool) -> tuple[Ending, Settled]:
        """Commit the end; one that cannot be stored becomes a failure that can."""
        try:
            return ending, await self.ledger.settle(claimed, ending, release=release)
        except (LeaseLost, DatabaseUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a value does to the driver, it would do so again
            failed = Failed(error=_bug(claimed, error))
        return failed, await self.ledger.settle(claimed, failed, release=release)

    async def _ending(self, claimed: ClaimedTurn, entry: Occupied) -> Ending:
        """How the run ends: by itself, or stopped by somebody."""
        over = over_before_it_ran(claimed)
        if over is not None:
            # Perhaps a turn of an agent that is not served here: its process is dead.
            return over
        agent = self.agents[claimed.agent]
        run = Run(agent, claimed, self._hands(agent, claimed))
        entry.turn_id, entry.stop_reason = claimed.id, None
        entry.run = asyncio.create_task(run.go())
        if self.running.grace_is_over:
            # Claimed while the process was told to stop.
            entry.stop(StopReason.SHUTDOWN)
        try:
            return await entry.run
        except (LeaseLost, DatabaseUnavailable):
            raise
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            return _stopped(run, entry.stop_reason, error)
        except Exception as error:  # noqa: BLE001 - what an agent breaks ends its turn, not the worker
            return run.broken(_bug(claimed, error))
        finally:
            entry.turn_id = entry.run = None

    def _hands(self, agent: Agent, claimed: ClaimedTurn) -> Hands:
        name = agent.model_name or self.settings.model
        return Hands(
            model=agent.model or model_for(name),
            model_name=name,
            journal=self.ledger.journal_of(claimed),
            attachments=self.attachments,
            tool_threads=self.tool_threads,
            max_attempts=self.settings.turn_max_attempts,
        )


def _next_bell(bell: Bell, turn_id: str, *, queue: str = TURNS_QUEUE) -> Bell:
    return Bell(tenant=bell.tenant, thread_id=bell.thread_id, turn_id=turn_id, queue=queue)


def _stopped(run: Run, reason: StopReason | None, error: asyncio.CancelledError) -> Ending:
    match reason:
        case StopReason.CANCEL:
            return run.cancelled()
        case StopReason.SHUTDOWN:
            return HandBack()
        case None:
            # Nobody asked: something that the agent waited for was cancelled.
            return run.broken(_bug(run.claimed, error))
        case _:
            assert_never(reason)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _bug(claimed: ClaimedTurn, error: BaseException) -> TurnError:
    """Log where it was raised, without values, and name its type only: its text may quote a message."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    frames = traceback.format_tb(error.__traceback__)[-BUG_FRAMES:]
    _log.error("turn_bug", turn=claimed.id, agent=claimed.agent, error=name, frames=frames)
    return TurnError(BUG, name)
