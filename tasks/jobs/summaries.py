"""Writing summaries, as plain functions that a task, a command or a test can call.

What stays true: due threads are found and reserved in Postgres, so that a task that is lost or sent
twice does no harm; one process writes for a bounded number of threads at a time and never waits for
its own kind, so that sweeps find a free thread beside it; after a batch of one tenant's come those of
the others; and a summary that fails is retried later, then left to an operator.
"""

import asyncio
import threading
import time
from collections.abc import Collection, Mapping, Sequence

import structlog

from agent import registry
from agent.agent import Agent
from agent.model_factory import preload
from agent.models.protocol import RECALL_MODEL
from conversation.errors import DatabaseUnavailable, ModelError, ThreadNotFound
from conversation.summary import SummaryDefaults
from store.database.engine import Database
from store.settings import Settings
from store.summaries import due as summary_dues
from store.summaries.due import NOTHING_TO_COVER_SECONDS, DueThread
from store.summaries.summarize import PAUSE_SECONDS, defaults_of, summarize_to_low_mark
from store.tables import MAX_SUMMARY_FAILURES

#: Threads for which a process has summaries written at once.
BATCH_SIZE = 10
#: Tenants of one round, at most.
ROUND_TENANTS_MAX = 200
#: Seconds for which tenants that alone had threads due are not passed over again.
ALONE_SECONDS = 10.0
#: Kinds of a model's error that pass by themselves, and cost nothing: no thread is given up for them.
AWAY_KINDS = frozenset({"unavailable", "rate_limited"})
#: The agent that stands for those that this process does not know.
_UNKNOWN_AGENT = Agent(name="nobody")

_log = structlog.get_logger(__name__)
#: Held while this process writes summaries.
_writing_lock = threading.Lock()


def run_summaries(database: Database, settings: Settings, agents: Mapping[str, Agent] | None = None) -> int:
    """Summarize the threads that are due, batch after batch, until none is or the next tick comes.

    Returns how many summaries were written; 0 also where this process is at it already. Without
    `agents`, those that the settings name.
    """
    if not _writing_lock.acquire(blocking=False):
        return 0
    try:
        agents_by_name = registry.load(settings.agent_modules) if agents is None else agents
        writer = _Writer(database, agents_by_name, defaults_of(settings))
        return writer.write_until_none_due(time.monotonic() + settings.summarize_interval_seconds)
    finally:
        _writing_lock.release()


class _Writer:
    """Has summaries written, by each thread's own agent."""

    def __init__(self, database: Database, agents: Mapping[str, Agent], defaults: SummaryDefaults) -> None:
        self.database = database
        self.agents = agents
        self.defaults = defaults
        #: The tenants that had a batch in this round, and until when nobody but them is looked for.
        self._served: set[str] = set()
        self._alone_until = 0.0
        self._marks = {name: agent.water_marks(defaults) for name, agent in agents.items()}

    def write_until_none_due(self, deadline: float) -> int:
        """Write batch after batch, until none is due or `deadline` of `time.monotonic` is past."""
        written, pause_until = 0, 0.0
        while True:
            if batch := self._reserve_batch():
                self._prepare_models(batch)
                written += asyncio.run(self._write_batch(batch))
                if any(each.has_more for each in batch):
                    pause_until = time.monotonic() + PAUSE_SECONDS
            elif (pause_seconds := pause_until - time.monotonic()) > 0:
                # Long threads pause, so that others are not kept waiting: here are no others.
                time.sleep(pause_seconds)
            else:
                return written
            if time.monotonic() > deadline:
                return written

    def _reserve_batch(self) -> list[DueThread]:
        """Reserve threads of tenants that were not served in this round, else begin the next one."""
        batch = self._reserve(self._served) if self._served and time.monotonic() > self._alone_until else []
        if not batch:
            if self._served:
                # Nobody else is due: what is due of the others is not gone through for it each time.
                self._alone_until = time.monotonic() + ALONE_SECONDS
            self._served.clear()
            batch = self._reserve(())
        self._served |= {each.tenant for each in batch}
        if len(self._served) > ROUND_TENANTS_MAX:
            self._served.clear()
        return batch

    def _reserve(self, except_tenants: Collection[str]) -> list[DueThread]:
        return self.database.run(
            summary_dues.reserve_due,
            marks=self._marks,
            other_marks=self.defaults.marks,
            limit=BATCH_SIZE,
            except_tenants=except_tenants,
        )

    def _agent_of(self, due_thread: DueThread) -> Agent:
        return self.agents.get(due_thread.agent or "", _UNKNOWN_AGENT)

    def _is_model_permitted(self, due_thread: DueThread) -> bool:
        """Whether an agent, or the operator for all of them, says which model may read a thread.

        The agent of another worker may have an account of its own: then the environment's is not to read
        what was said to it.
        """
        is_known = due_thread.agent is None or due_thread.agent in self.agents
        return is_known or bool(self.defaults.summary_model) or self.defaults.model == RECALL_MODEL

    def _prepare_models(self, batch: Sequence[DueThread]) -> None:
        """Load what the models need before a loop runs: seconds, for some."""
        for agent in {self._agent_of(each) for each in batch}:
            summarizer = agent.summarizer(self.defaults)
            if summarizer.model is not agent.model:
                preload(summarizer.model_name, parameters=summarizer.parameters, has_tools=False)

    async def _write_batch(self, batch: Sequence[DueThread]) -> int:
        """Write a batch on one event loop: a model's connections belong to it."""
        try:
            return sum(await asyncio.gather(*map(self._write, batch)))
        finally:
            await self.database.close_async()

    async def _write(self, due_thread: DueThread) -> int:
        ids = {"tenant": due_thread.tenant, "thread": due_thread.thread_id, "agent": due_thread.agent}
        with structlog.contextvars.bound_contextvars(**ids):
            return await self._write_one(due_thread)

    async def _write_one(self, due_thread: DueThread) -> int:
        if not self._is_model_permitted(due_thread):
            _log.warning("summary_agent_unknown")
            await self.database.run_async(summary_dues.postpone, due=due_thread, seconds=NOTHING_TO_COVER_SECONDS)
            return 0
        agent = self._agent_of(due_thread)
        try:
            written = await summarize_to_low_mark(
                self.database,
                due_thread.tenant,
                due_thread.address,
                agent.summarizer(self.defaults),
                agent.water_marks(self.defaults),
                due=due_thread,
            )
        except (DatabaseUnavailable, asyncio.CancelledError):
            raise
        except ThreadNotFound:
            return 0
        except Exception as error:  # noqa: BLE001 - one thread's trouble is not the others'
            await self._note_failure(due_thread, error)
            return 0
        return len(written)

    async def _note_failure(self, due_thread: DueThread, error: Exception) -> None:
        is_away = isinstance(error, ModelError) and error.kind in AWAY_KINDS
        failures = await self.database.run_async(
            summary_dues.note_failure, due=due_thread, is_last_possible=not is_away
        )
        kind = error.kind if isinstance(error, ModelError) else type(error).__name__
        log = _log.bind(kind=kind, failures=failures)
        if not failures:
            # Its reservation is over, or a summary was withdrawn: what failed is not needed any more.
            log.info("summary_came_too_late")
        elif failures >= MAX_SUMMARY_FAILURES:
            log.error("summary_given_up")
        else:
            log.warning("summary_postponed")
