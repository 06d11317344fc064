"""The sweep right after the database was away: workers come first that were cut off from it as well."""

from typing import Any

import pytest

from conversation.errors import DatabaseUnavailable
from store.settings import current
from tasks import maintenance


class Away:
    """A database that does not answer."""

    asked = 0

    def run(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        raise DatabaseUnavailable("away")


def test_leases_are_left_alone_for_two_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    away, now = Away(), [100.0]
    monkeypatch.setattr(maintenance, "_database", lambda: away)
    monkeypatch.setattr(maintenance, "count_queued_tasks", lambda _: 0)
    monkeypatch.setattr(maintenance, "_outage", maintenance._Outage())
    monkeypatch.setattr("tasks.maintenance.time.monotonic", lambda: now[0])
    with pytest.raises(DatabaseUnavailable):
        maintenance.sweep()

    now[0] += 2 * current().heartbeat_interval_seconds - 0.01
    maintenance.sweep()
    assert away.asked == 1

    now[0] += 0.02
    with pytest.raises(DatabaseUnavailable):
        maintenance.sweep()
    assert away.asked == 2
