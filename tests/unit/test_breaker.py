"""The breaker before the broker: it opens after failures in a row, and tests with one attempt at a time."""

import pytest

from producers import breaker
from producers.breaker import Breaker


class Clock:
    """Stands where `time` stands for the breaker."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(breaker, "time", clock)
    return clock


def fail(guard: Breaker, times: int) -> None:
    for _ in range(times):
        guard.record_failure()


def test_failures_in_a_row_open_it_for_a_while(clock: Clock) -> None:
    guard = Breaker(failures_to_open=3, open_seconds=5)

    fail(guard, 2)
    assert guard.is_closed
    assert guard.admit()
    fail(guard, 1)

    assert not guard.is_closed
    assert not guard.admit()
    clock.seconds += 4.9
    assert not guard.admit()


def test_a_success_between_failures_starts_the_count_again(clock: Clock) -> None:
    guard = Breaker(failures_to_open=3, open_seconds=5)

    fail(guard, 2)
    guard.record_success()
    fail(guard, 2)

    assert guard.admit()


def test_one_attempt_tests_whether_the_server_is_back(clock: Clock) -> None:
    guard = Breaker(failures_to_open=3, open_seconds=5)
    fail(guard, 3)

    clock.seconds += 5

    assert [guard.admit() for _ in range(3)] == [True, False, False]
    guard.record_failure()
    clock.seconds += 4.9
    assert not guard.admit()
    clock.seconds += 0.1
    assert guard.admit()
    guard.record_success()
    assert guard.is_closed
    assert [guard.admit() for _ in range(3)] == [True, True, True]
