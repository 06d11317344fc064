"""What `threadmill retention run --dry-run` prints of the threads that a legal hold keeps."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from store.retention import dry_run
from threadmill.cli import retention

T0 = {"tenant": "acme", "id": "t0", "policy": {"field": "idle_days"}}


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    def lines(*, is_complete: bool) -> list[str]:
        made = dry_run.Report(held=[T0], held_is_complete=is_complete)
        monkeypatch.setattr(dry_run, "build_report", lambda *_: made)
        monkeypatch.setattr(retention, "open_database", lambda: nullcontext((None, None)))
        retention.run(dry_run=True)
        return [line for line in capsys.readouterr().out.splitlines() if "hold" in line]

    return lines


def test_each_thread_is_named_with_what_wanted_it(printed: Callable[..., list[str]]) -> None:
    assert printed(is_complete=True) == ["kept by a legal hold: t0 of acme (idle_days)"]


def test_a_list_that_was_cut_says_so(printed: Callable[..., list[str]]) -> None:
    assert printed(is_complete=False)[1:] == ["kept by a legal hold: more than 1, of which no more are named"]
