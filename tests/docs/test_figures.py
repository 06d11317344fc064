"""Figures in pages are those that `make bench` measured."""

from pathlib import Path

import pytest

from benchmarks import measured, quote
from benchmarks.figures import Figure, ratio_at_least

MARKED = "<!-- bench: {} -->{}<!-- /bench -->"


def test_every_page_quotes_what_was_measured() -> None:
    stale = [path.name for path in quote.pages() if quote.bring_up_to_date(path.read_text()) != path.read_text()]

    assert stale == [], "run: .venv/bin/python -m benchmarks.quote --write"


def test_the_readme_quotes_something() -> None:
    assert quote.MARK.search((quote.ROOT / "README.md").read_text())


def test_a_part_without_a_result_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "RESULTS", tmp_path)

    assert quote.NOT_MEASURED in quote.bring_up_to_date(MARKED.format("table send", ""))


def test_a_figure_that_differs_is_replaced_and_what_stands_around_it_stays() -> None:
    true = quote.bring_up_to_date(MARKED.format("ratio partitions.parted_insert", ""))

    page = quote.bring_up_to_date(f"Before {MARKED.format('ratio partitions.parted_insert', '0.99')} after.")

    assert page == f"Before {true} after."
    assert "0.99" not in page


@pytest.mark.parametrize("name", ["partitions.no_such_figure", "no_such_part"])
def test_a_figure_that_was_not_measured_cannot_be_quoted(name: str) -> None:
    with pytest.raises(LookupError):
        quote.bring_up_to_date(MARKED.format(f"value {name}", ""))


def test_a_demand_is_of_the_ratio_of_two_medians() -> None:
    base = Figure(key="base", label="", rounds=[100, 1, 110], unit="/s")
    met = Figure(key="own", label="", rounds=[60, 1, 70], unit="/s", baseline=base, demand=ratio_at_least(0.6))
    missed = Figure(key="own", label="", rounds=[59, 59, 900], unit="/s", baseline=base, demand=ratio_at_least(0.6))

    assert (met.ratio, met.is_met) == (0.6, True)
    assert missed.is_met is False
    assert base.is_met is None
