"""Signals that a cancel was requested: whoever can publish may send one, and the turn's row says whether it is true.

What stays true: a turn is cancelled by its row alone. However many signals come, the database is asked a few times a
second at most, in one statement for all of them, and never for a turn that does not run here.
"""

import asyncio

import structlog

from conversation.errors import DatabaseUnavailable
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRuns

#: Seconds between two looks at the rows.
LOOK_AGAIN_SECONDS = 0.2

_log = structlog.get_logger(__name__)


class CancelSignals:
    """The signals that one process heard. Only on its event loop."""

    def __init__(self, turn_store: TurnStore, active_runs: ActiveRuns) -> None:
        self._turn_store = turn_store
        self._active_runs = active_runs
        #: Turns of this process whose rows are to be looked at.
        self._signalled: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    def hear(self, turn_id: str) -> None:
        """Have the row of a turn looked at that runs here. Returns at once."""
        if not self._active_runs.has_turn(turn_id):
            return
        self._signalled.add(turn_id)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    def close(self) -> None:
        """Look at no more rows."""
        if self._looking is not None:
            self._looking.cancel()

    async def _look(self) -> None:
        while self._signalled:
            turn_ids, self._signalled = self._signalled, set()
            try:
                for turn_id in await self._turn_store.list_cancel_requests(turn_ids):
                    self._active_runs.cancel(turn_id)
            except DatabaseUnavailable as error:
                # The next heartbeat that gets through brings it.
                _log.warning("cancel_not_looked_up", reason=str(error))
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
