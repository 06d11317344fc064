"""The checker of the chaos suite catches each kind of damage, and nothing in what is whole."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from uuid import UUID

import pytest

from agent.call_decisions import tell_edited
from agent.tools.result import ToolResult
from tests.chaos.checker import check
from tests.chaos.finding import Promise
from tests.chaos.picture import Accepted, Handle, Picture
from tests.chaos.sent import Sent
from tests.chaos.tickets import digest_of, invoice_of
from tests.unit.chaos_rows import call, effect, id_of, said, step, thread, turn

Damage = Callable[[Picture], None]

ONE, TWO, THREE, NINE = map(id_of, (1, 2, 3, 9))
CONTENT = b"notes"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
INVOICE_SHA256 = digest_of(invoice_of("FH-00003"))
SENT = Sent(
    accepted={
        "FH-00001": Accepted(ONE, ("refund", "cancel_order"), frozenset({SHA256})),
        "FH-00002": Accepted(TWO),
        "FH-00003": Accepted(THREE, ("write_invoice",), frozenset({INVOICE_SHA256})),
    }
)


def attachment(turn_id: str, sha256: str, size: int) -> dict[str, object]:
    return {
        "message_id": "m", "filename": "a.txt", "tenant": "default", "sha256": sha256, "size": size,
        "state": "stored", "turn_id": UUID(turn_id),
    }  # fmt: skip


@pytest.fixture
def picture() -> Picture:
    """Two questions on one thread, the first with a file and two tool calls; one on another."""
    calls = [call("c1", "refund", "FH-00001"), call("c2", "cancel_order", "FH-00001")]
    unknown = '{"error": {"type": "Unknown"}}'
    return Picture(
        turns={id_of(number): turn(number, key) for number, key in ((1, 1), (2, 1), (3, 2))},
        messages=[
            said(1, 1, 1, "user", "Ticket FH-00001: refund me"),
            said(1, 2, 1, "assistant", "", tool_calls=calls),
            said(1, 3, 1, "tool", '"refunded"', tool_call_id="c1"),
            said(1, 4, 1, "tool", unknown, tool_call_id="c2"),
            said(1, 5, 1, "assistant", "Answered: FH-00001"),
            said(1, 6, 2, "user", "Ticket FH-00002: hello"),
            said(1, 7, 2, "assistant", "Answered: FH-00002"),
            said(2, 1, 3, "user", "Ticket FH-00003: hello"),
            said(2, 2, 3, "assistant", "", tool_calls=[call("c1", "write_invoice", "FH-00003")]),
            said(2, 3, 3, "tool", '"written"', tool_call_id="c1"),
            said(2, 4, 3, "assistant", "Answered: FH-00003"),
        ],
        steps=[step(1, 1, "refund"), step(1, 2, "cancel_order", "unknown"), step(3, 1, "write_invoice")],
        effects=[
            effect(1, 1, "refund", "FH-00001"),
            effect(1, 2, "cancel_order", "FH-00001"),
            effect(3, 1, "write_invoice", "FH-00003"),
        ],
        threads=[thread(1), thread(2)],
        inputs=[],
        attachments=[attachment(ONE, SHA256, 5), attachment(THREE, INVOICE_SHA256, len(invoice_of("FH-00003")))],
        handles={id_of(number): Handle("completed", f"Answered: FH-0000{number}") for number in (1, 2, 3)},
    )


def promises(picture: Picture) -> set[str]:
    return {finding.promise for finding in check(picture, SENT, read_blob)}


def read_blob(_tenant: str, sha256: str) -> bytes:
    return {SHA256: CONTENT, INVOICE_SHA256: invoice_of("FH-00003").encode()}[sha256]


def test_what_is_whole_breaks_no_promise(picture: Picture) -> None:
    assert check(picture, SENT, read_blob) == []


def lose_turn(picture: Picture) -> None:
    picture.turns.pop(TWO)  # type: ignore[attr-defined] # the picture is this test's own


def fail_turn(picture: Picture) -> None:
    picture.turns[TWO]["state"] = "failed"


def leave_turn(picture: Picture) -> None:
    picture.turns[TWO]["state"] = "queued"


def invent_turn(picture: Picture) -> None:
    picture.turns[NINE] = turn(9)  # type: ignore[index]


def double_answer(picture: Picture) -> None:
    picture.messages.append(said(2, 5, 3, "assistant", "Answered: FH-00003"))


def lose_answer(picture: Picture) -> None:
    del picture.messages[10]


def answer_another(picture: Picture) -> None:
    picture.messages[10]["content"] = "Answered: FH-00002"


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
    picture.effects.append(effect(1, 1, "refund", "FH-00001"))


def refund_again_under_another_key(picture: Picture) -> None:
    picture.steps.append(step(1, 4, "refund"))
    picture.effects.append(effect(1, 4, "refund", "FH-00001"))


def cancel_again_under_another_key(picture: Picture) -> None:
    picture.steps.append(step(1, 4, "cancel_order"))
    picture.effects.append(effect(1, 4, "cancel_order", "FH-00001"))


def refund_from_nowhere(picture: Picture) -> None:
    picture.effects.append(effect(2, 1, "refund", "FH-00002"))


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


def edit_and_hide_unknown(picture: Picture) -> None:
    picture.messages[3]["content"] = tell_edited(ToolResult('{"reserved": true}'), "{}").content


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
        (edit_and_hide_unknown, Promise.ACCOUNTED),
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


def test_what_is_unknown_of_a_call_that_a_person_changed_is_told_beside_its_arguments(picture: Picture) -> None:
    unknown = ToolResult(picture.messages[3]["content"], "unknown")
    picture.messages[3]["content"] = tell_edited(unknown, '{"changed": true}').content

    assert promises(picture) == set()


def test_what_may_be_repeated_and_was_under_its_key_is_no_damage(picture: Picture) -> None:
    picture.effects.append(effect(1, 2, "cancel_order", "FH-00001"))

    assert promises(picture) == set()


def test_bytes_that_are_others_or_gone_are_named(picture: Picture) -> None:
    def gone(*_: str) -> bytes:
        raise LookupError

    others = {finding.promise for finding in check(picture, SENT, lambda *_: b"other")}

    assert others == {Promise.BLOBS}
    assert {finding.promise for finding in check(picture, SENT, gone)} == {Promise.BLOBS}
