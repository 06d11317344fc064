"""The checker of the chaos suite catches each kind of damage, and nothing in what is whole."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from uuid import UUID

import pytest

from tests.chaos.checker import Picture, check

Damage = Callable[[Picture], None]

ONE, TWO, THREE = (str(UUID(int=number)) for number in (1, 2, 3))
ACCEPTED = {"FH-00001": ONE, "FH-00002": TWO, "FH-00003": THREE}
CONTENT = b"notes"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def said(key: int, seq: int, turn: str, role: str, content: str, **more: Any) -> dict[str, Any]:
    return {
        "thread_key": key, "seq": seq, "turn_id": UUID(turn), "role": role, "content": content,
        "tool_calls": None, "tool_call_id": None, **more,
    }  # fmt: skip


def step(turn: str, index: int, name: str, state: str = "finished") -> dict[str, Any]:
    return {
        "turn_id": UUID(turn), "index": index, "kind": "tool", "name": name, "state": state,
        "call_id": f"c{index}",
    }  # fmt: skip


def effect(turn: str, index: int, tool: str) -> dict[str, Any]:
    return {"idempotency_key": f"{turn}-{index}", "tool": tool, "turn_id": UUID(turn)}


def turn(turn_id: str) -> dict[str, Any]:
    return {"id": UUID(turn_id), "state": "completed", "error_kind": None, "error_message": None}


@pytest.fixture
def picture() -> Picture:
    """Two questions on one thread, the first with two tool calls; one on another."""
    calls = [{"id": "c1", "name": "charge"}, {"id": "c2", "name": "reserve"}]
    return Picture(
        turns={turn_id: turn(turn_id) for turn_id in (ONE, TWO, THREE)},
        messages=[
            said(1, 1, ONE, "user", "Ticket FH-00001: charge me"),
            said(1, 2, ONE, "assistant", "", tool_calls=calls),
            said(1, 3, ONE, "tool", '"charged"', tool_call_id="c1"),
            said(1, 4, ONE, "tool", '{"error": {"type": "Unknown"}}', tool_call_id="c2"),
            said(1, 5, ONE, "assistant", "You wrote: FH-00001"),
            said(1, 6, TWO, "user", "Ticket FH-00002: hello"),
            said(1, 7, TWO, "assistant", "You wrote: FH-00002"),
            said(2, 1, THREE, "user", "Ticket FH-00003: hello"),
            said(2, 2, THREE, "assistant", "You wrote: FH-00003"),
        ],
        steps=[step(ONE, 1, "charge"), step(ONE, 2, "reserve", "unknown")],
        effects=[effect(ONE, 1, "charge"), effect(ONE, 2, "reserve")],
        threads=[{"id": "a", "owner": None}, {"id": "b", "owner": None}],
        inputs=[],
        attachments=[
            {"message_id": "m", "filename": "a.txt", "tenant": "default", "sha256": SHA256, "size": 5}
        ],
    )


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
    picture.turns[str(UUID(int=9))] = turn(str(UUID(int=9)))  # type: ignore[index]


def double_answer(picture: Picture) -> None:
    picture.messages.append(said(2, 3, THREE, "assistant", "You wrote: FH-00003"))


def lose_answer(picture: Picture) -> None:
    del picture.messages[8]


def answer_another(picture: Picture) -> None:
    picture.messages[8]["content"] = "You wrote: FH-00002"


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
    picture.messages[8]["seq"] = 3


def lose_tool_message(picture: Picture) -> None:
    del picture.messages[3]


def double_tool_message(picture: Picture) -> None:
    picture.messages.insert(3, deepcopy(picture.messages[2]))


def double_charge(picture: Picture) -> None:
    picture.effects.append(effect(ONE, 1, "charge"))


def charge_from_nowhere(picture: Picture) -> None:
    picture.effects.append(effect(TWO, 1, "charge"))


def lose_effect(picture: Picture) -> None:
    del picture.effects[0]


def leave_call_open(picture: Picture) -> None:
    picture.steps[0]["state"] = "started"


def hide_unknown(picture: Picture) -> None:
    picture.messages[3]["content"] = '{"reserved": true}'


def forget_blob_row(picture: Picture) -> None:
    picture.attachments[0]["size"] = None


def leave_lease(picture: Picture) -> None:
    picture.threads[0]["owner"] = UUID(int=7)


def leave_in_inbox(picture: Picture) -> None:
    picture.inputs.append({"turn_id": UUID(THREE)})


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        (lose_turn, "accepted is durable"),
        (fail_turn, "every message is answered"),
        (leave_turn, "every message is answered"),
        (invent_turn, "nothing is invented"),
        (double_answer, "effects once"),
        (lose_answer, "effects once"),
        (answer_another, "in order"),
        (swap_turns, "in order"),
        (part_question_from_answer, "in order"),
        (make_hole, "history has no holes"),
        (lose_tool_message, "history is well-formed"),
        (double_tool_message, "history is well-formed"),
        (double_charge, "effects once"),
        (charge_from_nowhere, "effects are accounted for"),
        (lose_effect, "effects are accounted for"),
        (leave_call_open, "effects are accounted for"),
        (hide_unknown, "effects are accounted for"),
        (forget_blob_row, "a blob is stored before its row"),
        (leave_lease, "no lease is left"),
        (leave_in_inbox, "every message is answered"),
    ],
)
def test_damage_is_named(picture: Picture, damage: Damage, promise: str) -> None:
    damage(picture)

    assert promise in promises(picture)


def test_a_reservation_that_was_done_twice_under_its_key_is_no_damage(picture: Picture) -> None:
    picture.effects.append(effect(ONE, 2, "reserve"))

    assert promises(picture) == set()


def test_bytes_that_are_others_or_gone_are_named(picture: Picture) -> None:
    def gone(*_: str) -> bytes:
        raise LookupError

    assert promises(picture, b"other") == {"a blob is stored before its row"}
    assert [f.promise for f in check(picture, ACCEPTED, gone)] == ["a blob is stored before its row"]
