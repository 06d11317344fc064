"""When a worker's garbage is collected: after growth, in quiet, and once a minute where neither comes."""

import gc
from asyncio import new_event_loop
from collections.abc import Iterator

import pytest

from tasks.full_collections import FullCollections


class Site:
    """A process whose clock, memory and turns stand still until a test moves them."""

    def __init__(self) -> None:
        self.seconds, self.blocks, self.changes, self.collected = 100.0, 1_000, 0, 0
        self.collections = FullCollections(
            lambda: self.changes, self.collect, lambda: self.blocks, clock=lambda: self.seconds
        )
        self.collections.note_collected()

    def collect(self) -> None:
        self.collected += 1

    def pass_seconds(self, seconds: int, *, turns: int = 0, blocks: int = 0) -> int:
        """Let seconds pass, with so many turns and so much more memory in each; returns the collections so far."""
        for _ in range(seconds):
            self.seconds += 1
            self.changes += turns
            self.blocks += blocks
            self.collections.collect_if_due()
        return self.collected


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def loop() -> Iterator[object]:
    loop = new_event_loop()
    yield loop
    loop.close()


def test_nothing_is_collected_where_nothing_is_done(site: Site) -> None:
    assert site.pass_seconds(1_000) == 0


def test_what_has_grown_by_half_is_looked_at(site: Site) -> None:
    assert site.pass_seconds(4, turns=10, blocks=100) == 0

    assert site.pass_seconds(1, turns=10, blocks=100) == 1
    assert site.pass_seconds(7, turns=10, blocks=100) == 1
    assert site.pass_seconds(1, turns=10, blocks=100) == 2


def test_a_quiet_moment_is_used_once(site: Site) -> None:
    site.pass_seconds(11, turns=10)
    assert site.collected == 0

    assert site.pass_seconds(1) == 1
    assert site.pass_seconds(1_000) == 1


def test_a_quiet_moment_soon_after_a_collection_is_not_used(site: Site) -> None:
    site.pass_seconds(1, turns=10)

    assert site.pass_seconds(8) == 0
    assert site.pass_seconds(1) == 1


def test_a_worker_that_is_never_quiet_collects_once_a_minute(site: Site) -> None:
    assert site.pass_seconds(59, turns=10) == 0
    assert site.pass_seconds(1, turns=10) == 1
    assert site.pass_seconds(59, turns=10) == 1
    assert site.pass_seconds(1, turns=10) == 2


def test_python_makes_no_full_collection_meanwhile_and_all_of_them_afterwards(site: Site, loop: object) -> None:
    before = gc.get_threshold()
    full = [0]

    def note(phase: str, details: dict[str, int]) -> None:
        full[0] += phase == "start" and details["generation"] == 2

    gc.callbacks.append(note)
    try:
        site.collections.start(loop)  # type: ignore[arg-type]  # closed by the fixture
        kept = [[number] for number in range(1_000_000)]
        during = full[0]
    finally:
        site.collections.stop()
        gc.callbacks.remove(note)
        gc.unfreeze()

    assert (len(kept), during) == (1_000_000, 0)
    assert gc.get_threshold() == before
