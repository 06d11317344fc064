"""What policies come to: the strictest of each field, cut where a turn ends."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conversation.errors import InvalidInput
from conversation.history import check_next
from conversation.message import Message
from conversation.thread import Thread
from conversation.untrusted_text import delimit
from store.retention import policies
from store.retention.dry_run import build_report
from store.retention.policy import Policy, combine_policies
from store.threads import counts, forks, repository, search
from store.threads.export import Export
from store.turns import records
from tests.integration.store.scenes import TURN, Scene, settle

pytestmark = pytest.mark.soak

#: What a model reads of a scene's summary.
TOLD = delimit("Summary of the conversation before", "they talked")
SAID = [
    ({"idle_days": 30}, {"idle_days": 7}, {"idle_days": 7}),
    ({"idle_days": 7}, {"idle_days": 30}, {"idle_days": 7}),
    ({"max_age_days": 30}, {"idle_days": 7}, {"max_age_days": 30, "idle_days": 7}),
    ({"max_messages": 10}, {"max_messages": 0}, {"max_messages": 0}),
    ({"keep_last": 10}, {"keep_last": 3}, {"keep_last": 3}),
    ({"keep_summary": True}, {"keep_summary": False}, {"keep_summary": False}),
    ({"keep_summary": True}, {"idle_days": 1}, {"keep_summary": True, "idle_days": 1}),
    ({"archive": False}, {"archive": True}, {"archive": True}),
    ({"idle_days": 0.5}, {"idle_days": 1}, {"idle_days": 0.5}),
]


@pytest.mark.parametrize(("one", "other", "expected"), SAID)
def test_the_strictest_of_each_field_applies(
    one: dict[str, Any], other: dict[str, Any], expected: dict[str, Any]
) -> None:
    effective = combine_policies([Policy(**one), Policy(tenant="t", **other)])

    assert {name: value for name, (value, _) in effective.values_by_field.items()} == expected


def test_the_scope_that_decided_is_named() -> None:
    effective = combine_policies([Policy(idle_days=30), Policy(tenant="t", agent="a", idle_days=7)])

    assert effective.describe_field("idle_days") == {"field": "idle_days", "value": 7, "scope": "agent"}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"idle_days": -1}, "idle_days"),
        # In the settings it means never.
        ({"idle_days": 0}, "idle_days"),
        ({"max_age_days": 0}, "max_age_days"),
        ({"max_messages": 2**31}, "max_messages"),
        ({}, "policy"),
        ({"thread_id": "t", "idle_days": 1}, "thread_id"),
        ({"tenant": "t", "agent": "a", "thread_id": "x", "idle_days": 1}, "thread_id"),
        ({"tenant": "no/tenant", "idle_days": 1}, "tenant"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Policy(**values).check()

    assert refused.value.field == field


def test_a_policy_is_set_replaced_listed_and_removed(scene: Scene) -> None:
    scene.policy(tenant="default", idle_days=30, keep_last=5)
    scene.policy(tenant="default", idle_days=7)
    scene.policy(tenant="default", thread_id="t", max_messages=10)

    stored = scene.database.run(policies.list_policies)
    assert [(policy.scope, policy.idle_days, policy.keep_last) for policy in stored] == [
        ("tenant", 7, None),
        ("thread", None, None),
    ]
    assert scene.database.run(lambda c: policies.remove(c, tenant="default"))
    assert not scene.database.run(lambda c: policies.remove(c, tenant="default"))
    assert [policy.scope for policy in scene.database.run(policies.list_policies)] == ["thread"]


def test_an_idle_thread_goes_with_all_that_belongs_to_it(scene: Scene) -> None:
    scene.answered("old", 3, idempotency_key=None)
    scene.answered("new", 1)
    scene.age(40, "old")
    scene.policy(tenant="default", idle_days=30)

    done = scene.run()

    assert (done.threads, done.messages, done.turns) == (1, 3 * TURN, 3)
    assert scene.row("old") is None
    assert len(scene.contents("new")) == TURN
    left = scene.counts()
    assert (left["turns"], left["steps"], left["messages"], left["pending_deletions"]) == (1, 1, TURN, 0)


def test_messages_past_their_age_go_and_the_thread_stays(scene: Scene) -> None:
    scene.answered(turns_=5)
    scene.age(40, to_seq=2 * TURN + 2, moves_thread=False)
    scene.policy(tenant="default", max_age_days=30)

    done = scene.run()

    # Half of the third turn is too old: it stays whole.
    assert done.messages == 2 * TURN
    assert scene.contents()[0] == "question 3"
    assert (scene.row().history_starts_after, scene.row().uncovered_messages) == (2 * TURN, 3 * TURN)
    assert scene.count("turns") == 3
    assert_well_formed(scene)


@pytest.mark.parametrize(("most", "left"), [(20, 5), (19, 4), (16, 4), (13, 3), (4, 1), (3, 1), (1, 1), (0, 0)])
def test_the_newest_messages_stay_as_whole_turns(scene: Scene, most: int, left: int) -> None:
    scene.answered(turns_=5)
    scene.policy(tenant="default", max_messages=most)

    scene.run()

    assert len(scene.contents()) == left * TURN
    assert scene.row() is not None
    assert_well_formed(scene)


@pytest.mark.parametrize(("last", "left"), [(1, 1), (4, 1), (5, 2), (20, 5), (0, 0)])
def test_the_last_ones_stay_however_old_they_are(scene: Scene, last: int, left: int) -> None:
    scene.answered(turns_=5)
    scene.age(40)
    scene.policy(tenant="default", max_age_days=30, keep_last=last)

    scene.run()

    assert len(scene.contents()) == left * TURN
    assert scene.run().messages == 0


def test_the_summary_stays_and_nothing_goes_that_it_does_not_cover(scene: Scene) -> None:
    scene.answered(turns_=5)
    scene.summary(keep=2 * TURN)
    scene.age(40)
    scene.policy(tenant="default", max_age_days=30, keep_summary=True)

    scene.run()

    assert scene.contents()[0] == "question 4"
    row = scene.row()
    assert (row.history_starts_after, row.summary_id is not None, row.uncovered_messages) == (12, True, 8)
    assert scene.claimed().context == (TOLD,)


def test_system_messages_below_the_cut_stay_as_context_where_the_summary_stays(scene: Scene) -> None:
    """No summary tells of them, and a model goes on reading them."""
    cut_behind_a_summary(scene)

    assert scene.contents()[0] == "question 3"
    assert scene.claimed().context == ("Answer in French.", TOLD)


def cut_behind_a_summary(scene: Scene) -> None:
    """A system message, and turns around it, of which a policy kept the summary alone."""
    scene.answered(turns_=1)
    scene.say_system("Answer in French.")
    scene.answered(turns_=4)
    scene.summary(keep=2 * TURN)
    scene.policy(tenant="default", max_messages=2 * TURN, keep_summary=True)
    scene.run()


def test_what_was_kept_with_a_summary_goes_when_the_policy_keeps_none_any_more(scene: Scene) -> None:
    cut_behind_a_summary(scene)
    assert (scene.count("summaries"), scene.count("thread_context")) == (1, 1)

    scene.policy(tenant="default", max_messages=TURN)
    scene.run()

    assert (scene.count("summaries"), scene.count("thread_context")) == (0, 0)


def test_a_fork_brings_the_summary_of_what_was_cut(scene: Scene) -> None:
    scene.answered(turns_=5)
    scene.summary(keep=2 * TURN)
    scene.policy(tenant="default", max_messages=2 * TURN, keep_summary=True)
    scene.run()

    scene.database.run(lambda c: forks.fork(c, "default", "t", "copy"))

    row = scene.row("copy")
    assert (row.history_starts_after, row.uncovered_messages) == (3 * TURN, 2 * TURN)
    assert scene.claimed(thread="copy").context == (TOLD,)


def test_a_fork_makes_no_message_younger(scene: Scene) -> None:
    scene.answered(turns_=3)
    scene.age(40)
    scene.database.run(lambda c: forks.fork(c, "default", "t", "copy"))
    scene.answered("copy", 1)
    scene.policy(tenant="default", max_age_days=30)

    scene.run()

    assert scene.contents("copy")[0] == "question 1"
    assert len(scene.contents("copy")) == TURN


def test_an_old_message_that_is_saved_today_is_as_old_as_it_says(scene: Scene) -> None:
    old = Message(role="user", content="long ago", created_at=datetime.now(UTC) - timedelta(days=40))
    scene.database.run(repository.ensure_thread, tenant="default", thread_id="t")
    scene.say(old)
    scene.answered(turns_=1)
    scene.policy(tenant="default", max_age_days=30)

    scene.run()

    assert scene.contents()[0] == "question 1"


def test_an_old_message_that_is_saved_after_a_cut_is_as_old_as_it_says(scene: Scene) -> None:
    scene.answered(turns_=1)
    scene.age(60, moves_thread=False)
    scene.policy(tenant="default", max_age_days=30)
    scene.run()
    assert scene.contents() == []
    scene.say(Message(role="user", content="found", created_at=datetime.now(UTC) - timedelta(days=40)))

    scene.run()

    assert scene.contents() == []


def test_a_message_from_the_future_keeps_nothing(scene: Scene) -> None:
    """Whoever sent it had a clock that was wrong."""
    scene.answered(turns_=2)
    scene.say(Message(role="user", content="tomorrow", created_at=datetime.now(UTC) + timedelta(days=9000)))
    scene.answered(turns_=1)
    scene.age(40, to_seq=2 * TURN, moves_thread=False)
    scene.age(40, after_seq=2 * TURN + 1, moves_thread=False)
    scene.answered(turns_=1)
    scene.policy(tenant="default", max_age_days=30)

    scene.run()

    assert scene.contents()[0] == "question 1"
    assert len(scene.contents()) == TURN


def test_a_message_from_the_future_goes_when_its_thread_is_past_its_age(scene: Scene) -> None:
    scene.answered(turns_=1)
    scene.say(Message(role="user", content="tomorrow", created_at=datetime.now(UTC) + timedelta(days=9000)))
    scene.age(40, to_seq=TURN)
    scene.policy(tenant="default", max_age_days=30)

    scene.run()

    assert scene.contents() == []


def test_without_a_summary_a_policy_that_keeps_it_takes_nothing(scene: Scene) -> None:
    scene.answered(turns_=5)
    scene.age(40)
    scene.policy(tenant="default", max_age_days=30, keep_summary=True)

    assert scene.run().messages == 0
    scene.summary(keep=2 * TURN)
    assert scene.run().messages == 3 * TURN


def test_a_summary_of_what_is_deleted_goes_with_it(scene: Scene) -> None:
    scene.answered(turns_=5)
    scene.summary(keep=2 * TURN)
    scene.policy(tenant="default", max_messages=3 * TURN)

    scene.run()

    assert scene.contents()[0] == "question 3"
    assert (scene.count("summaries"), scene.row().summary_id) == (0, None)
    assert scene.row().uncovered_messages == 3 * TURN


def test_agents_and_threads_have_policies_of_their_own(scene: Scene) -> None:
    for thread, agent in (("t1", "a"), ("t2", "b"), ("t3", "b")):
        scene.answered(thread, 3)
        scene.change(thread, agent=agent)
    scene.policy(tenant="default", agent="b", max_messages=2 * TURN)
    scene.policy(tenant="default", thread_id="t3", max_messages=TURN)

    scene.run()

    assert [len(scene.contents(thread)) for thread in ("t1", "t2", "t3")] == [3 * TURN, 2 * TURN, TURN]


def test_another_tenants_threads_are_left_alone(scene: Scene) -> None:
    scene.answered("mine", 2)
    scene.answered("theirs", 2, tenant="acme")
    scene.policy(tenant="default", max_messages=0)

    scene.run()

    assert scene.count("messages") == 2 * TURN
    assert scene.row("theirs").history_starts_after == 0


def test_settings_are_the_installations_policy_and_show_in_the_list(scene: Scene) -> None:
    scene.answered(turns_=3)

    assert scene.run(retention_max_messages=TURN).messages == 2 * TURN
    assert [policy.scope for policy in scene.database.run(policies.list_policies)] == ["installation"]
    assert scene.database.run(policies.list_policies)[0].max_messages == TURN


def test_a_report_by_other_settings_changes_nothing(scene: Scene) -> None:
    scene.answered(turns_=3)
    scene.age(40)
    scene.run(retention_idle_days=100)
    before = scene.counts()

    what_if = scene.settings.model_copy(update={"retention_idle_days": 30})
    found = build_report(scene.database, what_if)

    assert [(share.threads, share.messages) for share in found.due] == [(1, 3 * TURN)]
    assert not found.is_complete
    assert scene.counts() == before
    assert [policy.idle_days for policy in scene.database.run(policies.list_policies)] == [100]
    assert build_report(scene.database, scene.settings.model_copy(update={"retention_idle_days": 100})).is_complete


def test_a_looser_policy_that_was_tightened_is_applied_anew(scene: Scene) -> None:
    scene.answered(turns_=5)
    scene.age(40)
    scene.policy(tenant="default", max_age_days=30, keep_last=3 * TURN)
    scene.run()
    scene.run()
    assert scene.row().retention_checked_at is not None

    scene.policy(tenant="default", max_age_days=30, keep_last=TURN)

    assert scene.run().messages == 2 * TURN


def test_a_turn_that_library_code_wrote_into_is_not_parted(scene: Scene) -> None:
    scene.answered(turns_=1)
    claimed = scene.claimed("asked")
    with_note = Thread("t", messages=[Message(role="user", content="by the way")])
    scene.database.run(lambda c: repository.save(c, with_note, new=with_note.new_messages))
    scene.database.run(settle(claimed, 2))
    scene.policy(tenant="default", max_messages=TURN)

    scene.run()

    assert scene.contents()[0] == "asked"


def test_nobody_reads_below_the_cut(scene: Scene) -> None:
    """Before anything is deleted: wherever messages are read."""
    scene.answered(turns_=3)
    scene.summary(keep=TURN)
    scene.policy(tenant="default", max_messages=TURN)
    assert scene.cut() == "cut"
    assert len(scene.seqs()) == 3 * TURN

    run = scene.database.run
    assert scene.contents()[0] == "question 3"
    assert len(run(lambda c: repository.load(c, "default", "t", last=99)).messages) == TURN
    assert run(lambda c: search.search_messages(c, "question")) != []
    assert {hit.seq for hit in run(lambda c: search.search_messages(c, "question"))} == {9}
    assert run(counts.stats).messages == TURN
    export = Export("default", "t")
    lines = [line for page in iter(lambda: run(export.read_next_page), []) for line in page]
    assert [line["seq"] for line in lines if line["kind"] == "message"] == [9, 10, 11, 12]
    assert [line for line in lines if line["kind"] == "summary"] == []
    assert len(run(lambda c: forks.fork(c, "default", "t", "copy")).messages) == TURN
    claimed = scene.claimed()
    assert (claimed.window[0].content, claimed.context) == ("question 3", ())


def test_the_replies_of_a_turn_below_the_cut_are_not_read(scene: Scene) -> None:
    scene.answered(turns_=2)
    scene.policy(tenant="default", max_messages=TURN)
    first = scene.thread().messages[0].turn_id
    assert first is not None
    scene.cut()

    assert scene.database.run(lambda c: records.read_replies(c, first)) == ()


def assert_well_formed(scene: Scene, thread: str = "t") -> None:
    history: list[Message] = []
    for message in scene.thread(thread).messages:
        check_next(history, message)
        history.append(message)
    assert not history or history[0].role == "user"
