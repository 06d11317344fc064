"""The checker of the chaos suite catches each kind of damage, and nothing in what is whole."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from uuid import UUID

import pytest

from tests.chaos.checker import Promise, check
from tests.chaos.picture import Accepted, Picture

Damage = Callable[[Picture], None]

ONE, TWO, THREE, NINE = (str(UUID(int=number)) for number in (1, 2, 3, 9))
CONTENT = b"notes"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ACCEPTED = {
    "FH-00001": Accepted(ONE, ("refund", "cancel_order"), frozenset({SHA256})),
    "FH-00002": Accepted(TWO),
    "FH-00003": Accepted(THREE, ("write_invoice",)),
}


def said(key: int, seq: int, turn: str, role: str, content: str, **more: Any) -> dict[str, Any]:
    return {
        "thread_key": key, "seq": seq, "turn_id": UUID(turn), "role": role, "content": content,
        "tool_calls": None, "tool_call_id": None, "state": "complete", **more,
    }  # fmt: skip


def step(turn: str, index: int, name: str, state: str = "finished") -> dict[str, Any]:
    return {
        "turn_id": UUID(turn), "index": index, "kind": "tool", "name": name, "state": state,
        "call_id": f"c{index}",
    }  # fmt: skip


def effect(turn: str, index: int, tool: str, ref: str = "FH-00001") -> dict[str, Any]:
    return {
        "idempotency_key": f"{turn}-{index}", "tool": tool, "turn_id": UUID(turn), "ref": ref,
        "repeatable": tool != "refund",
    }  # fmt: skip


def turn(turn_id: str) -> dict[str, Any]:
    return {"id": UUID(turn_id), "state": "completed", "error_kind": None, "error_message": None}


@pytest.fixture
def picture() -> Picture:
    """Two questions on one thread, the first with a file and two tool calls; one on another."""
    calls = [{"id": "c1", "name": "refund"}, {"id": "c2", "name": "cancel_order"}]
    unknown = '{"error": {"type": "Unknown"}}'
    return Picture(
        turns={turn_id: turn(turn_id) for turn_id in (ONE, TWO, THREE)},
        messages=[
            said(1, 1, ONE, "user", "Ticket FH-00001: refund me"),
            said(1, 2, ONE, "assistant", "", tool_calls=calls),
            said(1, 3, ONE, "tool", '"refunded"', tool_call_id="c1"),
            said(1, 4, ONE, "tool", unknown, tool_call_id="c2"),
            said(1, 5, ONE, "assistant", "You wrote: FH-00001"),
            said(1, 6, TWO, "user", "Ticket FH-00002: hello"),
            said(1, 7, TWO, "assistant", "You wrote: FH-00002"),
            said(2, 1, THREE, "user", "Ticket FH-00003: hello"),
            said(2, 2, THREE, "assistant", "", tool_calls=[{"id": "c1", "name": "write_invoice"}]),
            said(2, 3, THREE, "tool", '"written"', tool_call_id="c1"),
            said(2, 4, THREE, "assistant", "You wrote: FH-00003"),
        ],
        steps=[
            step(ONE, 1, "refund"),
            step(ONE, 2, "cancel_order", "unknown"),
            step(THREE, 1, "write_invoice"),
        ],
        effects=[
            effect(ONE, 1, "refund"),
            effect(ONE, 2, "cancel_order"),
            effect(THREE, 1, "write_invoice", "FH-00003"),
        ],
        threads=[{"id": "a", "lease_owner": None}, {"id": "b", "lease_owner": None}],
        inputs=[],
        attachments=[
            {
                "message_id": "m", "filename": "a.txt", "tenant": "default", "sha256": SHA256, "size": 5,
                "state": "stored", "turn_id": UUID(ONE),
            }
        ],
    )  # fmt: skip


def promises(picture: Picture, content: bytes = CONTENT) -> set[str]:
    return {finding.promise for finding in check(picture, ACCEPTED, lambda *_: content)}


def test_what_is_whole_breaks_no_promise(picture: Picture) -> None:
    assert check(picture, ACCEPTED, lambda *_: CONTENT) == []


def lose_turn(picture: Picture) -> None:
    picture.turns.pop(TWO)  # type: ignore[attr-defined] # the picture is this test's own


def fail_turn(picture: Picture) -> None:
    picture.turns[TWO]["state"] = "failed"


def leave_turn(picture: Picture) -> None:
    picture.turns[TWO]["state"] = "queued"


def invent_turn(picture: Picture) -> None:
    picture.turns[NINE] = turn(NINE)  # type: ignore[index]


def double_answer(picture: Picture) -> None:
    picture.messages.append(said(2, 5, THREE, "assistant", "You wrote: FH-00003"))


def lose_answer(picture: Picture) -> None:
    del picture.messages[10]


def answer_another(picture: Picture) -> None:
    picture.messages[10]["content"] = "You wrote: FH-00002"


def swap_turns(picture: Picture) -> None:
    for message in picture.messages[5:7]:
        message["seq"] -= 5
    for message in picture.messages[:5]:
        message["seq"] += 2
    picture.messages.sort(key=lambda m: (m["thread_key"], m["seq"]))


def part_question_from_answer(picture: Picture) -> None:
    picture.messages[4], picture.messages[5] = picture.messages[5], picture.messages[4]
    picture.messages[4]["seq"], picture.messages[5]["seq"] = 5, 6


def make_hole(picture: Picture) -> None:
    picture.messages[10]["seq"] = 5


def lose_tool_message(picture: Picture) -> None:
    del picture.messages[3]


def double_tool_message(picture: Picture) -> None:
    picture.messages.insert(3, deepcopy(picture.messages[2]))


def open_with_an_answer(picture: Picture) -> None:
    picture.messages[5], picture.messages[6] = picture.messages[6], picture.messages[5]
    picture.messages[5]["seq"], picture.messages[6]["seq"] = 6, 7


def keep_a_part(picture: Picture) -> None:
    picture.messages[2]["state"] = "partial"


def double_refund(picture: Picture) -> None:
    picture.effects.append(effect(ONE, 1, "refund"))


def refund_again_under_another_key(picture: Picture) -> None:
    picture.steps.append(step(ONE, 4, "refund"))
    picture.effects.append(effect(ONE, 4, "refund"))


def cancel_again_under_another_key(picture: Picture) -> None:
    picture.steps.append(step(ONE, 4, "cancel_order"))
    picture.effects.append(effect(ONE, 4, "cancel_order"))


def refund_from_nowhere(picture: Picture) -> None:
    picture.effects.append(effect(TWO, 1, "refund", "FH-00002"))


def refund_another(picture: Picture) -> None:
    picture.effects[0]["ref"] = "FH-00002"


def deny_refund(picture: Picture) -> None:
    picture.steps[0]["state"] = "failed"


def lose_effect(picture: Picture) -> None:
    del picture.effects[0]


def skip_call(picture: Picture) -> None:
    del picture.steps[2], picture.effects[2]


def lose_file(picture: Picture) -> None:
    picture.steps[1]["state"] = "finished"
    picture.attachments.clear()


def give_file_to_another(picture: Picture) -> None:
    picture.attachments[0]["turn_id"] = UUID(TWO)


def leave_call_open(picture: Picture) -> None:
    picture.steps[0]["state"] = "started"


def hide_unknown(picture: Picture) -> None:
    picture.messages[3]["content"] = '{"reserved": true}'


def forget_blob_row(picture: Picture) -> None:
    picture.attachments[0]["size"] = None


def delete_blob(picture: Picture) -> None:
    picture.attachments[0]["state"] = "deleting"


def leave_lease(picture: Picture) -> None:
    picture.threads[0]["lease_owner"] = UUID(int=7)


def leave_in_inbox(picture: Picture) -> None:
    picture.inputs.append({"turn_id": UUID(THREE)})


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        (lose_turn, Promise.DURABLE),
        (fail_turn, Promise.ANSWERED),
        (leave_turn, Promise.ANSWERED),
        (invent_turn, Promise.NOTHING_INVENTED),
        (double_answer, Promise.ONCE),
        (lose_answer, Promise.ONCE),
        (keep_a_part, Promise.ONCE),
        (answer_another, Promise.ORDER),
        (open_with_an_answer, Promise.ORDER),
        (swap_turns, Promise.ORDER),
        (part_question_from_answer, Promise.ORDER),
        (make_hole, Promise.NO_HOLES),
        (lose_tool_message, Promise.WELL_FORMED),
        (double_tool_message, Promise.WELL_FORMED),
        (double_refund, Promise.EFFECTS_ONCE),
        (refund_again_under_another_key, Promise.EFFECTS_ONCE),
        (cancel_again_under_another_key, Promise.EFFECTS_ONCE),
        (refund_from_nowhere, Promise.ACCOUNTED),
        (refund_another, Promise.ACCOUNTED),
        (deny_refund, Promise.ACCOUNTED),
        (lose_effect, Promise.ACCOUNTED),
        (skip_call, Promise.ACCOUNTED),
        (leave_call_open, Promise.ACCOUNTED),
        (hide_unknown, Promise.ACCOUNTED),
        (lose_file, Promise.DURABLE),
        (give_file_to_another, Promise.NOTHING_INVENTED),
        (forget_blob_row, Promise.BLOBS),
        (delete_blob, Promise.BLOBS),
        (leave_lease, Promise.NO_LEASE),
        (leave_in_inbox, Promise.ANSWERED),
    ],
)
def test_damage_is_named(picture: Picture, damage: Damage, promise: str) -> None:
    damage(picture)

    assert promise in promises(picture)


def test_what_may_be_repeated_and_was_under_its_key_is_no_damage(picture: Picture) -> None:
    picture.effects.append(effect(ONE, 2, "cancel_order"))

    assert promises(picture) == set()


def test_bytes_that_are_others_or_gone_are_named(picture: Picture) -> None:
    def gone(*_: str) -> bytes:
        raise LookupError

    assert promises(picture, b"other") == {Promise.BLOBS}
    assert [f.promise for f in check(picture, ACCEPTED, gone)] == [Promise.BLOBS]
