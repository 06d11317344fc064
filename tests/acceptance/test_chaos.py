"""A short form of `make chaos`: one fault of each kind while conversations go on, and no promise broken."""

from pathlib import Path

import pytest
from rich.console import Console

from conversation.pending_call import PendingKind
from conversation.when_busy import WhenBusy
from tests.chaos.display import Display
from tests.chaos.faults import ESSENTIAL
from tests.chaos.regrets import NAMES
from tests.chaos.run import Plan, run
from tests.chaos.tickets import CLERK, HAND_OVERS


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_promise_breaks_while_everything_else_does(tmp_path: Path) -> None:
    plan = Plan(seed=11, turns=60, threads=12, faults=len(ESSENTIAL), seconds=30, kinds=tuple(ESSENTIAL))

    with Display(Console(), plan.totals) as display:
        report = run(plan, tmp_path, display)

    assert report.findings == []
    assert report.faults.keys() == ESSENTIAL.keys()
    # What was asked for was done: a run in which nothing happened proves nothing.
    assert len(report.picture.effects) >= plan.turns
    assert {turn["when_busy"] for turn in report.picture.turns.values()} == {None, *WhenBusy} - {WhenBusy.ENQUEUE}
    assert {call["kind"] for call in report.picture.pending_calls} == set(PendingKind)
    assert any(turn["state"] == "merged" for turn in report.picture.turns.values())
    assert any(turn["rolled_back"] for turn in report.picture.turns.values())
    assert report.sent.receipts
    names = {step["name"] for step in report.picture.calls().values()}
    assert {CLERK, *HAND_OVERS} <= names
    assert report.sent.handed_over
    assert any(turn["cancel_requested_by"] in NAMES for turn in report.picture.turns.values())
