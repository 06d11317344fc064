"""Refusals are counted, and told in few lines that quote nothing."""

from collections.abc import Callable
from functools import partial
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from tasks import refusals


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test sets."""
    now = [1000.0]
    monkeypatch.setattr(refusals, "_refusals", refusals.Refusals())
    monkeypatch.setattr("tasks.refusals.time.monotonic", lambda: now[0])
    return now


def test_a_kind_has_one_line_a_second_and_no_refusal_is_uncounted(clock: list[float]) -> None:
    with capture_logs() as lines:
        for number in range(10_000):
            clock[0] += 0.001
            refusals.note_refusal("no_json", f"id-{number}")
            refusals.note_refusal("wrong_form")
        clock[0] += 1
        refusals.note_refusal("no_json")

    told = [line for line in lines if line["kind"] == "no_json"]
    assert 10 <= len(told) <= 11
    assert sum(line["count"] for line in told) == 10_001
    assert refusals.refusals() == {"no_json": 10_001, "wrong_form": 10_000}


def test_what_was_refused_within_a_second_is_told_when_that_is_over(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    timers: list[tuple[float, Callable[[], None]]] = []

    def hold(seconds: float, tell: Callable[..., None], arguments: list[str]) -> Mock:
        timers.append((seconds, partial(tell, *arguments)))
        return Mock()

    monkeypatch.setattr("tasks.refusals.threading.Timer", hold)
    with capture_logs() as lines:
        for _ in range(1_000):
            refusals.note_refusal("no_json")
        clock[0] += 1
        ((seconds, tell),) = timers
        tell()
        tell()

    assert seconds == 1
    assert [line["count"] for line in lines] == [1, 999]


@pytest.mark.parametrize(
    "message_id", ["", "x" * 65, "a b", "-x", "\x1b[2J", "é", "\n", "id\n", 5, None, {}, ["x"], "\ud800"]
)
def test_an_id_that_is_none_stands_in_no_line(clock: list[float], message_id: object) -> None:
    with capture_logs() as lines:
        refusals.note_refusal("no_json", message_id)  # type: ignore[arg-type]

    assert lines == [{"event": "broker_message_refused", "log_level": "warning", "kind": "no_json", "count": 1}]


def test_a_kind_that_is_not_known_is_one_of_the_closed_set(clock: list[float]) -> None:
    refusals.note_refusal("x" * 1_000_000)

    assert refusals.refusals() == {"wrong_form": 1}
