"""The heartbeat of processes that run no turns: a row of their queues, and a file, for as long as they consume."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from store import tables
from store.database.engine import Database
from store.settings import load
from tasks.consumer_heartbeat import ConsumerHeartbeat


class Timer:
    """Celery's, as far as it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def call_repeatedly(self, seconds: float, function: Callable[[], None]) -> None:
        self.calls.append((seconds, function))


def queues_of(database: Database) -> list[list[str]]:
    return database.run(lambda c: list(c.execute(select(tables.workers.c.queues)).scalars()))


def test_its_row_and_its_file_live_as_long_as_it_consumes(database: Database, tmp_path: Path) -> None:
    url = database.url.render_as_string(hide_password=False)
    timer = Timer()
    heartbeat = ConsumerHeartbeat(load(database_url=url, runtime_dir=str(tmp_path)), ["files"])

    heartbeat.start(timer)
    assert queues_of(database) == [["files"]]
    database.run(lambda c: c.execute(tables.workers.delete()) and None)
    [(seconds, beat)] = timer.calls
    beat()

    assert seconds * 3 <= load().lease_duration_seconds
    assert queues_of(database) == [["files"]]
    assert len(list(tmp_path.iterdir())) == 1
    heartbeat.stop()
    assert (queues_of(database), list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_database_that_is_away_ends_nothing(verb: str, tmp_path: Path) -> None:
    settings = load(database_url="postgresql://me@127.0.0.1:9/db", runtime_dir=str(tmp_path))
    heartbeat = ConsumerHeartbeat(settings, ["maintenance"])

    heartbeat.start(Timer()) if verb == "start" else heartbeat.stop()
