"""Whether a decision fits the pending call that it is for: its kind, the choices, the type of an answer."""

import json
from collections.abc import Mapping
from typing import Any

from conversation.arguments import check_instance
from conversation.errors import InvalidInput
from conversation.pending_call import DECISIONS, Decision, DecisionKind, PendingCall, PendingKind

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def check_fits(call: PendingCall, decision: Decision) -> None:
    """Raise `InvalidInput` for a decision that is none on such a call: of another kind, or not one of its choices."""
    check_instance("decision", decision, Decision)
    if decision.kind not in DECISIONS[call.kind]:
        fit = ", ".join(sorted(DECISIONS[call.kind]))
        raise InvalidInput("decision", f"{decision.kind} does not fit a call of the kind {call.kind}", f"use {fit}")
    if call.kind is PendingKind.QUESTION and decision.kind is DecisionKind.ANSWER:
        _check_answer(call, decision.value)


def _check_answer(call: PendingCall, value: Any) -> None:
    if call.choices is not None and not any(_is_same(value, choice) for choice in call.choices):
        listed = json.dumps(list(call.choices), ensure_ascii=False)
        raise InvalidInput("value", "is none of the choices", f"pass one of {listed[:1000]}")
    types = _types_of(call.schema or {})
    if types and not any(_is_of(value, name) for name in types):
        raise InvalidInput("value", f"is {type(value).__name__}", f"the question wants {' or '.join(sorted(types))}")


def _types_of(schema: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema takes, as far as its first level says; none where it does not."""
    if isinstance(schema.get("type"), str):
        return {schema["type"]} & _TYPES.keys()
    branches = [_types_of(branch) for branch in schema.get("anyOf", ()) if isinstance(branch, Mapping)]
    return set().union(*branches) if branches and all(branches) else set()


def _is_of(value: Any, name: str) -> bool:
    # In Python a boolean is a number; in JSON it is none.
    if isinstance(value, bool):
        return name == "boolean"
    is_whole = isinstance(value, float) and value.is_integer()
    return isinstance(value, _TYPES[name]) or (name == "integer" and is_whole)


def _is_same(value: Any, choice: Any) -> bool:
    return isinstance(value, bool) == isinstance(choice, bool) and bool(value == choice)
