"""A summary of what branches share is written once, and serves those whose history it covers."""

import pytest
from sqlalchemy import func, select

from conversation.summary import Draft, NewSummary
from store import tables
from store.lineage import Lineage
from store.summaries import repository as summaries
from store.threads import forks
from tests.integration.store.retention.test_doctor_agrees import findings
from tests.integration.store.scenes import TURN, Scene


def fork(scene: Scene, new: str, at: int) -> None:
    scene.database.run(forks.fork, tenant="default", thread_id="t", new_id=new, at=at)


def uncovered(scene: Scene, thread: str) -> tuple[int, int]:
    row = scene.row(thread)
    covered_to = select(func.coalesce(func.max(tables.summaries.c.to_seq), 0))
    covered_to = covered_to.where(tables.summaries.c.id == row.summary_id)
    after_seq = max(row.history_starts_after, scene.database.run(lambda c: c.execute(covered_to).scalar_one()))
    shown = Lineage.of(row).holds(after_seq=after_seq)
    counted = select(func.count(), func.sum(tables.messages.c.tokens)).where(shown)
    return tuple(scene.database.run(lambda c: c.execute(counted).one()))  # type: ignore[return-value]


def test_a_summary_that_came_after_the_fork_serves_the_fork(scene: Scene) -> None:
    scene.answered("t", 5)
    fork(scene, "f", 4 * TURN)
    scene.summary("t", keep=3 * TURN)

    draft = scene.draft("f", keep=TURN)

    assert isinstance(draft, Draft)
    assert isinstance(draft.shared, NewSummary)
    assert (draft.shared.content, draft.to_seq, draft.shared.cost) == ("they talked", 2 * TURN, None)
    summary = scene.database.run(summaries.put, draft=draft, new=draft.shared)
    assert summary is not None
    assert summary.is_current
    row = scene.row("f")
    assert (row.uncovered_messages, row.uncovered_tokens) == uncovered(scene, "f")
    # What follows is its own to summarize.
    following = scene.draft("f", keep=TURN)
    assert following is not None
    assert (following.shared, following.after_seq, following.previous_content) == (None, 2 * TURN, "they talked")
    assert findings(scene) == []


@pytest.mark.soak
@pytest.mark.parametrize(("at", "keep"), [(TURN, 1), (5 * TURN, 4 * TURN)])
def test_a_summary_of_more_than_is_shared_or_to_be_covered_serves_nobody(scene: Scene, at: int, keep: int) -> None:
    scene.answered("t", 5)
    fork(scene, "f", at)
    scene.summary("t", keep=3 * TURN)

    draft = scene.draft("f", keep=keep)

    assert draft is None or draft.shared is None


def test_a_fork_behind_deleted_messages_counts_what_it_shows(scene: Scene) -> None:
    scene.answered("t", 5)
    scene.policy(tenant="default", thread_id="t", max_messages=3 * TURN)
    scene.run()
    scene.database.run(
        lambda c: c.execute(tables.messages.delete().where(tables.messages.c.seq == 3 * TURN - 1)).rowcount
    )

    for new, at in (("f", 5 * TURN), ("g", 4 * TURN), ("h", 2 * TURN)):
        fork(scene, new, at)
        row = scene.row(new)
        shown = uncovered(scene, new)
        assert (row.uncovered_messages, row.uncovered_tokens) == (shown[0], shown[1] or 0)


@pytest.mark.soak
def test_a_withdrawn_summary_serves_nobody(scene: Scene) -> None:
    scene.answered("t", 5)
    fork(scene, "f", 4 * TURN)
    scene.summary("t", keep=3 * TURN)
    scene.database.run(summaries.restore, tenant="default", thread_id="t")

    draft = scene.draft("f", keep=TURN)

    assert draft is not None
    assert draft.shared is None
