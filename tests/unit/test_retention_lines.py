"""What `threadmill retention report` prints of the threads that a legal hold keeps."""

from typing import Any

import pytest

from store.retention.report import NAMED
from threadmill.cli.retention import held_lines, is_complete


def held(count: int) -> list[dict[str, Any]]:
    return [{"tenant": "acme", "id": f"t{n}", "policy": {"field": "idle_days"}} for n in range(count)]


def test_each_thread_is_named_with_what_wanted_it() -> None:
    assert list(held_lines(held(1))) == ["kept by a legal hold: t0 of acme (idle_days)"]


@pytest.mark.parametrize(("count", "is_all"), [(0, True), (NAMED - 1, True), (NAMED, False)])
def test_a_list_that_may_be_cut_says_so(count: int, *, is_all: bool) -> None:
    lines = list(held_lines(held(count)))

    assert is_complete(held(count)) is is_all
    assert len(lines) == count + (not is_all)
    assert is_all or lines[-1] == "kept by a legal hold: 1,000 or more, of which no more are named"
