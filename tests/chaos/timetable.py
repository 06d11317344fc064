"""Messages that are sent at their times: one every minute, one once, and some that somebody sends by hand.

What stays true: what a schedule sends asks for nothing but a look, so that its runs are told apart by
their turns alone.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from conversation.errors import OperatorError
from conversation.ids import new_id
from producers import Producer
from producers.schedules import send_now
from store.schedules import repository
from store.schedules.request import ScheduleRequest
from store.threads.visible_threads import Viewer
from tests.chaos.tickets import DESK

#: Seconds after which the one is sent that is sent once.
ONCE_SECONDS = 7
#: Seconds between two attempts, and attempts at most.
AGAIN_SECONDS, ATTEMPTS = 0.5, 100


@dataclass(slots=True)
class Timetable:
    """The schedules of a run."""

    producer: Producer
    #: The schedule of every minute, and the one that runs once.
    minutely: str = field(default_factory=new_id)
    once: str = field(default_factory=new_id)
    #: Runs by hand that were accepted: the ids of their turns.
    by_hand: list[str] = field(default_factory=list)

    @property
    def ids(self) -> Sequence[str]:
        return (self.minutely, self.once)

    def create(self) -> None:
        """Create both, on threads of their own."""
        at = datetime.now(UTC) + timedelta(seconds=ONCE_SECONDS)
        look = json.dumps({"ref": "SC-00001", "details": {}})
        content = f"Reminder SC-00001: call get_order with {look}."
        minutely = ScheduleRequest(
            content=content, cron="* * * * *", thread_id="schedule-0", agent=DESK, catch_up="all"
        )
        once = ScheduleRequest(content=content, at=at, thread_id="schedule-1", agent=DESK)
        for schedule_id, request in ((self.minutely, minutely), (self.once, once)):
            self.producer.database.run(repository.create_schedule, schedule_id, request)

    def pause(self) -> None:
        """Send nothing more by itself."""
        self.producer.database.run(repository.pause_schedule, Viewer("default"), self.minutely)

    def run_by_hand(self, key: str) -> None:
        """Send the message of every minute now; the same key, if nobody knows what became of it."""
        for _ in range(ATTEMPTS):
            try:
                turn = send_now(self.producer, self.minutely, idempotency_key=key)
            except OperatorError:
                time.sleep(AGAIN_SECONDS)
                continue
            self.by_hand.append(turn.id)
            return
