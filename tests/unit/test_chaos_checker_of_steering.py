"""The checker of the chaos suite catches what goes wrong between two messages, a person and a turn, and branches."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.chaos.finding import Promise
from tests.chaos.picture import Accepted, Handle, Picture
from tests.chaos.receiver import Receipt
from tests.chaos.sent import Decided, Sent
from tests.unit.chaos_rows import (
    START,
    MadeUpRun,
    Row,
    audited,
    call,
    delivery,
    effect,
    id_of,
    pending,
    ref_of,
    said,
    step,
    thread,
    turn,
)

#: Turns by what becomes of them.
FIRST, STEERS, UNDONE, UNDOES, STOPPED, STOPS, MERGES, MERGED = range(1, 9)
HASTY, TAKES_UP, CALLS, CALLED, AGAIN, DAILY, BY_HAND = range(9, 16)
MAIN, CHILD, BRANCH, SCHEDULED = 1, 2, 3, 4
SCHEDULE = UUID(int=500)
HAS_MESSAGE = (FIRST, STEERS, UNDONE, UNDOES, STOPPED, STOPS, MERGES, MERGED, HASTY, CALLS)
TOOLS = {FIRST: ("pay_out",), UNDOES: ("book_pickup",), HASTY: ("close_account",), CALLS: ("research",)}
AGENTS = {HASTY: "hasty_desk"}
POLICIES = {
    STEERS: "steer", UNDOES: "rollback", STOPS: "interrupt", MERGES: "merge", MERGED: "merge",
}  # fmt: skip


class Run(MadeUpRun):
    """One with these turns."""

    def message(self, seq: int, key: int = MAIN) -> Row:
        return next(m for m in self.picture.messages if (m["thread_key"], m["seq"]) == (key, seq))

    def call_of(self, number: int) -> Row:
        return next(c for c in self.picture.pending_calls if c["turn_id"] == UUID(id_of(number)))


def _turns() -> Sequence[Row]:
    return (
        turn(FIRST),
        turn(STEERS, state="merged", merged_into=UUID(id_of(FIRST)), when_busy="steer"),
        turn(UNDONE, state="cancelled", rolled_back=True, interrupted_by=UUID(id_of(UNDOES))),
        turn(UNDOES, when_busy="rollback"),
        turn(STOPPED, state="cancelled", interrupted_by=UUID(id_of(STOPS))),
        turn(STOPS, when_busy="interrupt"),
        turn(MERGES, when_busy="merge"),
        turn(MERGED, state="merged", merged_into=UUID(id_of(MERGES)), when_busy="merge"),
        turn(HASTY, agent="hasty_desk"),
        turn(TAKES_UP, agent="hasty_desk", requeued_from=UUID(id_of(HASTY))),
        turn(CALLS),
        turn(CALLED, CHILD, parent_turn_id=UUID(id_of(CALLS)), parent_call_id="c1"),
        turn(AGAIN, BRANCH),
        turn(DAILY, SCHEDULED, schedule_id=SCHEDULE),
        turn(BY_HAND, SCHEDULED, schedule_id=SCHEDULE),
    )


def _block(turn_number: int, seq: int, name: str, result: Any) -> list[Row]:
    """A question, a call, its result and the answer, from a place on."""
    ref = ref_of(turn_number)
    return [
        said(MAIN, seq, turn_number, "user", f"Ticket {ref}"),
        said(MAIN, seq + 1, turn_number, "assistant", tool_calls=[call("c1", name, ref)]),
        said(MAIN, seq + 2, turn_number, "tool", json.dumps(result), tool_call_id="c1"),
        said(MAIN, seq + 3, turn_number, "assistant", f"Answered: {ref}"),
    ]


def _messages() -> list[Row]:
    first, not_decided = _block(FIRST, 1, "pay_out", "paid"), {"error": {"type": "NotDecided"}}
    # What steers is read behind the tool's result.
    first[3:] = [
        said(MAIN, 4, STEERS, "user", f"Ticket {ref_of(STEERS)}"),
        said(MAIN, 5, FIRST, "assistant", f"Answered: {ref_of(FIRST)}, {ref_of(STEERS)}"),
    ]
    return [
        *first,
        said(MAIN, 6, UNDONE, "user", f"Ticket {ref_of(UNDONE)}", rolled_back=True),
        said(MAIN, 7, UNDONE, "assistant", "Answ", state="partial", rolled_back=True),
        *_block(UNDOES, 8, "book_pickup", "monday"),
        said(MAIN, 12, STOPPED, "user", f"Ticket {ref_of(STOPPED)}"),
        said(MAIN, 13, STOPS, "user", f"Ticket {ref_of(STOPS)}"),
        said(MAIN, 14, STOPS, "assistant", f"Answered: {ref_of(STOPPED)}, {ref_of(STOPS)}"),
        said(MAIN, 15, MERGES, "user", f"Ticket {ref_of(MERGES)}"),
        said(MAIN, 16, MERGED, "user", f"Ticket {ref_of(MERGED)}"),
        said(MAIN, 17, MERGES, "assistant", f"Answered: {ref_of(MERGES)}, {ref_of(MERGED)}"),
        *_block(HASTY, 18, "close_account", not_decided),
        said(MAIN, 22, TAKES_UP, "assistant", tool_calls=[call("c1", "close_account", ref_of(HASTY))]),
        said(MAIN, 23, TAKES_UP, "tool", '"closed"', tool_call_id="c1"),
        said(MAIN, 24, TAKES_UP, "assistant", "Answered: nothing new"),
        *_block(CALLS, 25, "research", "Answered: AS-00011"),
        said(CHILD, 1, CALLED, "user", "Task AS-00011"),
        said(CHILD, 2, CALLED, "assistant", "Answered: AS-00011"),
        said(BRANCH, 17, AGAIN, "assistant", f"Answered: {ref_of(MERGED)}"),
        said(SCHEDULED, 1, DAILY, "user", "Reminder SC-00001"),
        said(SCHEDULED, 2, DAILY, "assistant", "Answered: SC-00001"),
        said(SCHEDULED, 3, BY_HAND, "user", "Reminder SC-00001"),
        said(SCHEDULED, 4, BY_HAND, "assistant", "Answered: SC-00001"),
    ]


def _pending_calls() -> list[Row]:
    taken_up = pending(HASTY, 1, "close_account", "edit", json.dumps({"ref": ref_of(HASTY), "details": {"changed": 1}}))
    return [
        pending(FIRST, 1, "pay_out", "approve"),
        pending(UNDOES, 1, "book_pickup", "answer", "monday", kind="question"),
        taken_up,
        taken_up | {"turn_id": UUID(id_of(TAKES_UP))},
        pending(CALLS, 1, "research", "result", "Answered: AS-00011", kind="child"),
    ]


def _effects() -> list[Row]:
    ref = ref_of(UNDOES)
    answered = {"ref": ref, "details": {}, "answer": "monday"}
    changed = {"ref": ref_of(HASTY), "details": {"changed": 1}}
    return [
        effect(FIRST, 1, "pay_out", ref_of(FIRST)),
        effect(UNDOES, 1, "book_pickup", ref, arguments=answered),
        effect(TAKES_UP, 1, "close_account", ref_of(HASTY), arguments=changed),
    ]


@pytest.fixture
def run() -> Run:
    """One thread on which each policy met another message, a branch of it, and what was waited for."""
    turns = {str(row["id"]): row for row in _turns()}
    ended = [row for row in turns.values() if row["state"] != "merged"]
    deliveries = [delivery(number, row) for number, row in enumerate(ended)]
    switch = delivery(99, turns[id_of(AGAIN)], "thread.switched") | {"thread_key": MAIN, "turn_id": None}
    steps = [
        step(FIRST, 1, "pay_out"), step(UNDOES, 1, "book_pickup"), step(HASTY, 1, "close_account", "failed"),
        step(TAKES_UP, 1, "close_account"), step(CALLS, 1, "research"),
    ]  # fmt: skip
    messages, threads = _messages(), [thread(MAIN), thread(CHILD), thread(SCHEDULED)]
    # It begins behind the last question before it.
    branch = thread(BRANCH, root_key=MAIN, shared_to_seq=16, lineage=[[MAIN, 16, False]], branch_origin="regenerate")
    picture = Picture(
        turns=turns, messages=messages, steps=steps, effects=_effects(), threads=[*threads, branch], inputs=[],
        attachments=[], pending_calls=_pending_calls(), deliveries=[*deliveries, switch],
        schedules=[{
            "id": SCHEDULE, "cron": "* * * * *", "state": "paused", "created_at": START,
            "last_due_at": START + timedelta(seconds=30),
        }],
        audit=[audited(FIRST, 1), audited(UNDOES, 1), audited(HASTY, 1)],
        views={MAIN: [m["id"] for m in messages if m["thread_key"] == MAIN and not m["rolled_back"]]},
        handles={},
    )  # fmt: skip
    handles = {turn_id: _handle_of(picture, turn_id) for turn_id in turns}
    return Run(replace(picture, handles=handles), _sent(picture))


def _handle_of(picture: Picture, turn_id: str) -> Handle:
    answering = picture.answering(turn_id)
    texts = [m["content"] for m in picture.said.get(answering, ()) if m["role"] == "assistant"]
    return Handle(picture.turns[answering]["state"], texts[-1] if texts else "")


def _sent(picture: Picture) -> Sent:
    accepted = {
        ref_of(number): Accepted(
            id_of(number), TOOLS.get(number, ()), when_busy=POLICIES.get(number), agent=AGENTS.get(number)
        )
        for number in HAS_MESSAGE
    }
    changed = picture.pending_calls[2]["value"]["value"]
    return Sent(
        accepted={**accepted, ref_of(AGAIN): Accepted(id_of(AGAIN), has_message=False)},
        decided=[
            Decided(id_of(FIRST), "c1", "deny", None, "bob", answer="AlreadyDecided"),
            Decided(id_of(FIRST), "c1", "approve", None, "ada"),
            Decided(id_of(UNDOES), "c1", "answer", "monday", "ada"),
            Decided(id_of(HASTY), "c1", "edit", changed, "ada"),
        ],
        receipts=[Receipt(str(row["id"]), "{}") for row in picture.deliveries],
        schedules=[str(SCHEDULE)],
        by_hand=[id_of(BY_HAND), id_of(BY_HAND)],
    )


def test_what_is_whole_breaks_no_promise(run: Run) -> None:
    assert run.findings() == []


def leave_waiting(run: Run) -> None:
    run.turn(FIRST)["state"] = "waiting"


def cancel_for_nobody(run: Run) -> None:
    run.turn(STOPPED)["interrupted_by"] = None


def cancel_for_an_earlier_one(run: Run) -> None:
    run.turn(STOPPED)["interrupted_by"] = UUID(id_of(UNDOES))


def expire_what_was_decided(run: Run) -> None:
    run.turn(FIRST).update(state="failed", error_kind="waiting_expired")


def answer_with_a_merged_one(run: Run) -> None:
    run.turn(MERGED)["merged_into"] = UUID(id_of(STEERS))


def merge_what_was_not_sent_so(run: Run) -> None:
    run.turn(MERGES)["when_busy"] = None


def merge_into_another_agents(run: Run) -> None:
    run.turn(MERGES)["agent"] = "hasty_desk"


def forget_policy(run: Run) -> None:
    run.turn(STEERS)["when_busy"] = "merge"


def accept_beside_another(run: Run) -> None:
    run.turn(STOPS)["when_busy"] = "reject"
    run.turn(STOPPED)["finished_at"] += timedelta(minutes=5)


def complete_what_was_stopped(run: Run) -> None:
    run.turn(STOPPED).update(state="completed", finished_at=run.turn(STOPS)["finished_at"])


def lead_to_another_answer(run: Run) -> None:
    run.picture.handles[id_of(MERGED)] = Handle("completed", "Answered: FH-00007")  # type: ignore[index] # its own


def lead_nowhere(run: Run) -> None:
    run.picture.handles[id_of(STEERS)] = Handle("merged", "")  # type: ignore[index] # its own


def steer_twice(run: Run) -> None:
    run.picture.messages.append(said(MAIN, 29, STEERS, "user", f"Ticket {ref_of(STEERS)}"))


def lose_what_steers(run: Run) -> None:
    run.message(4)["turn_id"] = UUID(id_of(FIRST))


def swap_merged(run: Run) -> None:
    run.message(15)["turn_id"], run.message(16)["turn_id"] = run.message(16)["turn_id"], run.message(15)["turn_id"]


def show_what_was_rolled_back(run: Run) -> None:
    run.picture.views[MAIN].insert(5, "m1-6")  # type: ignore[attr-defined] # its own list


def keep_in_view(run: Run) -> None:
    run.message(7)["rolled_back"] = False


def hide_what_was_not(run: Run) -> None:
    run.message(12)["rolled_back"] = True


def lose_what_was_rolled_back(run: Run) -> None:
    run.message(6)["role"] = "assistant"


def approve_by_two(run: Run) -> None:
    _say(run, 0, Decided(id_of(FIRST), "c1", "deny", None, "bob"))


def store_another_decision(run: Run) -> None:
    run.call_of(FIRST).update(decision="deny")


def forget_decision(run: Run) -> None:
    run.call_of(UNDOES).update(decision="closed")


def audit_twice(run: Run) -> None:
    run.picture.audit.append(audited(FIRST, 1))


def approve_other_arguments(run: Run) -> None:
    _say(run, 1, Decided(id_of(FIRST), "c1", "approve", None, "ada", digest="0" * 64))


def change_after_approval(run: Run) -> None:
    run.call_of(FIRST)["arguments"] = '{"ref": "FH-00001", "details": {"more": 1}}'


def run_with_more(run: Run) -> None:
    run.picture.effects[0]["arguments"]["details"] = {"more": 1}


def run_as_before_the_change(run: Run) -> None:
    run.picture.effects[2]["arguments"]["details"] = {}


def run_with_another_answer(run: Run) -> None:
    run.picture.effects[1]["arguments"]["answer"] = "friday"


def run_unapproved(run: Run) -> None:
    run.call_of(FIRST).update(decision="closed")


def run_twice(run: Run) -> None:
    run.picture.effects.append(run.picture.effects[0])


def run_in_both_turns(run: Run) -> None:
    run.picture.effects.append(effect(HASTY, 1, "close_account", ref_of(HASTY)))


def take_up_twice(run: Run) -> None:
    other = turn(17, agent="hasty_desk", requeued_from=UUID(id_of(HASTY)))
    run.picture.turns[id_of(17)] = other  # type: ignore[index] # its own
    run.picture.pending_calls.append(run.call_of(TAKES_UP) | {"turn_id": UUID(id_of(17))})


def take_up_never(run: Run) -> None:
    del run.picture.pending_calls[3]


def leave_open(run: Run) -> None:
    run.call_of(FIRST)["decision"] = None


def lose_child(run: Run) -> None:
    run.turn(CALLED)["parent_call_id"] = "c2"


def ask_child_twice(run: Run) -> None:
    run.turn(AGAIN).update(parent_turn_id=UUID(id_of(CALLS)), parent_call_id="c1")


def tell_another_answer(run: Run) -> None:
    run.message(27)["content"] = '"Answered: AS-00012"'


def wait_for_child(run: Run) -> None:
    run.call_of(CALLS)["decision"] = None


def lose_event(run: Run) -> None:
    run.sent = replace(run.sent, receipts=run.sent.receipts[1:])


def leave_untold(run: Run) -> None:
    run.picture.deliveries[0]["state"] = "dead"


def tell_backwards(run: Run) -> None:
    run.sent = replace(run.sent, receipts=run.sent.receipts[::-1])


def tell_in_other_words(run: Run) -> None:
    first = replace(run.sent.receipts[0], body="{ }")
    run.sent = replace(run.sent, receipts=[*run.sent.receipts, first])


def write_no_event(run: Run) -> None:
    del run.picture.deliveries[0]


def write_event_twice(run: Run) -> None:
    run.picture.deliveries.append(run.picture.deliveries[0] | {"id": UUID(int=2000)})


def tell_no_switch(run: Run) -> None:
    del run.picture.deliveries[-1]


def forge(run: Run) -> None:
    run.sent = replace(run.sent, forged=1)


def skip_a_time(run: Run) -> None:
    run.picture.schedules[0]["last_due_at"] += timedelta(minutes=1)


def run_by_hand_twice(run: Run) -> None:
    run.sent = replace(run.sent, by_hand=[id_of(BY_HAND), id_of(DAILY)])


def lose_first_of_branch(run: Run) -> None:
    run.message(17, BRANCH)["seq"] = 18


def part_call_by_branch(run: Run) -> None:
    run.picture.threads[-1].update(shared_to_seq=9, lineage=[[MAIN, 9, False]])
    run.message(17, BRANCH)["seq"] = 10


def carry_out_again_on_branch(run: Run) -> None:
    run.picture.steps.append(step(AGAIN, 1, "pay_out"))
    run.picture.effects.append(effect(AGAIN, 1, "pay_out", ref_of(FIRST)))


def act_for_what_is_out_of_view(run: Run) -> None:
    run.picture.steps.append(step(UNDOES, 2, "refund"))
    run.picture.effects.append(effect(UNDOES, 2, "refund", ref_of(UNDONE)))


def _say(run: Run, place: int, decided: Decided) -> None:
    decisions = list(run.sent.decided)
    decisions[place] = decided
    run.sent = replace(run.sent, decided=decisions)


DAMAGES: Sequence[tuple[Callable[[Run], None], Promise]] = [
    (leave_waiting, Promise.ANSWERED),
    (cancel_for_nobody, Promise.ANSWERED),
    (cancel_for_an_earlier_one, Promise.ANSWERED),
    (expire_what_was_decided, Promise.ANSWERED),
    (answer_with_a_merged_one, Promise.ANSWERED),
    (merge_what_was_not_sent_so, Promise.POLICY),
    (merge_into_another_agents, Promise.POLICY),
    (forget_policy, Promise.POLICY),
    (accept_beside_another, Promise.POLICY),
    (complete_what_was_stopped, Promise.POLICY),
    (lead_to_another_answer, Promise.HANDLE),
    (lead_nowhere, Promise.HANDLE),
    (steer_twice, Promise.ONCE),
    (lose_what_steers, Promise.ONCE),
    (swap_merged, Promise.ORDER),
    (show_what_was_rolled_back, Promise.OUT_OF_VIEW),
    (keep_in_view, Promise.OUT_OF_VIEW),
    (hide_what_was_not, Promise.OUT_OF_VIEW),
    (lose_what_was_rolled_back, Promise.OUT_OF_VIEW),
    (approve_by_two, Promise.DECIDED_ONCE),
    (store_another_decision, Promise.DECIDED_ONCE),
    (forget_decision, Promise.DECIDED_ONCE),
    (audit_twice, Promise.DECIDED_ONCE),
    (take_up_twice, Promise.DECIDED_ONCE),
    (take_up_never, Promise.DECIDED_ONCE),
    (approve_other_arguments, Promise.APPROVED),
    (change_after_approval, Promise.APPROVED),
    (run_with_more, Promise.APPROVED),
    (run_as_before_the_change, Promise.APPROVED),
    (run_with_another_answer, Promise.APPROVED),
    (run_unapproved, Promise.APPROVED),
    (run_twice, Promise.EFFECTS_ONCE),
    (run_in_both_turns, Promise.EFFECTS_ONCE),
    (carry_out_again_on_branch, Promise.EFFECTS_ONCE),
    (act_for_what_is_out_of_view, Promise.ACCOUNTED),
    (leave_open, Promise.NOT_WAITING),
    (wait_for_child, Promise.NOT_WAITING),
    (lose_child, Promise.CHILD),
    (ask_child_twice, Promise.CHILD),
    (tell_another_answer, Promise.CHILD),
    (lose_event, Promise.TOLD),
    (leave_untold, Promise.TOLD),
    (tell_backwards, Promise.TOLD),
    (tell_in_other_words, Promise.TOLD),
    (write_no_event, Promise.TOLD),
    (write_event_twice, Promise.TOLD),
    (tell_no_switch, Promise.TOLD),
    (forge, Promise.TOLD),
    (skip_a_time, Promise.ON_TIME),
    (run_by_hand_twice, Promise.ON_TIME),
    (lose_first_of_branch, Promise.NO_HOLES),
    (part_call_by_branch, Promise.WELL_FORMED),
]


@pytest.mark.parametrize(("damage", "promise"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damage_is_named(run: Run, damage: Callable[[Run], None], promise: Promise) -> None:
    damage(run)

    assert promise in run.broken()
