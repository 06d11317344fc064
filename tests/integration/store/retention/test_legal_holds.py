"""Legal holds: they beat every policy, say so, and take back a cut of which something is left."""

import pytest

from conversation.errors import ThreadNotFound, ThreadUnderLegalHold
from store.retention import deletion, dry_run, legal_holds
from store.thread_store import ThreadStore
from store.threads import forks
from tests.integration.store.scenes import TURN, Scene


def hold(scene: Scene, thread: str = "t") -> None:
    scene.database.run(legal_holds.hold, tenant="default", thread_id=thread, reason="matter 7")


def release(scene: Scene, thread: str = "t") -> None:
    scene.database.run(legal_holds.release, tenant="default", thread_id=thread)


@pytest.mark.parametrize(
    "rule", [{"idle_days": 1}, {"max_age_days": 1}, {"max_messages": 0}], ids=lambda rule: next(iter(rule))
)
def test_a_hold_beats_every_policy_and_says_so(scene: Scene, rule: dict[str, float]) -> None:
    scene.answered()
    scene.age(40)
    scene.policy(tenant="default", **rule)
    hold(scene)

    done = scene.run()

    assert (done.held, done.messages, done.threads) == (1, 0, 0)
    assert len(scene.contents()) == 5 * TURN
    release(scene)
    assert scene.run().messages == 5 * TURN


@pytest.mark.parametrize(("most", "is_complete"), [(1, False), (2, True)])
def test_a_report_names_so_many_held_threads_and_says_whether_there_are_more(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, most: int, *, is_complete: bool
) -> None:
    scene.policy(tenant="default", max_messages=0)
    for thread in ("a", "b"):
        scene.answered(thread, 1)
        hold(scene, thread)
    monkeypatch.setattr(dry_run, "HELD_MAX_NAMED", most)

    found = dry_run.build_report(scene.database, scene.settings)

    assert [thread["id"] for thread in found.held] == ["a", "b"][:most]
    assert found.held_is_complete is is_complete


def test_a_hold_after_the_cut_brings_everything_back(scene: Scene) -> None:
    scene.answered()
    scene.summary(keep=TURN)
    before = scene.row()
    scene.age(40)
    scene.policy(tenant="default", idle_days=1)
    scene.cut()
    assert scene.contents() == []

    hold(scene)
    scene.run()

    assert len(scene.contents()) == 5 * TURN
    after = scene.row()
    assert (after.history_starts_after, after.summary_id) == (0, before.summary_id)
    assert after.uncovered_messages == before.uncovered_messages
    assert scene.pending() == []


def test_a_hold_between_two_batches_keeps_what_is_left_and_shows_whole_turns(scene: Scene) -> None:
    scene.answered()
    scene.policy(tenant="default", max_messages=TURN)
    scene.cut()
    # One turn and a half.
    batch = scene.database.run(remove_some, key=scene.key(), limit=6)
    assert batch.counts["messages"] == 6

    hold(scene)
    scene.run()

    assert scene.seqs() == list(range(7, 21))
    assert scene.contents()[0] == "question 3"
    assert len(scene.contents()) == 3 * TURN
    release(scene)
    # What was half deleted first; then the policies look again.
    scene.run()
    scene.run()
    assert scene.seqs() == list(range(17, 21))
    assert scene.pending() == []


def test_a_hold_in_the_middle_of_a_deletion_stops_the_next_batch(scene: Scene) -> None:
    scene.answered()
    scene.policy(tenant="default", max_messages=TURN)
    scene.cut()
    scene.database.run(remove_some, key=scene.key(), limit=2 * TURN)
    scene.change(legal_hold=True)

    assert scene.database.run(deletion.remove_next_batch, key=scene.key()) is None
    assert scene.database.run(deletion.remove_thread, key=scene.key()) is None
    assert len(scene.seqs()) == 3 * TURN


def test_holds_and_releases_are_audited_once(scene: Scene) -> None:
    scene.answered(turns_=1)

    hold(scene)
    hold(scene)
    release(scene)
    release(scene)

    told = [(row.action, row.details["reason"]) for row in scene.audited()]
    assert told == [("retention.hold", "matter 7"), ("retention.release", "")]
    assert "t" not in [row.thread_id for row in scene.audited()]


def test_a_thread_that_is_not_there_cannot_be_held(scene: Scene) -> None:
    with pytest.raises(ThreadNotFound, match="'t'"):
        hold(scene)


async def test_context_of_a_held_thread_cannot_be_dropped(scene: Scene) -> None:
    scene.answered(turns_=1)
    async with ThreadStore(scene.settings) as store:
        thread = await store.get_thread("t")
        thread.set_context("address", "12 Main Street")
        await store.save_thread(thread)
        hold(scene)
        thread.set_context("address", None)

        with pytest.raises(ThreadUnderLegalHold, match="'t' under legal hold; release the hold"):
            await store.save_thread(thread)

    assert scene.count("thread_context") == 1


def test_a_hold_gives_back_the_summary_that_leaves_no_hole(scene: Scene) -> None:
    """A later one tells of nothing that was cut: with it, what comes back would be read by nobody."""
    scene.answered(turns_=4)
    scene.summary(keep=2 * TURN)
    before = scene.row().summary_id
    scene.policy(tenant="default", max_messages=TURN)
    scene.cut()
    scene.answered(turns_=3)
    scene.summary(keep=TURN)
    assert scene.row().summary_id not in (None, before)

    hold(scene)

    row = scene.row()
    assert (row.history_starts_after, row.summary_id) == (0, before)
    assert row.uncovered_messages == 7 * TURN - 2 * TURN
    assert len(scene.claimed().window) == 5 * TURN + 1


def test_what_a_hold_gave_back_is_as_old_as_it_was(scene: Scene) -> None:
    scene.answered(turns_=3)
    scene.age(40, moves_thread=False)
    scene.database.run(lambda c: forks.fork(c, "default", "t", "copy"))
    scene.policy(tenant="default", max_age_days=30)
    scene.cut("copy")
    hold(scene, "copy")
    release(scene, "copy")

    scene.run()

    assert scene.contents("copy") == []


def test_a_hold_gives_back_system_messages_that_had_become_context(scene: Scene) -> None:
    scene.answered(turns_=1)
    scene.say_system("Answer in French.")
    scene.answered(turns_=3)
    scene.summary(keep=TURN)
    scene.policy(tenant="default", max_messages=TURN, keep_summary=True)
    scene.cut()
    assert scene.count("thread_context") == 1

    hold(scene)

    assert scene.count("thread_context") == 0
    assert "Answer in French." in scene.contents()


async def test_a_held_thread_is_not_deleted_by_hand_either(scene: Scene) -> None:
    scene.answered(turns_=1)
    hold(scene)

    async with ThreadStore(scene.settings) as store:
        with pytest.raises(ThreadUnderLegalHold, match="'t' under legal hold; release the hold"):
            await store.delete_thread("t")


def test_a_summary_that_was_drafted_before_a_cut_is_not_put(scene: Scene) -> None:
    """Its words would be of messages that were deleted."""
    scene.answered()
    draft = scene.draft(keep=TURN)
    assert draft is not None
    scene.policy(tenant="default", max_messages=2 * TURN)
    scene.run()

    assert scene.put(draft) is None
    assert scene.count("summaries") == 0


def remove_some(connection: object, key: int, limit: int) -> deletion.BatchOutcome:
    batch = deletion.lock_next_batch(connection, key, limit=limit)  # type: ignore[arg-type]
    assert batch is not None
    return deletion.remove_batch(connection, batch)  # type: ignore[arg-type]
