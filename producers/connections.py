"""The connections of a producer: to the database, to the broker, and to its signals.

What stays true: a forked child has connections of its own. It must not use its parent's, whose bytes would
mix with its own, and threads of its parent are not there.
"""

import asyncio
import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakSet

from producers.events.sync_loop import SyncLoop
from producers.notifier import Notifier
from store.database.engine import Database
from store.settings import Settings

if TYPE_CHECKING:
    from producers.events.hub import EventHub
    from store.live.direct_signals import DirectSignals
    from store.live.signals import Signals


class Connections:
    """The connections of one producer, which its handles of turns use as well."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._open()
        _all_connections.add(self)

    def _open(self) -> None:
        """Take up everything that does not survive a fork. Nothing is connected or started yet."""
        self.database = Database(self.settings)
        self.notifier = Notifier(self.settings)
        #: The event loop of those who follow threads and block.
        self.sync_loop = SyncLoop()
        self._events: EventHub | None = None
        self._events_lock = threading.Lock()

    @property
    def events(self) -> "EventHub":
        """The hub of all who follow threads. Made with the first of them."""
        with self._events_lock:
            if self._events is None:
                from producers.events.hub import EventHub

                self._events = EventHub(self)
            return self._events

    @cached_property
    def signals(self) -> "DirectSignals | Signals":
        """Signals to and from waiters. What that takes is imported only to wait or to cancel."""
        from store.live.direct_signals import DirectSignals

        if (signals := DirectSignals.open(self.settings)) is not None:
            return signals

        from store.live.signals import Signals

        return Signals(self.settings)

    def close(self) -> None:
        """Let wake-ups on their way end, end what sync callers follow, and close their connections."""
        self.sync_loop.close(self._close_loop)
        self.notifier.close()
        if "signals" in vars(self):
            self.signals.close()
        self.database.close()

    async def close_async(self) -> None:
        """As `close`, with the running event loop's connections too."""
        await self._close_loop()
        await asyncio.to_thread(self.close)

    async def _close_loop(self) -> None:
        """Close what the running event loop has open."""
        if self._events is not None:
            await self._events.close_async()
        await self.database.close_async()

    def reopen_after_fork(self) -> None:
        """Replace what a forked child has of its parent, without closing it for the parent."""
        _inherited_objects.extend((self.database, self.notifier, self.sync_loop, self._events))
        _inherited_objects.append(vars(self).pop("signals", None))
        self._open()


#: All connections of this process, for the child of a fork.
_all_connections: WeakSet[Connections] = WeakSet()
#: Connections of the parent in a forked child: referenced, so that the child does not close them.
_inherited_objects: list[object] = []


def _reopen_all_after_fork() -> None:
    for connections in _all_connections:
        connections.reopen_after_fork()


os.register_at_fork(after_in_child=_reopen_all_after_fork)
