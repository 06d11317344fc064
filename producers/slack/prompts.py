"""The calls that a turn waits for, as people in Slack see them: arguments with buttons, a question with choices.

What stays true: whoever approves has seen all of the arguments, and approves what they have seen: the button carries
their digest. What does not fit is shown without a button, to be decided elsewhere.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conversation.ids import is_our_id
from conversation.pending_call import DecisionKind, PendingCall, PendingKind
from producers.slack.api import Arguments
from producers.slack.mrkdwn import escape

APPROVE_ACTION, DENY_ACTION = "threadmill_approve", "threadmill_deny"
#: The action of a choice has its index behind it; that of a text has none.
ANSWER_ACTION = "threadmill_answer"

#: Characters of one block of text, at most: Slack takes 3,000.
BLOCK_CHARS = 2800
#: Characters of the arguments of one message, at most: Slack refuses blocks of some 11,000 together.
ARGUMENTS_CHARS = 9000
#: Characters of a button's value, of a block's name, of a button's words and of a label, at most: Slack's limits.
VALUE_CHARS, BLOCK_ID_CHARS, BUTTON_CHARS, LABEL_CHARS = 2000, 255, 75, 2000
#: Choices that are buttons, and that are a menu, at most.
BUTTONS_MAX, OPTIONS_MAX = 20, 100
_ELSEWHERE = "_Too long to be decided here: it is decided over HTTP, or by `threadmill turns`._"
_PERSON = re.compile(r"[UW][A-Z0-9]{4,20}")
_VERBS = {
    DecisionKind.APPROVE: "approved",
    DecisionKind.DENY: "denied",
    DecisionKind.EDIT: "approved with other arguments",
    DecisionKind.ANSWER: "answered",
    DecisionKind.RESULT: "done",
    DecisionKind.CLOSED: "not decided",
}

Block = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReference:
    """The call that a button decides."""

    turn_id: str
    call_id: str
    #: Of the arguments that were shown.
    digest: str | None = None
    #: The place of the choice among the question's choices.
    choice: int | None = None

    def to_text(self) -> str:
        """The reference as a button carries it."""
        fields = {"t": self.turn_id, "c": self.call_id, "d": self.digest, "i": self.choice}
        return json.dumps({name: value for name, value in fields.items() if value is not None}, separators=(",", ":"))


def read_reference(text: str) -> CallReference | None:
    """The call that a button names; None where it names none."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or not is_our_id(fields.get("t")) or not isinstance(fields.get("c"), str):
        return None
    digest, choice = fields.get("d"), fields.get("i")
    return CallReference(
        turn_id=fields["t"],
        call_id=fields["c"],
        digest=digest if isinstance(digest, str) else None,
        choice=choice if type(choice) is int else None,
    )


def show_call(call: PendingCall) -> Arguments | None:
    """The message that asks for a decision; None where nobody in Slack decides it."""
    match call.kind:
        case PendingKind.APPROVAL:
            return _show_approval(call)
        case PendingKind.QUESTION:
            return _show_question(call)
        case _:
            return None


def show_elsewhere(call: PendingCall) -> Arguments:
    """The message in the place of one that Slack does not take: it says where the call is decided."""
    return {"text": f"`{escape(call.name)}`: {_ELSEWHERE}", "blocks": []}


def show_decision(name: str, kind: DecisionKind, by: str | None) -> Arguments:
    """The message in its place once it is decided."""
    person = f" by {f'<@{by}>' if _PERSON.fullmatch(by) else escape(by)}" if by else ""
    return {"text": f"`{escape(name)}`: {_VERBS[kind]}{person}", "blocks": []}


def _show_approval(call: PendingCall) -> Arguments:
    title = f":raised_hand: May `{escape(call.name)}` run?"
    shown = [f"```\n{piece}\n```" for piece in _split(_arguments_of(call))]
    reference = CallReference(turn_id=call.turn_id, call_id=call.call_id, digest=call.arguments_digest).to_text()
    if sum(map(len, shown)) > ARGUMENTS_CHARS or len(reference) > VALUE_CHARS:
        return {"text": title, "blocks": [_section(title), _section(_ELSEWHERE)]}
    buttons = [
        _button(APPROVE_ACTION, reference, "Approve", style="primary"),
        _button(DENY_ACTION, reference, "Deny", style="danger"),
    ]
    return {"text": title, "blocks": [_section(title), *map(_section, shown), _actions(buttons)]}


def _show_question(call: PendingCall) -> Arguments:
    question, *more = _split((call.question or "").strip() or call.name)
    title = f":question: {question}"
    reference = CallReference(turn_id=call.turn_id, call_id=call.call_id).to_text()
    blocks: list[Block] = [_section(title)]
    if more or len(reference) > BLOCK_ID_CHARS or len(call.choices or ()) > OPTIONS_MAX:
        return {"text": title, "blocks": [*blocks, _section(_ELSEWHERE)]}
    skip = _button(DENY_ACTION, reference, "Skip")
    if call.choices is None:
        blocks += [_input(reference), _actions([skip])]
    elif len(call.choices) <= BUTTONS_MAX:
        blocks.append(_actions([*_choice_buttons(call, call.choices), skip]))
    else:
        blocks += [_menu(reference, call.choices), _actions([skip])]
    return {"text": title, "blocks": blocks}


def _choice_buttons(call: PendingCall, choices: Sequence[Any]) -> list[Block]:
    return [
        _button(
            f"{ANSWER_ACTION}_{place}",
            CallReference(turn_id=call.turn_id, call_id=call.call_id, choice=place).to_text(),
            _label(choice, BUTTON_CHARS),
        )
        for place, choice in enumerate(choices)
    ]


def _menu(reference: str, choices: Sequence[Any]) -> Block:
    options = [
        {"text": _plain(_label(choice, BUTTON_CHARS)), "value": str(place)} for place, choice in enumerate(choices)
    ]
    menu = {"type": "static_select", "action_id": ANSWER_ACTION, "options": options, "placeholder": _plain("Choose")}
    return {"type": "actions", "block_id": reference, "elements": [menu]}


def _input(reference: str) -> Block:
    element = {
        "type": "plain_text_input",
        "action_id": ANSWER_ACTION,
        "dispatch_action_config": {"trigger_actions_on": ["on_enter_pressed"]},
    }
    return {
        "type": "input",
        "block_id": reference,
        "dispatch_action": True,
        "label": _plain("Answer"),
        "element": element,
    }


def _arguments_of(call: PendingCall) -> str:
    """The arguments as they run; laid out where that changes nothing of them."""
    try:
        return json.dumps(json.loads(call.arguments), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return call.arguments


def _split(text: str) -> list[str]:
    """A text as Slack shows it literally, in pieces that fit in a block; never within an escaped sign."""
    pieces, size = [""], 0
    for sign in map(escape, text.replace("```", "'''")):
        if size + len(sign) > BLOCK_CHARS:
            pieces.append("")
            size = 0
        pieces[-1] += sign
        size += len(sign)
    return pieces


def _label(choice: Any, max_chars: int) -> str:
    label = (choice if isinstance(choice, str) else json.dumps(choice, ensure_ascii=False)).strip()
    return (label if len(label) <= max_chars else label[: max_chars - 1] + "…") or "—"


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _actions(elements: list[Block]) -> Block:
    return {"type": "actions", "elements": elements}


def _button(action_id: str, value: str, label: str, **more: str) -> Block:
    return {"type": "button", "action_id": action_id, "value": value, "text": _plain(label), **more}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text}
