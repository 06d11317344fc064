"""The end of a process that has run out of something: once, in order, and not for a moment's shortage."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from conversation.exhaustion import Exhausted, Resource
from tasks import exhaustion
from tasks.exhaustion import EXIT_STATUS, ExhaustionWatch, Replacement


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that this process sent itself."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def test_a_process_claims_nothing_more_and_is_asked_to_stop_once(signals: list[tuple[int, int]]) -> None:
    steps: list[Any] = []
    replacement = Replacement()
    replacement.on_begin = lambda: steps.append(list(signals))

    for _ in range(2):
        assert replacement.begin_after(ValueError()) is (replacement.resource is not None and False)
        assert replacement.begin_after(Exhausted(Resource.THREADS))

    assert steps == [[]]
    assert signals == [(os.getpid(), signal.SIGTERM)]
    assert replacement.exit_status == EXIT_STATUS


@pytest.mark.parametrize("error", [ValueError(), OSError(28, "No space left on device")])
def test_another_error_and_a_full_disk_replace_nothing(error: Exception, signals: list[tuple[int, int]]) -> None:
    replacement = Replacement()

    assert not replacement.begin_after(error)
    assert (replacement.exit_status, signals) == (None, [])


def test_a_child_of_a_pool_ends_by_itself(monkeypatch: pytest.MonkeyPatch, signals: list[tuple[int, int]]) -> None:
    ended: list[int] = []
    monkeypatch.setattr(exhaustion, "current_process", lambda: type("Child", (), {"name": "ForkPoolWorker-1"}))
    monkeypatch.setattr(os, "_exit", ended.append)

    Replacement().begin(Resource.DESCRIPTORS)

    assert ended[0] == EXIT_STATUS


def test_what_is_set_aside_is_there_at_the_end(signals: list[tuple[int, int]]) -> None:
    before = exhaustion._count_descriptors()
    replacement = Replacement()
    replacement.set_aside()
    assert exhaustion._count_descriptors() == before + exhaustion.SPARE_DESCRIPTORS

    replacement.begin(Resource.DESCRIPTORS)

    assert exhaustion._count_descriptors() == before


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the system says of this process."""
    counted: dict[str, Any] = {"descriptors": 100, "threads": 50, "missing": None}
    monkeypatch.setattr(exhaustion, "_count_descriptors", lambda: counted["descriptors"])
    monkeypatch.setattr(exhaustion, "_count_threads", lambda: counted["threads"])
    monkeypatch.setattr(exhaustion, "missing_resource", lambda: counted["missing"])
    monkeypatch.setattr(exhaustion.resource, "getrlimit", lambda _: (1_100, 1_100))
    return counted


@pytest.mark.parametrize(
    ("shortage", "resource"),
    [
        ({"descriptors": 1_001}, Resource.DESCRIPTORS),
        ({"threads": 2_051}, Resource.THREADS),
        ({"missing": Resource.MEMORY}, Resource.MEMORY),
    ],
)
def test_a_shortage_counts_once_it_was_seen_twice_in_a_row(
    counts: dict[str, Any], shortage: dict[str, Any], resource: Resource
) -> None:
    watch, well = ExhaustionWatch(), dict(counts)

    seen = []
    for state in (shortage, well, shortage, shortage):
        counts.update(well | state)
        seen.append(watch.look())

    assert seen == [None, None, None, resource]


def test_what_a_worker_needs_from_the_start_is_no_leak(counts: dict[str, Any]) -> None:
    counts.update(descriptors=1_050, threads=5_000)
    watch = ExhaustionWatch()

    counts.update(descriptors=1_090, threads=6_000)

    assert [watch.look() for _ in range(3)] == [None] * 3
