"""The register of runs: whether a thread is in it costs the same however many are."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tasks.active_runs import ActiveRuns

MANY = 1_000


class CountedName(tuple[str, str]):
    """A thread's name that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        CountedName.compared += 1
        return super().__eq__(other)

    __hash__ = tuple.__hash__


@pytest.fixture
def crowd() -> Iterator[ActiveRuns]:
    active_runs = ActiveRuns()
    with ExitStack() as stack:
        for number in range(MANY):
            stack.enter_context(active_runs.enter(CountedName(("default", f"t-{number}"))))
        yield active_runs
    assert len(active_runs) == 0


def test_a_look_for_a_thread_compares_few_of_those_that_run(crowd: ActiveRuns) -> None:
    CountedName.compared = 0

    assert all(crowd.has(("default", f"t-{number}")) for number in range(MANY))
    assert not crowd.has(("default", "another"))
    assert not crowd.has_run(("default", "t-1"))
    assert CountedName.compared < 4 * MANY


def test_a_thread_with_two_tasks_is_there_until_both_have_left(crowd: ActiveRuns) -> None:
    thread = ("default", "two")
    with crowd.enter(thread), crowd.enter(thread):
        assert len(crowd) == MANY + 2
    with crowd.enter(thread):
        assert crowd.has(thread)

    assert not crowd.has(thread)
