"""The heartbeat: this worker's leases stay alive for as long as its event loop is.

What stays true: one statement keeps the row, in a short transaction, on a thread and connection of
its own, so that neither a busy loop nor a busy pool lets leases lapse. It stops when the loop stops
answering: a process that hangs must lose its turns, and a worker's process then ends itself.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import structlog

from agent.agent import Agent
from conversation.errors import DatabaseUnavailable
from conversation.exhaustion import Resource
from store.database.engine import Database
from store.settings import Settings
from store.turns import workers
from tasks.active_runs import ActiveRuns
from tasks.exhaustion import ExhaustionWatch, replacement

if TYPE_CHECKING:
    from tasks.alive_file import AliveFile

#: Leases for which a loop is silent before its process ends. After one, its turns are others'; a machine that is
#: out of breath may answer until then.
LEASES_TO_END = 2

_log = structlog.get_logger(__name__)


class Heartbeat:
    """The row of one worker in `workers`."""

    def __init__(
        self,
        worker: str,
        settings: Settings,
        agents: Mapping[str, Agent],
        active_runs: ActiveRuns,
        loop: asyncio.AbstractEventLoop,
        *,
        on_hang: Callable[[], None] | None = None,
        queues: Collection[str] = (),
        on_drain: Callable[[], None] | None = None,
        exhaustion_watch: ExhaustionWatch | None = None,
    ) -> None:
        """`queues` are those that a worker consumes; a library process has none, and nobody looks after it."""
        self._worker = worker
        self._settings = settings
        self._agent_versions = {name: agent.version for name, agent in agents.items()}
        self._when_busy = {name: agent.when_busy for name, agent in agents.items() if agent.when_busy is not None}
        self._active_runs = active_runs
        self._loop = loop
        #: Called when the loop has not answered for `LEASES_TO_END`, or never will; None just stops beating.
        self._on_hang = on_hang
        #: Called once when a heartbeat hears that this worker is to be drained; None where nobody may ask for that.
        self._on_drain = on_drain
        self._queues = queues
        #: Looks whether this process is to be replaced; None where it is the caller's.
        self._exhaustion_watch = exhaustion_watch
        #: The worker claims nothing more, and shows it.
        self.announces_end = False
        self._alive_file = make_alive_file(worker, settings, queues) if queues else None
        self._database = Database(limit_to_one_connection(settings))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)
        #: When the loop was sent a ping that it has not answered yet.
        self._pinged_at: float | None = None
        self._checked_at = time.monotonic()
        self._was_hung = False
        self._last_beat_at = time.monotonic()

    def start(self) -> None:
        """Register this worker, and start beating. Raises `DatabaseUnavailable`."""
        self._register()
        if self._alive_file is not None:
            create_alive_file(self._alive_file, self._worker)
        self._thread.start()

    def stop(self) -> None:
        """Stop beating, and delete this worker's row, which frees its leases at once."""
        self._stop.set()
        self._thread.join(timeout=self._settings.lease_duration_seconds)
        if self._alive_file is not None:
            self._alive_file.remove()
        try:
            self._database.run(workers.unregister, worker=self._worker)
        except DatabaseUnavailable:
            _log.warning("worker_not_signed_off", worker=self._worker)
        self._database.close()

    def _beat_until_stopped(self) -> None:
        while not self._stop.wait(self._settings.heartbeat_interval_seconds):
            has_answered = self._pinged_at is None
            if self._is_loop_hung():
                self._report_hang()
                if self._loop.is_closed():
                    return
                continue
            try:
                # Before the database is asked: a health check that failed for its outage would end every worker.
                if has_answered and self._alive_file is not None:
                    self._alive_file.touch()
                self._beat()
            except DatabaseUnavailable as error:
                _log.warning("heartbeat_missed", worker=self._worker, reason=str(error))
            except BaseException as error:  # noqa: BLE001 - a heart that stops would take every turn here along
                self._look_for_exhaustion(error)
                _log.error("heartbeat_broken", worker=self._worker, error=type(error).__name__)
            self._look_for_exhaustion()

    def _look_for_exhaustion(self, error: BaseException | None = None) -> None:
        """Have this process be replaced, if an error or the system says that something has run out."""
        if self._exhaustion_watch is None:
            return
        try:
            missing = None if error is not None else self._exhaustion_watch.look()
        except MemoryError:
            missing = Resource.MEMORY
        if missing is not None:
            replacement.begin(missing)
        elif error is not None:
            replacement.begin_after(error)

    def _report_hang(self) -> None:
        pinged_at = self._pinged_at
        if self._on_hang is None or pinged_at is None:
            return
        silent_seconds = time.monotonic() - pinged_at
        if self._loop.is_closed() or silent_seconds > LEASES_TO_END * self._settings.lease_duration_seconds:
            self._on_hang()

    def _is_loop_hung(self) -> bool:
        """Ping the event loop; True if it hangs. Time without a run of this thread does not count."""
        now = time.monotonic()
        # Three beats fit into a lease: after a longer gap the whole process was stopped, or a beat waited.
        was_suspended = now - self._checked_at > self._settings.lease_duration_seconds / 2
        self._checked_at = now
        if self._pinged_at is None or was_suspended:
            self._pinged_at = now
            return not self._ping()
        silent_seconds = now - self._pinged_at
        if silent_seconds <= self._settings.lease_duration_seconds:
            return False
        _log.error("loop_hangs", worker=self._worker, silent_seconds=round(silent_seconds))
        self._was_hung = True
        return True

    def _ping(self) -> bool:
        """Ping the event loop; False if it is closed, and will never answer."""
        try:
            self._loop.call_soon_threadsafe(self._note_loop_answer)
        except RuntimeError:
            _log.error("loop_is_closed", worker=self._worker)
            return False
        return True

    def _note_loop_answer(self) -> None:
        self._pinged_at = None

    def _beat(self) -> None:
        """Renew the lease; then release leases that nothing runs on, and pass on cancel requests."""
        self._renew_lease()
        broken_off = self._active_runs.list_broken_off()
        for lease in self._database.run(workers.list_held_threads, worker=self._worker, idle_threads=broken_off):
            if not self._active_runs.has((lease.tenant, lease.thread_id)):
                # Else its task has released it since it was read, and left.
                if self._database.run(workers.release, worker=self._worker, held=lease):
                    _log.warning(
                        "orphaned_lease",
                        worker=self._worker,
                        tenant=lease.tenant,
                        thread=lease.thread_id,
                        turn=lease.turn_id,
                    )
            elif lease.cancel_requested and lease.turn_id is not None:
                self._loop.call_soon_threadsafe(self._active_runs.cancel, lease.turn_id)
        self._active_runs.forget_broken_off(broken_off)

    def _renew_lease(self) -> None:
        lease_duration_seconds = self._settings.lease_duration_seconds
        beat = self._database.run(workers.beat, worker=self._worker, lease_duration_seconds=lease_duration_seconds)
        if not beat.is_known:
            # Away for so long that the row was deleted: no lease is held any more, register anew.
            self._register()
        now = time.monotonic()
        if now - self._last_beat_at > lease_duration_seconds and not self._was_hung:
            # Stopped from outside, or without a database: turns that others claimed crashed nothing.
            undone_crashes = self._database.run(workers.undo_crashes, worker=self._worker)
            _log.warning("lease_lapsed", worker=self._worker, crashes_undone=undone_crashes)
        self._last_beat_at, self._was_hung = now, False
        if self.announces_end:
            self._database.run(workers.show_draining, worker=self._worker)
        if beat.is_drain_requested and self._on_drain is not None:
            on_drain, self._on_drain = self._on_drain, None
            on_drain()

    def _register(self) -> None:
        self._database.run(
            workers.register,
            worker=self._worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            serves=self._agent_versions,
            when_busy=self._when_busy,
            queues=self._queues,
            lease_duration_seconds=self._settings.lease_duration_seconds,
        )


def make_alive_file(worker: str, settings: Settings, queues: Collection[str]) -> "AliveFile":
    """The file that health checks read, not created yet."""
    # Its lock is POSIX's: a library process needs neither.
    from tasks.alive_file import AliveFile

    return AliveFile(worker, queues=queues, fresh_seconds=settings.lease_duration_seconds, folder=settings.runtime_dir)


def create_alive_file(alive_file: "AliveFile", worker: str) -> None:
    """Create the file that health checks read; a worker without one works as well."""
    try:
        alive_file.create()
    except OSError as error:
        _log.warning("alive_file_not_created", worker=worker, reason=str(error))


def limit_to_one_connection(settings: Settings) -> Settings:
    """Settings with one connection, and no statement that outlives a lease."""
    timeout_seconds = settings.lease_duration_seconds / 3
    return settings.model_copy(
        update={
            "db_pool_size": 1,
            "db_max_overflow": 0,
            "db_statement_timeout_seconds": timeout_seconds,
            "db_lock_timeout_seconds": timeout_seconds,
        }
    )
