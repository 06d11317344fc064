"""The purge of old turns: journals go, messages stay."""

from datetime import UTC, datetime, timedelta

from conversation.message import Message
from conversation.thread import Thread
from store import tables
from store.retention import purge
from store.threads import repository
from tasks.jobs.retention import run_purge
from tests.integration.store.scenes import TURN, Scene, settle

OLD = datetime.now(UTC) - timedelta(days=40)


def end_long_ago(scene: Scene, thread: str) -> None:
    ended = tables.turns.update().where(tables.turns.c.thread_key == scene.key(thread))
    scene.database.run(lambda c: c.execute(ended.values(finished_at=OLD)))


def test_turns_that_ended_long_ago_go_with_their_journals_and_the_messages_stay(scene: Scene) -> None:
    scene.answered("old", 3)
    scene.answered("held", 1)
    scene.change("held", legal_hold=True)
    end_long_ago(scene, "old")
    end_long_ago(scene, "held")
    scene.answered("old", 1)
    settings = scene.settings.model_copy(update={"turn_retention_days": 30})

    assert run_purge(scene.database, settings) == 3

    assert (scene.count("turns"), scene.count("steps")) == (2, 2)
    assert len(scene.contents("old")) == 4 * TURN
    (row,) = scene.audited("purge.turns_deleted")
    assert row.details["counts"] == {"turns": 3, "steps": 3, "inbox_messages": 0, "attachments": 0}
    assert run_purge(scene.database, settings) == 0


def test_a_purge_takes_page_after_page_and_passes_over_what_stays(scene: Scene) -> None:
    scene.answered("held", 3)
    scene.change("held", legal_hold=True)
    scene.answered("old", 3)
    for thread in ("held", "old"):
        end_long_ago(scene, thread)
    place: purge.Cursor | None = purge.BEGINNING
    turns, pages = 0, 0

    while place is not None:
        purged = scene.database.run(purge.purge, days=30, after=place, limit=2)
        turns, place, pages = turns + purged.turns, purged.next_cursor, pages + 1

    assert (turns, pages) == (3, 4)
    assert scene.count("turns") == 3


def test_what_waited_in_the_inbox_of_a_cancelled_turn_goes_with_its_file(scene: Scene) -> None:
    scene.send("never answered", file=b"its file")
    scene.database.run(lambda c: c.execute(tables.turns.update().values(state="cancelled", finished_at=OLD)))

    run_purge(scene.database, scene.settings.model_copy(update={"turn_retention_days": 30}))

    assert (scene.count("turns"), scene.count("inbox_messages"), scene.count("attachments")) == (0, 0, 0)


def test_nothing_is_purged_unless_days_are_set(scene: Scene) -> None:
    scene.answered(turns_=1)
    end_long_ago(scene, "t")

    assert run_purge(scene.database, scene.settings) == 0
    assert scene.count("turns") == 1


def test_a_purged_turn_is_still_cut_as_a_whole(scene: Scene) -> None:
    """Its messages belong together also where library code wrote between them."""
    claimed = scene.claimed("asked")
    note = Thread("t", messages=[Message(role="user", content="by the way")])
    scene.database.run(lambda c: repository.save(c, note, new=note.new_messages))
    scene.database.run(settle(claimed))
    end_long_ago(scene, "t")
    run_purge(scene.database, scene.settings.model_copy(update={"turn_retention_days": 30}))
    assert scene.count("turns") == 0
    scene.answered(turns_=1)
    scene.policy(tenant="default", max_messages=2 * TURN)

    scene.run()

    assert scene.contents()[0] == "question 1"
