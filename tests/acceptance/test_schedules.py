"""Recurring messages through real processes: two beats and two maintenance workers send each once; it is answered."""

from datetime import UTC, datetime, timedelta

import pytest

from conversation.ids import new_id
from store.schedules import repository
from store.schedules.request import ScheduleRequest
from tests.acceptance.installation import Installation, beat, eventually, maintenance

SCHEDULES = 10

pytestmark = pytest.mark.soak


def test_each_message_whose_time_comes_is_answered_once(running: Installation) -> None:
    running.start(maintenance("upkeep"), beat(running.folder, "clock"))
    soon = datetime.now(UTC) + timedelta(seconds=2)
    for number in range(SCHEDULES):
        request = ScheduleRequest(content=f"hello {number}", at=soon, thread_id=f"t-{number % 3}", agent="worker")
        running.producer.database.run(repository.create_schedule, new_id(), request)

    completed = "SELECT count(*) AS count FROM turns WHERE state = 'completed'"
    eventually(lambda: running.query(completed)[0]["count"] == SCHEDULES, told=running.logs)

    (turns,) = running.query("SELECT count(*) AS all, count(DISTINCT schedule_id) AS schedules FROM turns")
    (ended,) = running.query("SELECT count(*) AS count FROM schedules WHERE state = 'ended' AND last_error IS NULL")
    assert (turns["all"], turns["schedules"], ended["count"]) == (SCHEDULES, SCHEDULES, SCHEDULES)
