"""Two messages at once: what each policy does at each moment, on each database and road."""

import json
import os
import re
from itertools import product
from pathlib import Path

import pytest

from conversation.errors import IdempotencyConflict, ThreadBusy
from conversation.ids import new_id
from conversation.message import Message
from conversation.replay import replay_transcript
from conversation.step import message_of
from conversation.turn import Cancelled, ClaimedTurn, Completed, Failed, RefusedTurn, RetryLater, TurnError, TurnState
from conversation.when_busy import WhenBusy
from store.blobs.memory import MemoryBlobs
from store.database.engine import Database
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.threads.export import Export, read_next_page
from store.threads.forks import fork
from store.threads.importer import import_thread
from store.turns import cancel, journal, steering
from store.turns.requeue import RequeueOutcome, requeue
from tests.integration.store.turns.busy_scene import MOMENTS, BusyScene, play

PAGE = Path("docs/explanation/two-messages-at-once.md")
#: Beside those that wait to be merged, all policies of a first message come to the same.
FEW = [WhenBusy.ENQUEUE, WhenBusy.MERGE]
TABLE = re.compile(r"(?<=<!-- outcomes -->\n).*?(?=<!-- end -->)", re.DOTALL)


@pytest.fixture
def scene(any_database: Database) -> BusyScene:
    return BusyScene(any_database)


def test_what_happens_for_each_pair_of_policies_at_each_moment_is_what_the_page_says(any_database: Database) -> None:
    if os.environ.get("WRITE_PAGES") and any_database.has_functions:
        PAGE.write_text(TABLE.sub(lambda _: _write(_play_all(any_database, list(WhenBusy))), PAGE.read_text()))
    _check_page(any_database, FEW if any_database.has_functions else FEW[1:])


@pytest.mark.soak
def test_the_page_is_true_of_each_policy_of_the_first_message(any_database: Database) -> None:
    _check_page(any_database, [policy for policy in WhenBusy if policy not in FEW])


def _check_page(database: Database, first_policies: list[WhenBusy]) -> None:
    told = TABLE.search(PAGE.read_text())
    assert told is not None
    lines = [line.strip("|").split("|") for line in told[0].splitlines()]
    header, _, *rows = [[cell.strip() for cell in line] for line in lines]
    moments = _moments(database)
    places = [0, 1, *(header.index(moment) for moment in moments)]
    shown = [[row[place] for place in places] for row in rows if row[0] in first_policies]
    assert shown == _play_all(database, first_policies)[1:]


def _moments(database: Database) -> list[str]:
    # SQLite has one writer: nothing is sent in the middle of a commit.
    return [each for each in MOMENTS if each != "in the commit" or database.engine.dialect.name != "sqlite"]


def _play_all(database: Database, first_policies: list[WhenBusy]) -> list[list[str]]:
    rows = [["first", "second", *_moments(database)]]
    for first, new in product(first_policies, WhenBusy):
        rows.append([first, new, *(play(BusyScene(database), first, new, moment) for moment in _moments(database))])
    return rows


def _write(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join((lines[0], "|---" * len(rows[0]) + "|", *lines[1:])) + "\n"


# Who says which policy


@pytest.mark.parametrize("says", ["call", "thread", "agent", "installation"])
def test_the_policy_is_the_calls_else_the_threads_else_the_agents_else_the_installations(
    scene: BusyScene, says: str
) -> None:
    from sqlalchemy import update

    from store.tables import agents, threads

    scene.send("one")
    given = ["call", "thread", "agent", "installation"]
    lower = dict.fromkeys(given[given.index(says) + 1 :], "enqueue")
    policies = {says: "reject", **lower}
    with scene.database.engine.begin() as connection:
        connection.execute(update(threads).values(when_busy=policies.get("thread")))
        connection.execute(update(agents).values(when_busy=policies.get("agent")))

    with pytest.raises(ThreadBusy):
        scene.send("two", policies.get("call"), default_when_busy=policies.get("installation"))

    assert scene.inbox_count() == 1


def test_a_key_that_was_accepted_gives_its_turn_again_though_that_makes_the_thread_busy(scene: BusyScene) -> None:
    sent = scene.send("one", WhenBusy.REJECT, idempotency_key="k")
    again = scene.send("one", WhenBusy.REJECT, idempotency_key="k")
    assert again == sent
    with pytest.raises(IdempotencyConflict):
        scene.send("other", WhenBusy.REJECT, idempotency_key="k")


# Interrupt and rollback


def test_an_interrupt_ends_all_that_wait_before_it_and_nothing_after_it(scene: BusyScene) -> None:
    running, waiting = scene.send("one"), scene.send("two")
    claimed = scene.claim_turn()
    asking, later = scene.send("stop, three", WhenBusy.INTERRUPT), scene.send("four")

    scene.end(claimed)
    scene.run_all()

    assert [scene.read(each).state.value for each in (running, waiting, asking, later)] == [
        "cancelled",
        "cancelled",
        "completed",
        "completed",
    ]
    assert scene.read(waiting).interrupted_by == asking
    # What users said stays, in its order.
    said = ["one", "I be", "two", "stop, three", "to one and two and stop, three"]
    assert scene.stored() == [*said, "four", "to one and two and stop, three and four"]


def test_an_answer_that_is_committed_after_an_interrupt_was_sent_is_kept_and_its_turn_is_cancelled(
    scene: BusyScene,
) -> None:
    first = scene.send("one")
    claimed = scene.claim_turn()
    second = scene.send("two", WhenBusy.INTERRUPT)

    scene.settle(claimed, Completed(messages=(Message(role="assistant", content="done"),)))

    record = scene.read(first)
    assert (record.state, record.interrupted_by) == (TurnState.CANCELLED, second)
    assert scene.stored() == ["one", "done"]


def test_a_turn_that_waits_for_its_model_is_interrupted_at_once(scene: BusyScene) -> None:
    from datetime import timedelta

    from store.turns.sweep import pick_wake_ups

    first = scene.send("one")
    away = RetryLater(after=timedelta(hours=1), error=TurnError("model_error", "away", retryable=True))
    scene.settle(scene.claim_turn(), away)
    assert not isinstance(scene.claim(), ClaimedTurn)

    scene.send("two", WhenBusy.INTERRUPT)

    picked = scene.database.run(pick_wake_ups, grace_seconds=None, limit=100)
    assert first in [wake_up.turn_id for wake_up in picked]
    refused = scene.claim()
    assert isinstance(refused, RefusedTurn)
    assert isinstance(refused.ending, Cancelled)


def test_who_cancels_an_interrupt_does_not_let_what_it_interrupted_go_on(scene: BusyScene) -> None:
    first = scene.send("one")
    scene.claim_turn()
    second = scene.send("two", WhenBusy.INTERRUPT)

    scene.database.run(cancel.request_cancel, second)

    assert scene.read(second).state is TurnState.CANCELLED
    assert scene.is_asked_to_stop(first)
    assert scene.read(first).interrupted_by == second


def test_a_rollback_after_an_interrupt_takes_the_same_turn_out_of_view_too(scene: BusyScene) -> None:
    first = scene.send("one")
    claimed = scene.claim_turn()
    second = scene.send("two", WhenBusy.INTERRUPT)
    third = scene.send("three", WhenBusy.ROLLBACK)

    scene.end(claimed)
    scene.run_all()

    assert [scene.read(each).rolled_back for each in (first, second, third)] == [True, True, False]
    assert scene.read(first).interrupted_by == second
    assert scene.stored(in_view=True) == ["three", "to three"]
    assert scene.stored(in_view=False) == ["one", "I be"]
    assert scene.result(first).messages == ()


def test_tools_that_were_called_before_a_rollback_are_told_to_each_later_turn(scene: BusyScene) -> None:
    scene.send("one")
    claimed = scene.claim_turn()
    scene.call_tool(claimed)
    scene.end_tool(claimed)
    scene.send("two", WhenBusy.ROLLBACK)
    scene.end(claimed)

    second = scene.claim_turn()
    assert [message.content for message in second.window] == ["two"]
    (note,) = second.context
    assert "- look: it took effect" in note
    scene.end(second)
    scene.send("three")

    assert scene.claim_turn().context == (note,)


def test_tools_that_were_called_before_a_rollback_are_told_on_a_branch_behind_it(scene: BusyScene) -> None:
    scene.send("one")
    claimed = scene.claim_turn()
    scene.call_tool(claimed)
    scene.end_tool(claimed)
    scene.send("two", WhenBusy.ROLLBACK)
    scene.end(claimed)
    second = scene.claim_turn()
    scene.end(second)
    source, told = scene.thread, {}

    for at in (None, 0):
        scene.thread = new_id()
        scene.database.run(fork, tenant="default", thread_id=source, new_id=scene.thread, at=at)
        scene.send("and here")
        told[at] = scene.claim_turn().context

    assert told == {None: second.context, 0: ()}


def test_a_rollback_of_a_turn_whose_worker_died_takes_what_it_journalled_out_of_view(scene: BusyScene) -> None:
    scene.send("one")
    claimed = scene.claim_turn()
    scene.call_tool(claimed)
    scene.end_tool(claimed)
    dead, scene.worker = scene.worker, BusyScene(scene.database).worker
    scene.database.run(lambda c: c.exec_driver_sql(f"DELETE FROM workers WHERE id = '{_as_stored(scene, dead)}'"))

    scene.send("two", WhenBusy.ROLLBACK)
    scene.run_all()

    assert scene.stored(in_view=True) == ["two", "to two"]
    assert scene.stored(in_view=False) == ["one", "I look", "found"]


def _as_stored(scene: BusyScene, id_: str) -> str:
    return id_.replace("-", "") if scene.database.engine.dialect.name == "sqlite" else id_


# Merge


def test_messages_that_wait_to_be_merged_are_answered_by_the_first_of_them_each_with_its_id_and_key(
    scene: BusyScene,
) -> None:
    sent = [scene.send(text, WhenBusy.MERGE, idempotency_key=text) for text in ("one", "two", "three")]
    apart = scene.send("four")
    last = scene.send("five", WhenBusy.MERGE)

    claimed = scene.claim_turn()

    assert [message.content for message in claimed.window] == ["one", "two", "three"]
    assert [message.turn_id for message in claimed.window] == sent
    assert [scene.read(each).merged_into for each in sent] == [None, sent[0], sent[0]]
    assert [scene.read(each).merged_into for each in (apart, last)] == [None, None]
    assert scene.send("two", WhenBusy.MERGE, idempotency_key="two") == sent[1]
    scene.run_all()


def test_a_turn_answers_the_same_merged_messages_in_each_attempt(scene: BusyScene) -> None:
    scene.send("one", WhenBusy.MERGE)
    scene.send("two", WhenBusy.MERGE)
    first = scene.claim_turn()
    third = scene.send("three", WhenBusy.MERGE)

    again = scene.database.run(_claim_held, scene, first)

    assert [message.content for message in again.window] == ["one", "two"]
    assert scene.read(third).merged_into is None


def _claim_held(connection, scene, first):  # type: ignore[no-untyped-def]
    from store.turns import claims

    return claims.claim(connection, "default", scene.thread, scene.claimant, held=first.lease)


def test_only_so_many_messages_are_merged(scene: BusyScene) -> None:
    from dataclasses import replace

    from store.turns import claims

    for text in ("one", "two", "three", "four"):
        scene.send(text, WhenBusy.MERGE)

    few = replace(scene.claimant, merge_max=3)
    claimed = scene.database.run(claims.claim, tenant="default", thread_id=scene.thread, claimant=few)

    assert [message.content for message in claimed.window] == ["one", "two", "three"]


def test_messages_of_another_user_are_not_merged_since_tools_act_for_the_first(scene: BusyScene) -> None:
    scene.send("one", WhenBusy.MERGE, user="ada")
    other = scene.send("two", WhenBusy.MERGE, user="bob")

    claimed = scene.claim_turn()

    assert [message.content for message in claimed.window] == ["one"]
    assert scene.read(other).merged_into is None


def test_a_merge_window_holds_the_thread_up_until_it_is_over(scene: BusyScene) -> None:
    scene.send("one", WhenBusy.MERGE, merge_window_seconds=30)
    scene.send("two", WhenBusy.MERGE)
    assert not isinstance(scene.claim(), ClaimedTurn)

    scene.database.run(lambda c: c.exec_driver_sql("UPDATE turns SET retry_at = created_at WHERE retry_at IS NOT NULL"))

    assert [message.content for message in scene.claim_turn().window] == ["one", "two"]


def test_who_cancels_a_merged_message_cancels_the_turn_that_answers_it(scene: BusyScene) -> None:
    first, second = scene.send("one", WhenBusy.MERGE), scene.send("two", WhenBusy.MERGE)
    claimed = scene.claim_turn()

    outcome = scene.database.run(cancel.cancel_answering, second)

    assert (outcome.turn_id, outcome.state) == (first, TurnState.RUNNING)
    scene.end(claimed)
    assert scene.result(second).state is TurnState.CANCELLED


# Steer


def test_a_message_is_taken_once_and_its_place_in_the_history_is_where_it_was_read(scene: BusyScene) -> None:
    scene.send("one")
    claimed = scene.claim_turn()
    scene.call_tool(claimed)
    second = scene.send("two", WhenBusy.STEER)
    assert scene.end_tool(claimed)

    (step,) = scene.take(claimed, 2)
    # The answer to the commit was lost: the same again.
    assert scene.take(claimed, 2) == [step]
    assert scene.take(claimed, 3) == []

    scene.end(claimed)
    assert scene.stored() == ["one", "I look", "found", "two", "to one and two"]
    assert scene.read(second).merged_into == claimed.id
    assert not isinstance(scene.claim(), ClaimedTurn)


def test_what_was_told_to_a_turn_is_read_again_at_its_place_in_the_next_attempt(scene: BusyScene) -> None:
    scene.send("one")
    claimed = scene.claim_turn()
    scene.call_tool(claimed)
    scene.send("two", WhenBusy.STEER)
    scene.end_tool(claimed)
    scene.take(claimed, 2)

    resumed = scene.database.run(_claim_held, scene, claimed)

    assert [step.kind for _, step in sorted(resumed.steps.items())] == ["model", "tool", "input"]


def test_an_attempt_that_went_on_without_a_message_leaves_it_to_the_next_step(scene: BusyScene) -> None:
    from conversation.message import Usage
    from conversation.step import Step

    scene.send("one")
    claimed = scene.claim_turn()
    scene.call_tool(claimed)
    scene.end_tool(claimed)
    scene.record(claimed, Step(index=2, kind="model", name="m", state="started", usage=Usage(1, 1)))
    second = scene.send("two", WhenBusy.STEER)

    assert scene.take(claimed, 2) == []
    assert scene.read(second).state is TurnState.QUEUED


def test_a_message_of_another_user_is_a_turn_of_its_own(scene: BusyScene) -> None:
    scene.send("one", user="ada")
    claimed = scene.claim_turn()
    scene.send("two", WhenBusy.STEER, user="bob")
    assert scene.take(claimed, 0) == []


def test_a_stale_worker_takes_no_message(scene: BusyScene) -> None:
    from conversation.errors import LeaseLost

    scene.send("one")
    claimed = scene.claim_turn()
    scene.database.run(_claim_held, scene, claimed)
    second = scene.send("two", WhenBusy.STEER)

    with pytest.raises(LeaseLost):
        scene.database.run(steering.take, claimed.lease, claimed.id, 0, limit=20)

    assert scene.read(second).state is TurnState.QUEUED


# What keeps histories


def test_what_is_out_of_view_stays_so_in_an_import_of_its_export(scene: BusyScene) -> None:
    scene.send("one")
    claimed = scene.claim_turn()
    scene.send("two", WhenBusy.ROLLBACK)
    scene.end(claimed)
    scene.run_all()
    lines: list[dict[str, object]] = []
    export = Export("default", scene.thread)
    while (page := scene.database.run(read_next_page, export))[0]:
        lines += page[0]
        export = page[1]

    copy = BusyScene(scene.database)
    scene.database.run(import_thread, [json.dumps(line) for line in lines], thread_id=copy.thread)

    assert copy.stored(in_view=True) == ["two", "to two"]
    assert copy.stored(in_view=False) == ["one", "I be"]


def test_an_erased_users_message_is_erased_where_another_turn_answered_it(scene: BusyScene) -> None:
    scene.send("hello", user="owner")
    scene.run_all()
    scene.send("my secret", user="ann")
    claimed = scene.claim_turn()
    scene.send("my other secret", WhenBusy.STEER, user="ann")
    scene.take(claimed, 0)
    scene.settle(claimed, Completed(messages=tuple(_told(scene, claimed))))

    run_erasure(scene.database, MemoryBlobs(), Subject(tenant="default", user="ann"))

    assert not any("secret" in text for text in scene.stored())
    told = scene.database.run(journal.load, claimed.id)
    assert "secret" not in json.dumps([step.result for step in told.values()])


def _told(scene: BusyScene, claimed: ClaimedTurn) -> tuple[Message, ...]:
    return replay_transcript(claimed.id, scene.database.run(journal.load, claimed.id), {}).close()


# Asking again


def _ask_again(scene: BusyScene, turn_id: str) -> RequeueOutcome:
    ids = {"new_turn_id": new_id(), "new_message_id": new_id()}
    return scene.database.run(requeue, turn_id, **ids)


@pytest.mark.parametrize("goes_on", [False, True])
def test_who_asks_again_for_a_turn_asks_all_that_was_merged_into_it(scene: BusyScene, goes_on: bool) -> None:
    sent = [scene.send(text, WhenBusy.MERGE) for text in ("one", "two", "three")]
    claimed = scene.claim_turn()
    scene.settle(claimed, Failed(error=TurnError("model_error", "away")))
    if goes_on:
        scene.send("and then?")
        scene.run_all()

    again = _ask_again(scene, sent[0])

    assert (again.is_new, again.turn_id == sent[0]) == (goes_on, not goes_on)
    window = [message.content for message in scene.claim_turn().window]
    assert window[-3:] == ["one", "two", "three"]
    assert len(window) == (8 if goes_on else 3)


def test_who_asks_again_for_a_turn_asks_what_steered_it_as_well(scene: BusyScene) -> None:
    sent = scene.send("one")
    claimed = scene.claim_turn()
    scene.send("but two", WhenBusy.STEER)
    (step,) = scene.database.run(steering.take, claimed.lease, claimed.id, 0, limit=9)
    failed = Failed(error=TurnError("model_error", "away"), messages=(message_of(step),))
    scene.settle(claimed, failed)

    _ask_again(scene, sent)

    assert [message.content for message in scene.claim_turn().window] == ["one", "but two", "one", "but two"]
