"""Schedules against their model: ticks, deaths, pauses, limits, catching up and runs out of time in any order."""

from collections.abc import Iterator

import pytest

from tests.conftest import LendDatabase
from tests.integration.store.schedules.model_based.machine import AgendaMachine
from tests.integration.store.small_machine import TIMEOUT_SECONDS, run_machine
from tests.integration.store.turns.model_based.stage import Stage, model_clock


@pytest.fixture(scope="module", params=["functions", pytest.param("plain", marks=pytest.mark.endurance)])
def stage(request: pytest.FixtureRequest, lend_database: LendDatabase, migrated_template: str) -> Iterator[Stage]:
    """The store over the functions of PostgreSQL, or over plain statements: both send the turns of runs."""
    with lend_database(migrated_template) as url, model_clock():
        opened = Stage(url, use_functions=request.param == "functions")
        yield opened
        opened.close()


@pytest.mark.soak
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_schedules_come_to_what_the_model_says_whatever_happens_to_their_ticks(stage: Stage) -> None:
    run_machine(AgendaMachine, stage)
