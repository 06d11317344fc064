"""Erasures that broke off: taken up by the schedule, told by the doctor, and stopped by a hold meanwhile."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from conversation.errors import ThreadHeld
from store.erasure import erase
from store.erasure.run import run_erasure
from store.erasure.subject import Subject
from store.retention import holds, removal
from store.retention_tables import erasures
from tests.integration.retention.scenes import TURN, Scene

ANN = Subject(tenant="default", user="ann")


def rows(scene: Scene) -> list[Any]:
    return scene.database.run(lambda c: list(c.execute(select(erasures))))


def fenced(scene: Scene, *threads_: str) -> str:
    """An erasure of ann's that fenced off all of these, and deleted nothing yet."""
    for thread in threads_:
        scene.answered(thread, 3)
        scene.change(thread, metadata={"user": "ann"})
    erasure = scene.database.run(partial(erase.begin, subject=ANN))
    fence = partial(erase.fence_off, erasure_id=erasure, subject=ANN)
    for thread in threads_:
        scene.database.run(partial(fence, key=scene.key(thread)))
    return erasure


def test_a_hold_in_the_middle_has_the_persons_other_threads_read_again_until_it_is_released(
    scene: Scene,
) -> None:
    erasure = fenced(scene, "a", "b", "c")
    scene.database.run(partial(erase.remove_batch, erasure_id=erasure, key=scene.key("a")))
    scene.database.run(partial(holds.hold, tenant="default", thread_id="c"))
    assert scene.contents("b") == []

    with pytest.raises(ThreadHeld, match="'c'"):
        run_erasure(scene.database, scene.files, ANN)

    assert len(scene.contents("b")) == len(scene.contents("c")) == 3 * TURN
    assert [row for row in scene.pending() if row.erasure_id is not None] == []
    assert rows(scene)[0].finished_at is None
    scene.database.run(partial(holds.release, tenant="default", thread_id="c"))
    certificate = run_erasure(scene.database, scene.files, ANN)
    assert certificate["id"] == erasure
    assert (certificate["counts"]["messages"], certificate["counts"]["threads"]) == (3 * 3 * TURN, 3)


def test_retention_takes_up_what_an_erasure_left_of_a_turn_when_its_hold_is_released(scene: Scene) -> None:
    erasure = fenced(scene, "a")
    key = scene.key("a")

    def half_a_turn(connection: Any) -> None:
        batch = removal.next_batch(connection, key, erasure_id=erasure, limit=TURN // 2)
        assert batch is not None
        removal.remove(connection, batch)

    scene.database.run(half_a_turn)
    scene.database.run(partial(holds.hold, tenant="default", thread_id="a"))
    assert len(scene.seqs("a")) == 3 * TURN - TURN // 2
    scene.database.run(partial(holds.release, tenant="default", thread_id="a"))

    scene.run()

    assert (scene.pending(), len(scene.seqs("a")), len(scene.contents("a"))) == ([], 2 * TURN, 2 * TURN)
