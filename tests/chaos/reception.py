"""An operator who hands threads over to other agents while conversations go on, and gives them back.

What stays true: what was answered to nobody is asked again; between the first request and the answer nobody knows who
has the thread.
"""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from conversation.errors import OperatorError, ThreadNotFound
from producers import Producer
from store.threads.editing import edit_thread
from store.threads.visible_threads import Viewer
from tests.chaos.sent import HandedOver
from tests.chaos.tickets import DESK, GOES_ON

#: Whom threads are handed over to; None gives them back to the default agent.
TARGETS = (DESK, GOES_ON, None)
#: Messages for each of which one thread is handed over.
EVERY = 25
#: Seconds between two attempts.
AGAIN_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class HandOver:
    """One of a plan."""

    #: After how many of the usual pauses between two messages.
    at: float
    thread: str
    agent: str | None


def plan(turns: int, threads: Sequence[str], randomness: random.Random) -> Sequence[HandOver]:
    """Hand-overs all over a run."""
    return [
        HandOver(at, randomness.choice(threads), randomness.choice(TARGETS)) for at in range(EVERY // 2, turns, EVERY)
    ]


class Reception:
    """The operator."""

    def __init__(self, producer: Producer, planned: Sequence[HandOver], per_second: float) -> None:
        self.handed_over: list[HandedOver] = []
        self.broken: list[BaseException] = []
        self._producer, self._planned, self._per_second = producer, planned, per_second
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the last one, so long at most; raises what broke the operator."""
        self._thread.join(seconds)
        if self.broken:
            raise self.broken[0]

    def _run(self) -> None:
        began = time.monotonic()
        try:
            for planned in self._planned:
                time.sleep(max(0.0, began + planned.at / self._per_second - time.monotonic()))
                self._hand_over(planned)
        except BaseException as error:  # noqa: BLE001 - `join` raises it
            self.broken.append(error)

    def _hand_over(self, planned: HandOver) -> None:
        asked_at = datetime.now(UTC)
        while True:
            try:
                database = self._producer.database
                database.run(edit_thread, Viewer("default"), planned.thread, assigned_agent=planned.agent)
            except OperatorError:
                time.sleep(AGAIN_SECONDS)
            except ThreadNotFound:
                # Nothing was sent there yet.
                return
            else:
                self.handed_over.append(HandedOver(planned.thread, planned.agent, asked_at, datetime.now(UTC)))
                return
