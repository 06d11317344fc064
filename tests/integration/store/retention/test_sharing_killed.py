"""Retention and erasure of what is shared, killed by SIGKILL at any moment: each shows what it showed."""

from pathlib import Path
from random import Random

import pytest

from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from tests.conftest import LendDatabase
from tests.integration.store.retention.test_doctor_agrees import findings
from tests.integration.store.retention.test_killed import check_no_orphans, copied, die, scene_of
from tests.integration.store.retention.test_sharing import branch, fork, left, shown
from tests.integration.store.scenes import TURN, Scene

pytestmark = pytest.mark.soak

#: What each is to show: a fork of a thread that goes, a thread that is cut, a fork of that.
KEPT = {"kept": 2 * TURN, "full": 2 * TURN, "of full": 2 * TURN}


@pytest.fixture
def seeded(database_url: str, tmp_path: Path) -> Scene:
    """A thread that goes with its branch and leaves a part to a fork; one that is cut, which two forks share."""
    scene = scene_of(database_url, tmp_path)
    scene.answered("idle", 3, file=b"of idle")
    scene.answered(branch(scene, "idle", "a", TURN), 1)
    fork(scene, "idle", "kept", at=2 * TURN)
    scene.answered("full", 4, file=b"of full")
    fork(scene, "full", "of-full", at=2 * TURN)
    fork(scene, "full", "gone", at=3 * TURN)
    for thread in ("idle", "idle/a", "gone"):
        scene.age(40, thread, after_seq=10**6)
    scene.database.close()
    return scene


def check(scene: Scene) -> None:
    # Each run comes to what the one before has freed.
    for _ in range(4):
        scene.run()
    assert [scene.row(name) for name in ("idle", "idle/a", "gone")] == [None] * 3
    assert {name: len(shown(scene, name.replace(" ", "-"))) for name in KEPT} == KEPT
    assert scene.seqs("full") == list(range(1, 4 * TURN + 1))
    assert left(scene) == {"threads": 4, "messages": 6 * TURN, "turns": 6, "steps": 6, "attachments": 6}
    assert scene.pending() == findings(scene) == []
    check_no_orphans(scene)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("deaths", [4, pytest.param(60, marks=pytest.mark.endurance)])
@pytest.mark.parametrize("work", ["retention", "ann"])
def test_what_is_shared_stays_and_the_rest_goes_wherever_it_was_killed(
    seeded: Scene, lend_database: LendDatabase, tmp_path: Path, deaths: int, work: str
) -> None:
    template = seeded.settings.database_url.get_secret_value().rpartition("/")[2].partition("?")[0]
    if work != "retention":
        for name in ("idle", "idle/a", "gone"):
            seeded.change(name, owner=work)
        seeded.database.close()
    with lend_database(template) as url:
        events = int(die(url, scene_of(url, copied(seeded, tmp_path, "count")), 0, work))

    for moment in sorted(Random(5).sample(range(1, events + 1), deaths)):
        with lend_database(template) as url:
            scene = scene_of(url, copied(seeded, tmp_path, str(moment)))
            die(url, scene, moment, work)

            if work != "retention":
                run_erasure(scene.database, scene.files, Subject(tenant="default", user=work))
            check(scene)
            scene.database.close()
