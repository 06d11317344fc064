"""The outbox against its model: ends, claims, deaths, failures, pauses, 410, rotation and replays in any order."""

from collections.abc import Iterator

import pytest

from tests.conftest import LendDatabase
from tests.integration.store.small_machine import TIMEOUT_SECONDS, run_machine
from tests.integration.store.turns.model_based.stage import Stage, model_clock
from tests.integration.store.webhooks.model_based.machine import OutboxMachine


@pytest.fixture(scope="module")
def stage(lend_database: LendDatabase, migrated_template: str) -> Iterator[Stage]:
    """The store over the functions of PostgreSQL: the outbox has one road there, a trigger and plain statements."""
    with lend_database(migrated_template) as url, model_clock():
        opened = Stage(url, use_functions=True)
        yield opened
        opened.close()


@pytest.mark.soak
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_the_outbox_comes_to_what_the_model_says_whatever_happens_to_its_senders(stage: Stage) -> None:
    run_machine(OutboxMachine, stage)
