"""Schedules against their model: ticks, deaths, pauses, limits, catching up and runs out of time in any order.

As `tests/integration/store/turns/model_based`: the short form is the same in each run, a longer one asks for more:

    THREADMILL_MODEL_EXAMPLES=500 pytest tests/integration/store/schedules/model_based
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import LendDatabase
from tests.integration.store.schedules.model_based.machine import AgendaMachine
from tests.integration.store.turns.model_based.stage import Stage, model_clock

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


@pytest.fixture(scope="module", params=["functions", pytest.param("plain", marks=pytest.mark.endurance)])
def stage(request: pytest.FixtureRequest, lend_database: LendDatabase, migrated_template: str) -> Iterator[Stage]:
    """The store over the functions of PostgreSQL, or over plain statements: both send the turns of runs."""
    with lend_database(migrated_template) as url, model_clock():
        opened = Stage(url, use_functions=request.param == "functions")
        yield opened
        opened.close()


@pytest.mark.soak
@pytest.mark.timeout(900 + PATIENCE * EXAMPLES)
def test_schedules_come_to_what_the_model_says_whatever_happens_to_their_ticks(stage: Stage) -> None:
    AgendaMachine.stage = stage

    run_state_machine_as_test(AgendaMachine, settings=LONG if EXAMPLES else SHORT)
