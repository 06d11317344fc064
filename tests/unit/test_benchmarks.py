"""The benchmarks' own promises: what a part is, and what one that breaks costs. Nothing is measured here."""

from pathlib import Path

import pytest

from benchmarks.__main__ import run_part
from benchmarks.part import BY_NAME, Part
from benchmarks.stage import ROOT, rounds_within

FOLDER = ROOT / "benchmarks"


def test_every_part_is_a_module_that_measures_and_stands_in_the_readme() -> None:
    readme = (FOLDER / "README.md").read_text()

    for name in BY_NAME:
        assert "\ndef measure(*, quick: bool) -> Measures:\n" in (FOLDER / f"{name}.py").read_text(), name
        assert f"`{name}`" in readme, name


def test_a_part_that_breaks_is_named_and_the_last_result_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.json").write_text("the last one")

    result = run_part(Part("broken", "A part that there is not"), tmp_path, quick=True)

    assert result is None
    assert "NOT MEASURED" in capsys.readouterr().out
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the last one"]


def test_at_least_one_round_is_made_and_none_after_the_time() -> None:
    assert list(rounds_within(-1, 5)) == [0]
    assert list(rounds_within(60, 5)) == [0, 1, 2, 3, 4]
