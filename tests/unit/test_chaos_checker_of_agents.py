"""The checker of the chaos suite catches what goes wrong with agents in one turn, hand-overs and cancels."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.chaos.finding import Promise
from tests.chaos.picture import Accepted, Handle, Picture
from tests.chaos.sent import Cancelled, Decided, HandedOver, Sent
from tests.unit.chaos_rows import (
    START,
    MadeUpRun,
    Row,
    arguments_of,
    audited,
    call,
    effect,
    id_of,
    pending,
    ref_of,
    said,
    step,
    thread,
    turn,
)

#: Turns by what becomes of them, each sent a minute after the one before.
ASKS, HANDS_OVER, FOLLOWS, NAMES_ONE, GIVEN_BACK, STOPPED, NEVER_BEGAN, TOO_LATE = range(1, 9)
NAMES_NOBODY = (ASKS, HANDS_OVER, FOLLOWS, GIVEN_BACK)
TOOLS = {ASKS: ("clerk",)}
HAND_OVER = "hand_over_to_hasty_desk"
LETTER, REPORT, CONTRACT = "send_letter", "file_report", "sign_contract"


class Run(MadeUpRun):
    """One with these turns."""

    def step(self, number: int, index: int) -> Row:
        return next(s for s in self.picture.steps if (s["turn_id"], s["index"]) == (UUID(id_of(number)), index))


def _turns() -> Sequence[Row]:
    stopped: dict[str, Any] = {
        "state": "cancelled", "cancel_requested_at": START, "cancel_requested_by": "cora",
    }  # fmt: skip
    return (
        turn(ASKS),
        turn(HANDS_OVER),
        turn(FOLLOWS, agent="hasty_desk"),
        turn(NAMES_ONE),
        turn(GIVEN_BACK),
        turn(STOPPED, **stopped),
        turn(NEVER_BEGAN, **stopped, attempt=0),
        turn(TOO_LATE),
    )


def _messages() -> list[Row]:
    messages = [
        said(1, 1, ASKS, "user", f"Ticket {ref_of(ASKS)}"),
        said(1, 2, ASKS, "assistant", tool_calls=[call("c1", "clerk", "AS-00001")]),
        said(1, 3, ASKS, "tool", '"Answered: AS-00001. sent / filed"', tool_call_id="c1"),
        said(1, 4, ASKS, "assistant", f"Answered: {ref_of(ASKS)}"),
        said(1, 5, HANDS_OVER, "user", f"Ticket {ref_of(HANDS_OVER)}"),
        said(1, 6, HANDS_OVER, "assistant", tool_calls=[call("c1", HAND_OVER, "") | {"arguments": "{}"}]),
        said(1, 7, HANDS_OVER, "tool", '{"handed_over_to": "hasty_desk"}', tool_call_id="c1"),
        said(1, 8, HANDS_OVER, "assistant", f"Answered: {ref_of(HANDS_OVER)}"),
    ]
    for number in (FOLLOWS, NAMES_ONE, GIVEN_BACK, STOPPED, TOO_LATE):
        ref, seq = ref_of(number), len(messages) + 1
        answer = "Answ" if number == STOPPED else f"Answered: {ref}"
        messages += [
            said(1, seq, number, "user", f"Ticket {ref}"),
            said(1, seq + 1, number, "assistant", answer, state="partial" if number == STOPPED else "complete"),
        ]
    return messages


def _steps() -> list[Row]:
    answer = {"content": "Answered: AS-00001. sent / filed ", "tool_calls": []}
    nested = {"parent": 1, "agent": "clerk"}
    return [
        step(ASKS, 1, "clerk"),
        step(ASKS, 2, "chaos", **nested, kind="model") | {"result": {"content": "", "tool_calls": [{}, {}]}},
        step(ASKS, 3, LETTER, **nested),
        step(ASKS, 4, REPORT, **nested),
        step(ASKS, 5, CONTRACT, **nested),
        step(ASKS, 6, "chaos", **nested, kind="model") | {"result": answer},
        step(HANDS_OVER, 1, HAND_OVER),
        step(STOPPED, 0, "chaos", kind="model", state="unknown"),
    ]


@pytest.fixture
def run() -> Run:
    """One thread, in which an agent was asked, the thread went to another one and back, and turns were stopped."""
    turns, messages = {str(row["id"]): row for row in _turns()}, _messages()
    effects = [effect(ASKS, index, tool, "AS-00001") for index, tool in enumerate((LETTER, REPORT, CONTRACT), start=3)]
    contract = pending(ASKS, 5, CONTRACT, "approve")
    contract |= {"arguments": arguments_of("AS-00001")}
    contract["arguments_digest"] = hashlib.sha256(f"{CONTRACT}\n{contract['arguments']}".encode()).hexdigest()
    answers = {str(m["turn_id"]): m["content"] for m in messages if m["role"] == "assistant"}
    handles = {turn_id: Handle(row["state"], answers.get(turn_id, "")) for turn_id, row in turns.items()}
    picture = Picture(
        turns=turns, messages=messages, steps=_steps(), effects=effects, threads=[thread(1)],
        inputs=[{"turn_id": UUID(id_of(NEVER_BEGAN))}], attachments=[], handles=handles, pending_calls=[contract],
        audit=[audited(ASKS, 5)],
    )  # fmt: skip
    accepted = {
        ref_of(number): Accepted(
            id_of(number),
            TOOLS.get(number, ()),
            agent=None if number in NAMES_NOBODY else "desk",
            hands_over_to="hasty_desk" if number == HANDS_OVER else None,
        )
        for number in range(ASKS, TOO_LATE + 1)
    }
    given_back_at = START + timedelta(minutes=GIVEN_BACK, seconds=-20)
    return Run(
        picture,
        Sent(
            accepted=accepted,
            decided=[Decided(id_of(ASKS), "c5", "approve", None, "ada")],
            handed_over=[HandedOver("thread-1", None, given_back_at, given_back_at + timedelta(seconds=1))],
            cancelled=[
                Cancelled(id_of(STOPPED), "running"),
                Cancelled(id_of(NEVER_BEGAN), "cancelled"),
                Cancelled(id_of(TOO_LATE), "completed"),
            ],
        ),
    )


def test_what_is_whole_breaks_no_promise(run: Run) -> None:
    assert run.findings() == []


@pytest.mark.parametrize("made", [{"root_key": 1, "id": "thread-1/b"}, {"id": "thread-1-FH-00009"}])
def test_a_branch_or_a_fork_from_before_the_first_message_begins_with_who_had_its_origin(
    run: Run, made: dict[str, Any]
) -> None:
    run.picture.threads.append(thread(2, created_at=START + timedelta(minutes=8)) | made)
    run.picture.turns[id_of(9)] = turn(9, 2, agent="hasty_desk")  # type: ignore[index] # its own
    ref, answer = ref_of(9), f"Answered: {ref_of(9)}"
    run.picture.messages.extend((said(2, 1, 9, "user", f"Ticket {ref}"), said(2, 2, 9, "assistant", answer)))
    run.picture.handles[id_of(9)] = Handle("completed", answer)  # type: ignore[index] # its own
    run.sent.accepted[ref] = Accepted(id_of(9))  # type: ignore[index] # its own

    assert run.broken() == set()


def nest_in_nothing(run: Run) -> None:
    run.step(ASKS, 3)["parent"] = 9


def nest_as_another(run: Run) -> None:
    run.step(ASKS, 3)["agent"] = "desk"


def call_twice_in_it(run: Run) -> None:
    run.picture.steps.append(step(ASKS, 7, REPORT, parent=1, agent="clerk"))
    run.picture.effects.append(effect(ASKS, 7, REPORT, "AS-00001"))


def call_never_in_it(run: Run) -> None:
    run.picture.steps.remove(run.step(ASKS, 4))


def answer_twice_in_it(run: Run) -> None:
    run.picture.steps.append(run.step(ASKS, 6) | {"index": 7})


def read_another_answer(run: Run) -> None:
    run.step(ASKS, 6)["result"] = {"content": "Answered: AS-00002.", "tool_calls": []}


def act_outside_of_it(run: Run) -> None:
    run.picture.steps.append(step(FOLLOWS, 1, LETTER))
    run.picture.effects.append(effect(FOLLOWS, 1, LETTER, "AS-00001"))


def sign_what_was_not_approved(run: Run) -> None:
    run.picture.pending_calls[0]["decision"] = "closed"


def take_up_what_is_nested(run: Run) -> None:
    run.picture.turns[id_of(10)] = turn(10, requeued_from=UUID(id_of(ASKS)))  # type: ignore[index] # its own
    run.picture.pending_calls.append(run.picture.pending_calls[0] | {"turn_id": UUID(id_of(10))})


def happen_twice_in_it(run: Run) -> None:
    run.picture.effects.append(run.picture.effects[1])


def ask_again_under_another_key(run: Run) -> None:
    run.picture.steps.append(step(FOLLOWS, 1, "clerk", "started"))
    run.picture.steps.append(step(FOLLOWS, 2, REPORT, parent=1, agent="clerk"))
    run.picture.effects.append(effect(FOLLOWS, 2, REPORT, "AS-00001"))


def hide_what_is_unknown(run: Run) -> None:
    run.step(ASKS, 4)["state"] = "unknown"


def answer_by_who_had_it(run: Run) -> None:
    run.turn(FOLLOWS)["agent"] = "desk"


def answer_before_it_was_handed_over(run: Run) -> None:
    run.turn(ASKS)["agent"] = "hasty_desk"


def answer_for_who_is_named(run: Run) -> None:
    run.turn(NAMES_ONE)["agent"] = "hasty_desk"


def keep_what_was_given_back(run: Run) -> None:
    run.turn(GIVEN_BACK)["agent"] = "hasty_desk"


def hand_over_to_nobody(run: Run) -> None:
    run.sent.accepted[ref_of(FOLLOWS)] = replace(  # type: ignore[index] # its own
        run.sent.accepted[ref_of(FOLLOWS)], hands_over_to="brief_desk"
    )


def complete_what_was_stopped(run: Run) -> None:
    run.turn(STOPPED)["state"] = "completed"


def begin_after_its_end(run: Run) -> None:
    run.step(STOPPED, 0)["started_at"] = run.turn(STOPPED)["finished_at"] + timedelta(seconds=1)


def begin_what_was_cancelled_first(run: Run) -> None:
    run.picture.effects.append(effect(NEVER_BEGAN, 0, "refund", ref_of(NEVER_BEGAN)))


def say_it_was_completed(run: Run) -> None:
    run.turn(TOO_LATE)["state"] = "failed"


def forget_who_stopped_it(run: Run) -> None:
    run.turn(STOPPED)["cancel_requested_by"] = None


def lose_what_was_stopped(run: Run) -> None:
    run.sent = replace(run.sent, cancelled=[*run.sent.cancelled, Cancelled(id_of(99), "queued")])


def cancel_unasked(run: Run) -> None:
    run.sent = replace(run.sent, cancelled=run.sent.cancelled[1:])


def lose_text_of_what_never_began(run: Run) -> None:
    run.picture.inputs.clear()


DAMAGES: Sequence[tuple[Callable[[Run], None], Promise]] = [
    (nest_in_nothing, Promise.NESTED),
    (nest_as_another, Promise.NESTED),
    (call_twice_in_it, Promise.NESTED),
    (call_never_in_it, Promise.NESTED),
    (answer_twice_in_it, Promise.NESTED),
    (read_another_answer, Promise.NESTED),
    (act_outside_of_it, Promise.NESTED),
    (sign_what_was_not_approved, Promise.APPROVED),
    (take_up_what_is_nested, Promise.DECIDED_ONCE),
    (happen_twice_in_it, Promise.EFFECTS_ONCE),
    (ask_again_under_another_key, Promise.EFFECTS_ONCE),
    (hide_what_is_unknown, Promise.ACCOUNTED),
    (answer_by_who_had_it, Promise.HANDED_OVER),
    (answer_before_it_was_handed_over, Promise.HANDED_OVER),
    (answer_for_who_is_named, Promise.HANDED_OVER),
    (keep_what_was_given_back, Promise.HANDED_OVER),
    (hand_over_to_nobody, Promise.HANDED_OVER),
    (complete_what_was_stopped, Promise.STOPPED_FOR_GOOD),
    (begin_after_its_end, Promise.STOPPED_FOR_GOOD),
    (begin_what_was_cancelled_first, Promise.STOPPED_FOR_GOOD),
    (say_it_was_completed, Promise.STOPPED_FOR_GOOD),
    (forget_who_stopped_it, Promise.STOPPED_FOR_GOOD),
    (lose_what_was_stopped, Promise.STOPPED_FOR_GOOD),
    (cancel_unasked, Promise.ANSWERED),
    (lose_text_of_what_never_began, Promise.OUT_OF_VIEW),
]


@pytest.mark.parametrize(("damage", "promise"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damage_is_named(run: Run, damage: Callable[[Run], None], promise: Promise) -> None:
    damage(run)

    assert promise in run.broken()
