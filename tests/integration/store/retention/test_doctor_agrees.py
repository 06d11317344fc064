"""The doctor finds nothing to mend at any stage of retention."""

from functools import partial

import pytest

from store.doctor import Examination, Scope
from store.retention import deletion, legal_holds
from tests.integration.store.scenes import TURN, Scene

STAGES = ["cut", "batch", "hold", "done"]


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_contradicts_itself(scene: Scene, stage: str) -> None:
    scene.answered()
    scene.summary(keep=2 * TURN)
    scene.policy(tenant="default", max_messages=TURN)

    scene.cut()
    if STAGES.index(stage) >= 1:
        some = partial(deletion.lock_next_batch, key=scene.key(), limit=6)
        scene.database.run(lambda c: deletion.remove_batch(c, some(c)))
    if stage == "hold":
        scene.database.run(legal_holds.hold, tenant="default", thread_id="t")
    if stage == "done":
        scene.run()

    assert findings(scene) == []


def findings(scene: Scene) -> list[str]:
    scope = Scope(older_than_seconds=600, unclaimed_seconds=3600, upload_seconds=600)
    examination = Examination(database=scene.database, files=scene.files, scope=scope)
    return [f"{result.check.name}: {note.finding.detail}" for result in examination.run() for note in result.notes]
