"""Worker processes whose database is behind a pooler that lends two connections by the transaction."""

from pathlib import Path

import pytest

from conversation.turn import TurnState
from tests.acceptance.installation import Installation, assert_well_formed, worker
from tests.integration.store.database.faults.pooler import Pooler

pytestmark = pytest.mark.soak

#: A tool with an effect, then the answer.
ORDER = 'call write with {"text": "once"}'


def test_workers_and_their_upkeep_share_two_connections(database_url: str, valkey_url: str, tmp_path: Path) -> None:
    with Pooler(database_url, size=2) as pooler:
        installation = Installation(pooler.url, valkey_url, tmp_path)
        try:
            installation.start(worker("one"), worker("two"), *installation.upkeep())

            turns = [installation.send(f"thread-{n % 10}", ORDER) for n in range(30)]
            results = installation.all_ended(turns, seconds=90)

            assert {result.state for result in results} == {TurnState.COMPLETED}
            assert_well_formed(installation.history())
            assert len(installation.notes("write")) == len(turns)
            assert pooler.most_clients > 2
        finally:
            installation.close()
