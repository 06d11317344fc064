"""Recurring messages: one turn at each time that came, and one for each time that somebody asked for one."""

from collections.abc import Iterator
from datetime import timedelta

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture
from tests.chaos.sent import Sent


def check_schedules(picture: Picture, sent: Sent) -> Iterator[Finding]:
    by_hand = set(sent.by_hand)
    # Each was asked for twice, and perhaps once more.
    if len(by_hand) != (len(sent.by_hand) + 1) // 2:
        yield Finding(
            Promise.ON_TIME, "by hand", f"{len(by_hand)} runs of {len(sent.by_hand)}, of which each two are one"
        )
    for schedule in picture.schedules:
        runs = [
            turn_id
            for turn_id, turn in picture.turns.items()
            if turn["schedule_id"] == schedule["id"] and turn_id not in by_hand
        ]
        where, wanted = f"schedule {schedule['cron'] or schedule['at']}", 0
        if schedule["cron"] is None:
            wanted = 1
        elif schedule["last_due_at"] is not None:
            first = schedule["created_at"].replace(second=0, microsecond=0)
            wanted = (schedule["last_due_at"] - first) // timedelta(minutes=1)
        if len(runs) != wanted or schedule["state"] == "active":
            yield Finding(Promise.ON_TIME, where, f"{len(runs)} runs of {wanted}; it is {schedule['state']}")
