"""A thread is exported with its branches, and imported with what they share of each other."""

import json
from typing import Any

import pytest

from conversation.errors import InvalidInput
from store.retention import delete_thread
from store.threads import importer
from store.threads.export import Export, read_next_page
from tests.integration.store.retention.test_doctor_agrees import findings
from tests.integration.store.retention.test_sharing import branch, delete_branch, fork, left, shown
from tests.integration.store.scenes import TURN, Scene


def export(scene: Scene, address: str) -> list[Any]:
    lines, page, under_way = [], [None], Export("default", address)
    while page:
        page, under_way = scene.database.run(read_next_page, export=under_way)
        lines += page
    return json.loads(json.dumps(lines))  # type: ignore[no-any-return]


def seed(scene: Scene) -> None:
    """A fork with four branches: one shares a deleted one, one shows what the first one hides, one is chosen."""
    scene.answered("source", 2)
    fork(scene, "source", "t", 2 * TURN)
    scene.answered("t", 2, file=b"of t")
    scene.answered(branch(scene, "t", "gone", 3 * TURN), 2)
    scene.answered(branch(scene, "t/gone", "b", 4 * TURN), 1)
    scene.answered(branch(scene, "t", "c", TURN), 1)
    scene.answered(branch(scene, "t/c", "d", 2 * TURN), 1)
    delete_branch(scene, "t/gone")
    scene.change("t", chosen_key=scene.row("t/d").key, title="of t", owner="ann")
    scene.change("t/d", branch_name="the fourth")


@pytest.mark.parametrize("hides", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_thread_comes_with_its_branches(scene: Scene, hides: bool) -> None:
    seed(scene)
    if hides:
        scene.policy(tenant="default", thread_id="t", max_messages=TURN)
        assert scene.cut("t") == "cut"
    before = {row_id: shown(scene, row_id) for row_id in ("t", "t/b", "t/c", "t/d")}
    lines = export(scene, "t")

    outcome = scene.database.run(importer.import_thread, lines=lines, thread_id="copy")

    assert {row_id: shown(scene, row_id.replace("t", "copy", 1)) for row_id in before} == before
    assert scene.row("copy").chosen_key == scene.row("copy/d").key
    assert scene.row("copy/d").branch_name == "the fourth"
    assert outcome.messages == sum(line["kind"] == "message" for line in lines)
    if not hides:
        # What is shared stands there once: of a deleted branch, the one that shared it has it.
        assert outcome.messages == (4 + 2 + 1 + 1) * TURN
        assert scene.row("copy/d").parent_key == scene.row("copy/c").key
    assert findings(scene) == []
    for thread in ("copy", "t", "source"):
        scene.database.run(delete_thread.delete_thread, tenant="default", thread_id=thread)
    for _ in range(3):
        scene.run()
    assert left(scene) == {}


def test_one_branch_is_exported_by_its_address(scene: Scene) -> None:
    seed(scene)

    lines = export(scene, "t/c")

    assert [line["kind"] for line in lines].count("thread") == 1
    scene.database.run(importer.import_thread, lines=lines, thread_id="copy")
    assert shown(scene, "copy") == shown(scene, "t/c")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"branch": "main"}, "branch: 'main' is there twice"),
        ({"branch": "a/b"}, "branch: holds"),
        ({"shares": {"branch": "nobody", "to_seq": 1}}, "it names a branch before it"),
        ({"shares": {"branch": "main", "to_seq": 999}}, "shares: ends at 999"),
        ({"shares": {"branch": "main", "to_seq": "1"}}, "shares: is '1'"),
        ({"branch_origin": "nothing"}, "branch_origin: is 'nothing'"),
        ({"branch_name": "x" * 201}, "branch_name: has 201"),
    ],
)
@pytest.mark.soak
def test_a_branch_that_fits_nowhere_is_refused_and_nothing_is_stored(
    scene: Scene, changes: dict[str, Any], problem: str
) -> None:
    seed(scene)
    lines = export(scene, "t")
    number = [line["kind"] for line in lines].index("thread", 1)
    lines[number]["thread"] |= changes

    with pytest.raises(InvalidInput, match=problem) as refusal:
        scene.database.run(importer.import_thread, lines=lines, thread_id="copy")

    assert refusal.value.field.startswith(f"line {number + 1}: ")
    assert scene.row("copy") is None
