"""Writing summaries, as plain functions that a task, a command or a test can call.

What stays true: threads are found in Postgres and taken there, so that a bell that is lost or rung
twice does no harm; one process writes for a bounded number of threads at a time and never waits for
its own kind, so that sweeps find a free thread beside it; and a summary that fails is put off, then
left to a person.
"""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial

import structlog

from agent import registry
from agent.agent import Agent
from agent.model_factory import prepare
from conversation.errors import DatabaseUnavailable, ModelError, ThreadNotFound
from conversation.summary import SummaryDefaults
from store.database.engine import Database
from store.settings import Settings
from store.summaries import due as summary_dues
from store.summaries.due import Due
from store.summaries.summarize import PAUSE_SECONDS, defaults_of, summarize_down
from store.tables import MAX_SUMMARY_FAILURES

#: Threads for which a process has summaries written at once.
AT_ONCE = 10
#: What holds for threads of agents that this process does not know.
_NOBODY = Agent(name="nobody")

_log = structlog.get_logger(__name__)
#: Held while this process writes summaries.
_writing = threading.Lock()


def run_summaries(database: Database, settings: Settings, agents: Mapping[str, Agent] | None = None) -> int:
    """Summarize the threads that are due, batch after batch, until none is or the next tick comes.

    Returns how many summaries were written; 0 also where this process is at it already. Without
    `agents`, those that the settings name.
    """
    if not _writing.acquire(blocking=False):
        return 0
    try:
        known = registry.load(settings.agents) if agents is None else agents
        writer = _Writer(database, known, defaults_of(settings))
        return writer.until_dry(time.monotonic() + settings.summarize_seconds)
    finally:
        _writing.release()


class _Writer:
    """Has summaries written, by each thread's own agent."""

    def __init__(self, database: Database, agents: Mapping[str, Agent], defaults: SummaryDefaults) -> None:
        self.database = database
        self.agents = agents
        self.defaults = defaults
        self._take = partial(
            summary_dues.take_due,
            marks={name: agent.water_marks(defaults) for name, agent in agents.items()},
            other_marks=defaults.marks,
            limit=AT_ONCE,
        )

    def until_dry(self, end: float) -> int:
        """Batch after batch, by the clock of `time.monotonic`."""
        written, rest_until = 0, 0.0
        while True:
            if due := self.database.run(self._take):
                self._prepare(due)
                written += asyncio.run(self._write_all(due))
                if any(each.goes_on for each in due):
                    rest_until = time.monotonic() + PAUSE_SECONDS
            elif (rest := rest_until - time.monotonic()) > 0:
                # Long ones leave a while to others: there are none.
                time.sleep(rest)
            else:
                return written
            if time.monotonic() > end:
                return written

    def _agent(self, due: Due) -> Agent:
        return self.agents.get(due.agent or "", _NOBODY)

    def _prepare(self, due: Sequence[Due]) -> None:
        """Load what the models need before a loop runs: seconds, for some."""
        for agent in {self._agent(each) for each in due}:
            summarizer = agent.summarizer(self.defaults)
            if summarizer.model is not agent.model:
                prepare(summarizer.model_name)

    async def _write_all(self, due: Sequence[Due]) -> int:
        """One event loop for a batch: a model's connections belong to it."""
        try:
            return sum(await asyncio.gather(*map(self._write, due)))
        finally:
            await self.database.close_async()

    async def _write(self, due: Due) -> int:
        agent = self._agent(due)
        try:
            written = await summarize_down(
                self.database,
                due.tenant,
                due.thread_id,
                agent.summarizer(self.defaults),
                agent.water_marks(self.defaults),
                due=due,
            )
        except (DatabaseUnavailable, asyncio.CancelledError):
            raise
        except ThreadNotFound:
            return 0
        except Exception as error:  # noqa: BLE001 - one thread's trouble is not the others'
            await self._failed(due, error)
            return 0
        return len(written)

    async def _failed(self, due: Due, error: Exception) -> None:
        failures = await self.database.run_async(partial(summary_dues.note_failure, due=due))
        kind = error.kind if isinstance(error, ModelError) else type(error).__name__
        log = _log.bind(thread=due.thread_id, tenant=due.tenant, kind=kind, failures=failures)
        if not failures:
            # Its reservation is over, or a summary was taken back: what failed is not wanted any more.
            log.info("summary_came_too_late")
        elif failures >= MAX_SUMMARY_FAILURES:
            log.error("summary_given_up")
        else:
            log.warning("summary_put_off")
