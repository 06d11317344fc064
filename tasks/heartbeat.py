"""The heartbeat: keeps this worker's leases alive, for as long as its event loop is.

What stays true: one statement keeps the row, in a short transaction, on a thread and connection of
its own, so that neither a busy loop nor a busy pool lets leases lapse. It stops when the loop stops
answering: a process that hangs must lose its turns.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Mapping
from functools import partial

import structlog

from agent.agent import Agent
from conversation.errors import DatabaseUnavailable
from store.database.engine import Database
from store.settings import Settings
from store.turns import workers
from tasks.active_runs import Running

_log = structlog.get_logger(__name__)


class Heartbeat:
    """The row of one worker in `workers`."""

    def __init__(
        self,
        worker: str,
        settings: Settings,
        agents: Mapping[str, Agent],
        running: Running,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._serves = {name: agent.version for name, agent in agents.items()}
        self._running = running
        self._loop = loop
        self._database = Database(_single(settings))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)
        #: When the loop was asked for a sign of life that it has not given yet.
        self._asked_at: float | None = None
        self._looked_at = time.monotonic()
        self._hung = False
        self._beat_at = time.monotonic()

    def start(self) -> None:
        """Enter this worker, and begin to beat. Raises `DatabaseUnavailable`."""
        self._register()
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and take this worker's row away: what it still held is free at once."""
        self._stop.set()
        self._thread.join(timeout=self._settings.lease_seconds)
        try:
            self._database.run(partial(workers.leave, worker=self._worker))
        except DatabaseUnavailable:
            _log.warning("worker_not_signed_off", worker=self._worker)
        self._database.close()

    def _beat_on(self) -> None:
        while not self._stop.wait(self._settings.heartbeat_seconds):
            if self._loop_hangs():
                continue
            try:
                self._beat()
            except DatabaseUnavailable as error:
                _log.warning("heartbeat_missed", worker=self._worker, reason=str(error))
            except Exception as error:  # noqa: BLE001 - a heart that stops would take every turn here along
                _log.error("heartbeat_broken", worker=self._worker, error=type(error).__name__)

    def _loop_hangs(self) -> bool:
        """Ask the loop for a sign of life. Time in which this thread did not run either does not count."""
        now = time.monotonic()
        # Three beats fit into a lease: after a longer gap the whole process was stopped, or a beat waited.
        was_away = now - self._looked_at > self._settings.lease_seconds / 2
        self._looked_at = now
        if self._asked_at is None or was_away:
            self._asked_at = now
            self._loop.call_soon_threadsafe(self._loop_answers)
            return False
        silent = now - self._asked_at
        if silent <= self._settings.lease_seconds:
            return False
        _log.error("loop_hangs", worker=self._worker, silent_seconds=round(silent))
        self._hung = True
        return True

    def _loop_answers(self) -> None:
        self._asked_at = None

    def _beat(self) -> None:
        """Keep the row alive; then, apart from that, look after what the database says is ours."""
        self._keep_row()
        for held in self._database.run(partial(workers.held_by, worker=self._worker)):
            if not self._running.has((held.tenant, held.thread_id)):
                freed = self._database.run(partial(workers.let_go, worker=self._worker, held=held))
                _log.warning("orphaned_lease", worker=self._worker, turn=held.turn_id, freed=freed)
            elif held.cancel_requested and held.turn_id is not None:
                self._loop.call_soon_threadsafe(self._running.cancel, held.turn_id)

    def _keep_row(self) -> None:
        lease = self._settings.lease_seconds
        is_known = self._database.run(partial(workers.beat, worker=self._worker, lease_seconds=lease))
        if not is_known:
            # Away for so long that the row was cleared: nothing is held any more, begin anew.
            self._register()
        now = time.monotonic()
        if now - self._beat_at > lease and not self._hung:
            # Stopped from outside, or without a database: the turns that others took did not kill us.
            lived = self._database.run(partial(workers.take_back_crashes, worker=self._worker))
            _log.warning("lease_lapsed", worker=self._worker, crashes_taken_back=lived)
        self._beat_at, self._hung = now, False

    def _register(self) -> None:
        self._database.run(
            partial(
                workers.register,
                worker=self._worker,
                host=socket.gethostname(),
                pid=os.getpid(),
                serves=self._serves,
                lease_seconds=self._settings.lease_seconds,
            )
        )


def _single(settings: Settings) -> Settings:
    """One connection, and no statement that outlives a lease."""
    patience = settings.lease_seconds / 3
    return settings.model_copy(
        update={
            "db_pool_size": 1,
            "db_max_overflow": 0,
            "db_statement_timeout": patience,
            "db_lock_timeout": patience,
        }
    )
