"""The outbox against its model: ends, claims, deaths, failures, pauses, 410, rotation and replays in any order.

As `tests/integration/store/turns/model_based`: the short form is the same in each run, a longer one asks for more:

    THREADMILL_MODEL_EXAMPLES=500 pytest tests/integration/store/webhooks/model_based
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import LendDatabase
from tests.integration.store.turns.model_based.stage import Stage, model_clock
from tests.integration.store.webhooks.model_based.machine import OutboxMachine

EXAMPLES = int(os.environ.get("THREADMILL_MODEL_EXAMPLES", "") or 0)
SHORT = settings(
    max_examples=2,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
LONG = settings(SHORT, max_examples=EXAMPLES or 1, derandomize=False, print_blob=True)
#: Seconds more for each example asked for, before it counts as hanging.
PATIENCE = 30


@pytest.fixture(scope="module")
def stage(lend_database: LendDatabase, migrated_template: str) -> Iterator[Stage]:
    """The store over the functions of PostgreSQL: the outbox has one road there, a trigger and plain statements."""
    with lend_database(migrated_template) as url, model_clock():
        opened = Stage(url, use_functions=True)
        yield opened
        opened.close()


@pytest.mark.soak
@pytest.mark.timeout(900 + PATIENCE * EXAMPLES)
def test_the_outbox_comes_to_what_the_model_says_whatever_happens_to_its_senders(stage: Stage) -> None:
    OutboxMachine.stage = stage

    run_state_machine_as_test(OutboxMachine, settings=LONG if EXAMPLES else SHORT)
