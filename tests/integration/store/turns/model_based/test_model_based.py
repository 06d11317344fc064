"""The store against its model: claims, heartbeats, expiry, commits, cancels, sends and requeues in any order.

The short form is the same in each run. A longer one, of other runs each time, is asked for by a
number of examples:

    THREADMILL_MODEL_EXAMPLES=500 pytest -rP tests/integration/store/turns/model_based

which also says what it has tried, and how often.

What stays true: one database for all examples, emptied between them.
"""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.store.turns.model_based.machine import Machine
from tests.integration.store.turns.model_based.stage import Stage
from tests.integration.store.turns.model_based.tally import Tally

#: Read when this module is imported: the walls of the tests keep it from the tests themselves.
EXAMPLES = int(os.environ.get("THREADMILL_MODEL_EXAMPLES", "") or 0)
#: Examples of the short form: about ten seconds.
SHORT_EXAMPLES = 10
STEPS = 50
#: Seconds more for each example asked for, before it counts as hanging; a failure is made smaller for 300.
PATIENCE = 30

SHORT = settings(
    max_examples=SHORT_EXAMPLES,
    stateful_step_count=STEPS,
    derandomize=True,
    deadline=None,
    database=None,
    # Each step is a few transactions: on a busy machine that is slow, and says nothing.
    suppress_health_check=[HealthCheck.too_slow],
)
#: The roads that `make soak` tries as well.
PLAIN = settings(SHORT, max_examples=SHORT_EXAMPLES // 4)
LONG = settings(SHORT, max_examples=EXAMPLES or 1, derandomize=False, print_blob=True)


@pytest.mark.timeout(900 + PATIENCE * EXAMPLES)
def test_the_store_comes_to_what_the_model_says_whatever_happens_to_its_processes(stage: Stage) -> None:
    _run(stage, SHORT if stage.database.has_functions else PLAIN)


@pytest.mark.soak
@pytest.mark.timeout(900 + PATIENCE * EXAMPLES)
def test_a_file_of_sqlite_comes_to_the_same(sqlite_stage: Stage) -> None:
    _run(sqlite_stage, PLAIN)


def _run(stage: Stage, short: settings) -> None:
    Machine.stage, Machine.tally = stage, Tally()

    run_state_machine_as_test(Machine, settings=LONG if EXAMPLES else short)

    sys.stdout.write(f"{Machine.tally}\n")
