"""The signals that end a server, heard beside the server itself.

What stays true: the server's own handler still runs, after ours; where nobody handles a signal, nobody does
afterwards. A server waits for its open streams before it tells the app that it stops, so its signal is the only
word that an app gets in time, above all one that is mounted in another.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Protocol
from weakref import WeakSet

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_Handler = Callable[[int, FrameType | None], object]


class StopListener(Protocol):
    """A listener that wants to hear that the process stops."""

    def hear_stop(self) -> None:
        """Take note. Runs within the signal's handler, so between any two instructions of the main thread."""
        ...


class StopSignals:
    """The signals of this process that ask it to stop."""

    def __init__(self) -> None:
        #: Those to tell.
        self._listeners: WeakSet[StopListener] = WeakSet()
        #: The server's handlers, which ours call.
        self._handlers: dict[int, _Handler] = {}

    def listen(self, listener: StopListener) -> None:
        """Tell this listener of signals. Only a main thread can hear them; elsewhere nothing happens."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._listeners.add(listener)
        for number in SIGNALS:
            handler = signal.getsignal(number)
            # A server that starts later, or again, has put its own handler in our place.
            if callable(handler) and handler != self._handle:
                self._handlers[number] = handler
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        for listener in tuple(self._listeners):
            listener.hear_stop()
        self._handlers[number](number, frame)


stop_signals = StopSignals()
