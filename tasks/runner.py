"""Answering a bell: claim the thread, run its turns one after the other, let go.

What stays true: no connection is held while an agent runs; every path out of here has released the
lease, or lost it, or leaves it for the heartbeat to free.
"""

import asyncio
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

import structlog

from agent.agent import Agent
from agent.journal import over_before_it_ran
from agent.loop import AttachmentReader, Hands, Run
from agent.models import model_for
from agent.tool_threads import ToolThreads
from conversation.bell import SUSPECTS_QUEUE, TURNS_QUEUE, Bell
from conversation.errors import DatabaseUnavailable, LeaseLost, ThreadmillError
from conversation.turn import ClaimedTurn, Ending, Failed, HandBack, Lease, TurnError
from store.claims import Claimant, Nothing, Suspect
from store.ledger import Ledger
from store.settings import Settings
from store.turns import Settled
from tasks.rings import ring
from tasks.running import Occupied, Running, StopReason

#: Innermost frames of a bug in the log: enough to find the line.
BUG_FRAMES = 8

_log = structlog.get_logger(__name__)


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
        """Run what is due on the bell's thread, within a bound; then ring for the rest."""
        started = time.monotonic()
        held: Lease | None = None
        with self.running.entered((bell.tenant, bell.thread_id)) as entry:
            for count in range(1, self.settings.drain_max_turns + 1):
                claimed = await self._claim(bell, held)
                if claimed is None:
                    return
                is_last = (
                    count == self.settings.drain_max_turns
                    or time.monotonic() - started > self.settings.drain_max_seconds
                )
                settled = await self._run(claimed, entry, is_last=is_last)
                if settled is None or not settled.keeps_lease:
                    break
                held = claimed.lease
        if settled is not None and settled.next_turn_id is not None:
            await asyncio.to_thread(ring, _next_bell(bell, settled.next_turn_id))

    async def _claim(self, bell: Bell, held: Lease | None) -> ClaimedTurn | None:
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

    async def _run(self, claimed: ClaimedTurn, entry: Occupied, *, is_last: bool) -> Settled | None:
        """One turn, from its claim to its commit; None where the lease was lost."""
        log = _log.bind(
            turn=claimed.id, thread=claimed.thread_id, tenant=claimed.tenant, attempt=claimed.attempt
        )
        log.info("turn_started", agent=claimed.agent, fence=claimed.lease.fence)
        bug: Exception | None = None
        try:
            try:
                ending = await self._ending(claimed, entry)
            except (LeaseLost, DatabaseUnavailable):
                raise
            except Exception as error:  # noqa: BLE001 - what an agent breaks ends its turn, not the worker
                bug, ending = error, Failed(error=_bug(error))
            release = is_last or self.running.is_stopping
            settled = await self.ledger.settle(claimed, ending, release=release)
        except LeaseLost:
            log.warning("turn_lost", fence=claimed.lease.fence)
            return None
        log.info("turn_ended", ending=type(ending).__name__)
        self.announce(claimed.id)
        if bug is not None:
            # The turn has failed in good order; Celery and Flower shall see that this is a bug,
            # without the error's text: it may quote a message.
            log.error(
                "turn_bug", error=_name(bug), frames=traceback.format_tb(bug.__traceback__)[-BUG_FRAMES:]
            )
            raise ThreadmillError(f"{_name(bug)} in turn {claimed.id}") from None
        return settled

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
        try:
            return await entry.run
        except asyncio.CancelledError:
            match entry.stop_reason:
                case StopReason.CANCEL:
                    return run.cancelled()
                case StopReason.SHUTDOWN:
                    return HandBack()
                case None:
                    raise
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


def _bug(error: Exception) -> TurnError:
    return TurnError("bug", _name(error))


def _name(error: Exception) -> str:
    """The error's type only: its text may quote a message."""
    return f"{type(error).__module__}.{type(error).__qualname__}"
