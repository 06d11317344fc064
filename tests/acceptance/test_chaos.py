"""A short form of `make chaos`: one fault of each kind while conversations go on, and no promise broken."""

from pathlib import Path

import pytest

from tests.chaos.run import Plan, run

#: Nine kinds, and a second worker to kill.
FAULTS = 10


@pytest.mark.timeout(900)
def test_no_promise_breaks_while_everything_else_does(tmp_path: Path) -> None:
    plan = Plan(seed=11, turns=60, threads=12, faults=FAULTS, seconds=30)

    report = run(plan, tmp_path, print)

    assert report.findings == []
    assert report.states == {"completed": 60}
    assert len(report.faults) == FAULTS - 1
    # What was asked for was done: a run in which nothing happened proves nothing.
    assert report.effects["charge"] + report.effects["reserve"] >= 60
