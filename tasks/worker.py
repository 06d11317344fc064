"""The worker's process: its event loop, its lease, the loops and threads of its tools, and the runner.

What stays true: agents and models live on the one loop, and tools on loops and threads of their own; a
Celery task only waits. Nothing is claimed before the lease's row stands, nor after the process was told
to stop. A process whose loop does not answer, or that does not come to its end, ends itself.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Collection, Coroutine, Mapping
from typing import Any, TypeVar

import structlog

from agent import registry
from agent.agent import Agent, preload_models
from agent.files.content_parts import AttachmentParts, FileLimits
from agent.models.breaker import Breakers
from agent.tools.thread_pool import ToolThreads
from agent.tools.tool_loops import ToolLoops, frames_of
from conversation.errors import DatabaseUnavailable, InvalidSettings
from conversation.ids import new_id
from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE, WakeUp
from store import migrations
from store.blobs import open_file_store
from store.blobs.factory import MEMORY
from store.database.engine import Database
from store.files.reader import FileReader
from store.installation import read_signing_key
from store.live.breaker_board import ValkeyBreakerBoard
from store.live.event_publisher import EventPublisher
from store.live.signals import WorkerSignals
from store.settings import Settings
from store.summaries.summarize import defaults_of
from store.turns.claims import ClaimRequest
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRuns
from tasks.cancel_signals import CancelSignals
from tasks.exhaustion import ExhaustionWatch, replacement
from tasks.file_requests import FileRequester
from tasks.full_collections import FullCollections
from tasks.heartbeat import Heartbeat
from tasks.loop_pool import wait_on_loop
from tasks.runner import Runner
from tasks.tenant_places import TenantPlaces
from tasks.worker_connections import check_connections, limit_connections

T = TypeVar("T")

#: Seconds that a stopping process has to hand over its turns, beyond its grace.
HAND_OVER_SECONDS = 60.0
#: Seconds between two ways in which what others left behind breaks off the loop.
BREAK_SECONDS = 0.05
#: Seconds in which Python ends, once the worker has.
EXIT_SECONDS = 5.0

_log = structlog.get_logger(__name__)
_worker: "Worker | None" = None


class Worker:
    """The parts of a process that runs turns, from before it consumes until after its last turn."""

    def __init__(
        self,
        settings: Settings,
        agents: Mapping[str, Agent],
        *,
        queues: Collection[str] = (TURNS_QUEUE,),
        concurrency: int | None = None,
    ) -> None:
        """`concurrency` is the number of turns that Celery runs at once, where it is not the setting's."""
        self.id = new_id()
        self.settings = settings
        self.agents = agents
        self.active_runs = ActiveRuns()
        self.full_collections = FullCollections(lambda: self.active_runs.changes)
        self.database = Database(limit_connections(settings))
        self.tool_threads = ToolThreads(settings.tool_threads)
        self.tool_loops = ToolLoops(self.tool_threads)
        self.loop = asyncio.new_event_loop()
        self.breaker_board = ValkeyBreakerBoard(settings)
        self.event_publisher = EventPublisher(self._publish)
        self.turn_store = TurnStore(self.database, merge_max=settings.merge_max_messages)
        self.cancel_signals = CancelSignals(self.turn_store, self.active_runs)
        self.signals = WorkerSignals(
            settings, cancel=self.cancel_signals.hear, hear_watch=self.event_publisher.hear_watch
        )
        self.heartbeat = Heartbeat(
            self.id,
            settings,
            agents,
            self.active_runs,
            self.loop,
            on_hang=self._end_hung_process,
            queues=queues,
            on_drain=self.drain,
            exhaustion_watch=ExhaustionWatch(),
        )
        places = TenantPlaces(concurrency or settings.worker_concurrency, settings.tenant_max_running_turns)
        self.runner = self._create_runner(queues, places)
        self._loop_thread = threading.Thread(target=self._run_loop, name="loop", daemon=True)
        self._letting_go: set[asyncio.Task[None]] = set()
        self._is_stopped = False
        replacement.on_begin = self._claim_nothing_more
        replacement.set_aside()
        #: The next request to stop lets its turns end, however long they take.
        self._is_draining = False

    def _create_runner(self, queues: Collection[str], places: TenantPlaces) -> Runner:
        return Runner(
            settings=self.settings,
            agents=self.agents,
            claim_request=self._create_claim_request(runs_quarantine=QUARANTINE_QUEUE in queues),
            turn_store=self.turn_store,
            active_runs=self.active_runs,
            attachments=AttachmentParts(
                FileReader(open_file_store(self.settings), self.database, FileRequester(self.database).request),
                FileLimits(self.settings.attachments_max_count, self.settings.message_max_bytes),
            ),
            tool_threads=self.tool_threads,
            on_exhaustion=replacement.begin,
            publish_turn_ended=self.signals.publish_turn_ended,
            event_publisher=self.event_publisher,
            tool_loops=self.tool_loops,
            breakers=self._create_breakers(),
            places=places,
        )

    def _create_claim_request(self, *, runs_quarantine: bool) -> ClaimRequest:
        return ClaimRequest(
            worker=self.id,
            runs_quarantine=runs_quarantine,
            agents={name: agent.version for name, agent in self.agents.items()},
            max_messages={name: agent.max_messages for name, agent in self.agents.items()},
            tenant_max_running=self.settings.tenant_max_running_turns.count,
            merge_max=self.settings.merge_max_messages,
        )

    def _publish(self, channel: str, text: str) -> None:
        self.signals.publish(channel, text)

    def start(self) -> None:
        """Load what is slow, then the loop, then the lease: after this, turns may be claimed."""
        for agent in self.agents.values():
            # Marks that contradict each other raise now, and not with every turn.
            agent.water_marks(defaults_of(self.settings))
            preload_models(agent, self.settings.model)
        self._loop_thread.start()
        self.event_publisher.signing_key = self.wait_for(self.database.run_async(read_signing_key))
        self.loop.call_soon_threadsafe(self.signals.start)
        self.heartbeat.start()
        self.full_collections.start(self.loop)
        _log.info("worker_started", worker=self.id, agents=sorted(self.agents))

    def run_thread(self, wake_up: WakeUp) -> None:
        """Run what is due on the wake-up's thread; the calling task waits until that has ended."""
        try:
            wait_on_loop(self.loop, self.runner.run_thread(wake_up))
        except BaseException as error:
            # The lease, if it is still held, is the heartbeat's to free.
            if not replacement.begin_after(error):
                raise
        if self.tool_threads.limit_reached and not self.active_runs.is_stopping:
            _log.error("tool_threads_stuck", worker=self.id, stuck=self.tool_threads.stuck)
            os.kill(os.getpid(), signal.SIGTERM)

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def drain(self) -> None:
        """Have this process claim nothing more, and end after its turns. Returns at once."""
        if not self.active_runs.is_stopping:
            self._is_draining = True
            os.kill(os.getpid(), signal.SIGTERM)

    def _claim_nothing_more(self) -> None:
        self.active_runs.is_stopping = True
        self.heartbeat.announces_end = True

    def begin_to_stop(self) -> None:
        """Claim nothing more; after the grace, hand over what still runs. Returns at once.

        A worker that is drained has no grace: its turns come to their end, unless it is told to stop once more.
        """
        self.active_runs.is_stopping = True
        if self._is_draining:
            self._is_draining = False
            _log.info("worker_draining", worker=self.id, tasks=len(self.active_runs))
            return
        grace = self.settings.shutdown_grace_seconds
        _log.info("worker_stopping", worker=self.id, tasks=len(self.active_runs), grace_seconds=grace)
        self.loop.call_soon_threadsafe(self.loop.call_later, grace, self.active_runs.stop_all)
        end_process_after(grace + HAND_OVER_SECONDS, status=1)

    def stop(self) -> None:
        """Sign off, once nothing runs any more."""
        self.heartbeat.stop()
        self.wait_for(self._close())
        self._is_stopped = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._loop_thread.join(timeout=5)
        self.tool_loops.stop()
        _log.info("worker_stopped", worker=self.id)
        # A tool may have left threads that Python would wait for.
        end_process_after(EXIT_SECONDS, status=0)

    def _run_loop(self) -> None:
        while not self._is_stopped:
            try:
                self.loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - foreign code left a task behind that raised it
                replacement.begin_after(error)
                _log.error("loop_broke_off", worker=self.id, error=type(error).__name__)
                time.sleep(BREAK_SECONDS)

    def _end_hung_process(self) -> None:
        try:
            # What hangs may hold the log, too.
            end_process_after(EXIT_SECONDS, status=1)
            _log.error("worker_ends_itself", worker=self.id, trace=frames_of(self._loop_thread))
        finally:
            os._exit(replacement.exit_status or 1)

    def _create_breakers(self) -> Breakers:
        return Breakers(
            self.breaker_board,
            failures_to_open=self.settings.breaker_failures,
            probe_seconds=self.settings.breaker_probe_seconds,
            on_close=self._let_go_waiting,
        )

    def _let_go_waiting(self, breaker: str) -> None:
        """Let the turns come that wait for a model which is back. Returns at once."""
        task = self.loop.create_task(self._log_let_go(breaker))
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    async def _log_let_go(self, breaker: str) -> None:
        try:
            turns = await self.runner.turn_store.let_go_waiting(breaker)
        except DatabaseUnavailable:
            # Each comes when its own pause is over.
            _log.warning("waiting_turns_not_let_go", breaker=breaker)
        else:
            _log.info("waiting_turns_let_go", breaker=breaker, turns=turns)

    async def _close(self) -> None:
        self.full_collections.stop()
        await self.signals.stop()
        self.cancel_signals.close()
        await self.breaker_board.close()
        await self.database.close_async()
        await self.loop.shutdown_asyncgens()  # closes the connections that are kept for model calls


def end_process_after(seconds: float, *, status: int) -> None:
    """End this process at once if it is still there after so long, for its supervisor to start it again.

    One that has run out of threads or memory is ended by the system, whose clock needs neither.
    """
    if replacement.resource is not None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()


def start_worker(settings: Settings, *, queues: Collection[str], concurrency: int | None = None) -> None:
    """Start the worker of this process. Raises `InvalidSettings` and `DatabaseUnavailable`.

    `concurrency` is Celery's, where `-c` overrides the setting.
    """
    global _worker  # noqa: PLW0603 - one worker a process: Celery's tasks are functions and find it here
    if settings.file_store_url == MEMORY:
        raise InvalidSettings(
            "THREADMILL_FILE_STORE_URL: workers need a folder or a bucket; memory: serves one process, as a library"
        )
    check_connections(settings, concurrency=concurrency or settings.worker_concurrency)
    worker = Worker(settings, registry.load(settings.agent_modules), queues=queues, concurrency=concurrency)
    if worker.database.is_sqlite:
        raise InvalidSettings(
            "THREADMILL_DATABASE_URL: workers need PostgreSQL; SQLite serves one process, as a library"
        )
    worker.database.run(migrations.check)
    worker.start()
    _worker = worker


def current_worker() -> Worker:
    """The worker of this process."""
    assert _worker is not None, "turns run only in a worker that consumes a queue of turns"
    return _worker


def has_worker() -> bool:
    """Whether this process runs turns; one that only sweeps does not."""
    return _worker is not None
