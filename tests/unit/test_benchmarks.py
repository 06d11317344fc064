"""The benchmarks' own promises: what a part is, and what one that breaks costs. Nothing is measured here."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import run_part
from benchmarks.figures import percentile
from benchmarks.part import BY_NAME, PARTS, Part
from benchmarks.scaling import Assumptions, Costs, Fleet, Run
from benchmarks.stage import ROOT, rounds_within

FOLDER = ROOT / "benchmarks"


LOAD = """
import importlib, inspect, sys
for name in sys.argv[1:]:
    measure = importlib.import_module(f"benchmarks.{name}").measure
    assert list(inspect.signature(measure).parameters) == ["quick"], name
"""


def test_every_part_is_a_module_that_measures_and_stands_in_the_readme() -> None:
    readme = (FOLDER / "README.md").read_text()

    # In a process of their own: some define apps and agents.
    subprocess.run([sys.executable, "-c", LOAD, *BY_NAME], cwd=ROOT, check=True, timeout=60)

    assert [name for name in BY_NAME if f"`{name}`" not in readme] == []


def test_a_part_that_breaks_is_named_and_the_last_result_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.json").write_text("the last one")

    result = run_part(Part("broken", "A part that there is not"), tmp_path, quick=True)

    assert result is None
    assert "NOT MEASURED" in capsys.readouterr().out
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the last one"]


#: What they measure against is in an environment of its own, which tests do not have.
AGAINST_OTHERS = {"stores", "documents"}


@pytest.mark.endurance
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted({part.name for part in PARTS} - AGAINST_OTHERS))
def test_every_part_runs(name: str, tmp_path: Path) -> None:
    result = run_part(BY_NAME[name], tmp_path, quick=True)

    assert result is not None
    assert result["figures"]


def test_at_least_one_round_is_made_and_none_after_the_time() -> None:
    assert list(rounds_within(-1, 5)) == [0]
    assert list(rounds_within(60, 5)) == [0, 1, 2, 3, 4]


COSTS = Costs(send=0.7, worker=2.3, database=1.6, broker=0.2, flush=0.25, wal_kb=5.4, stored_kb=2.2, vacuum_seconds=4.0)


@pytest.mark.soak
def test_a_fleet_of_the_size_that_is_told_keeps_up_and_one_of_half_its_workers_does_not() -> None:
    fleet = Fleet.sized_for(1_000, COSTS, Assumptions())

    latencies = Run(1_000, COSTS, fleet).latencies()
    late = Run(1_000, COSTS, replace(fleet, workers=fleet.workers // 2)).latencies()

    assert sum((COSTS.send, COSTS.worker, COSTS.database, COSTS.broker)) < percentile(latencies, 50) < 20
    assert percentile(late, 50) > 20 * percentile(latencies, 50)


def test_a_simulation_of_equal_costs_is_equal() -> None:
    fleet = Fleet.sized_for(1_000, COSTS, Assumptions())

    assert Run(1_000, COSTS, fleet).latencies() == Run(1_000, COSTS, fleet).latencies()
