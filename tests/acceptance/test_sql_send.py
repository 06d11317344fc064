"""SQL sends, nobody sweeps: the maintenance worker hears of it, and another one answers."""

import statistics
import time

import psycopg
import pytest

from tests.acceptance.installation import Installation, eventually, maintenance, worker

SENDS = 20

pytestmark = pytest.mark.soak


def test_a_message_from_sql_is_answered_without_a_sweep(installation: Installation) -> None:
    installation.start(worker("one"), maintenance())
    eventually(lambda: "notifications_heard" in installation.logs(), told=installation.logs)

    delays = []
    with psycopg.connect(installation.database_url, autocommit=True) as connection:
        for number in range(SENDS):
            sql = "SELECT threadmill.send_message(%s, 'hello', agent => 'worker')"
            (turn_id,) = connection.execute(sql, [f"t-{number}"]).fetchone() or (None,)
            committed_at = time.time()
            ended = "SELECT started_at FROM turns WHERE id = %s AND state = 'completed'"
            eventually(lambda ended=ended, turn_id=turn_id: installation.query(ended, turn_id), told=installation.logs)
            (row,) = installation.query(ended, turn_id)
            delays.append(row["started_at"].timestamp() - committed_at)

    # Milliseconds on an idle machine; a slow one must not fail here, and nobody sweeps.
    assert statistics.median(delays) < 1, delays
