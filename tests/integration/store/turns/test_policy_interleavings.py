"""Each policy beside each other operation of its thread, each of both held up after each of its statements.

What stays true: nothing here knows what the statements are; the table makes itself from those that run. The short form
is a part of it on PostgreSQL's functions, the long one all of it on both roads.
"""

from collections.abc import Iterator

import pytest

from conversation.when_busy import WhenBusy
from store.database.engine import Database
from store.settings import load
from tests.conftest import LendDatabase
from tests.integration.store.turns.meeting_operations import OPERATIONS
from tests.integration.store.turns.meetings import PATIENCE, hold_at_lock, hold_operation, hold_send

#: Of the whole table, what has been hardest: an end and a decision beside those that end others.
SHORT = [
    ("commit", WhenBusy.STEER),
    pytest.param("decide", WhenBusy.ROLLBACK, marks=pytest.mark.soak),
    pytest.param("claim", WhenBusy.MERGE, marks=pytest.mark.soak),
]


@pytest.fixture(scope="module", params=["functions", pytest.param("plain", marks=pytest.mark.soak)])
def one_database(
    request: pytest.FixtureRequest, lend_database: LendDatabase, migrated_template: str
) -> Iterator[Database]:
    """PostgreSQL with its functions, and in plain statements; each meeting has a thread of its own."""
    with lend_database(migrated_template) as url:
        settings = load(database_url=url, db_lock_timeout_seconds=PATIENCE)
        database = Database(settings, use_functions=request.param == "functions")
        yield database
        database.close()


def hold_everywhere(database: Database, policy: WhenBusy, name: str) -> None:
    """Hold up at the lock, then either of them after each of its statements, the last time before its commit."""
    prepare = OPERATIONS[name]
    hold_at_lock(database, policy, prepare)
    for hold in (hold_operation, hold_send):
        after, count = 1, 1
        while after <= count:
            count = hold(database, policy, prepare, after)
            after += 1
        assert count


@pytest.mark.parametrize(("name", "policy"), SHORT, ids=str)
def test_a_message_beside_another_operation_leaves_all_whole(
    one_database: Database, name: str, policy: WhenBusy
) -> None:
    hold_everywhere(one_database, policy, name)


@pytest.mark.soak
@pytest.mark.endurance
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("policy", list(WhenBusy))
def test_a_message_of_each_policy_beside_each_operation_leaves_all_whole(
    one_database: Database, policy: WhenBusy, name: str
) -> None:
    hold_everywhere(one_database, policy, name)
