"""Agents that were called in the same turn: what they did stands once in the turn's journal, under the call of them."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture, Row
from tests.chaos.tickets import CLERK, OF_CLERK


def check_nested_agents(picture: Picture) -> Iterator[Finding]:
    calls, nested = picture.calls(), dict[str, list[Row]]()
    for step in picture.steps:
        if step["parent"] is None:
            continue
        key = f"{step['turn_id']}-{step['parent']}"
        nested.setdefault(key, []).append(step)
        if key not in calls or calls[key]["name"] != CLERK or step["agent"] != CLERK:
            yield Finding(Promise.NESTED, key, f"step {step['index']} of {step['agent']} is nested in no call of it")
    for key, call in calls.items():
        if call["name"] == CLERK and call["state"] == "finished":
            yield from _finished(picture, key, call, nested.get(key, ()))
    for effect in picture.effects:
        key = effect["idempotency_key"]
        if effect["tool"] in OF_CLERK and calls.get(key, {"parent": None})["parent"] is None:
            yield Finding(Promise.NESTED, key, f"{effect['tool']} happened outside of {CLERK}'s calls")


def _finished(picture: Picture, key: str, call: Row, nested: Sequence[Row]) -> Iterator[Finding]:
    """Each tool was called once, and the answer is what the caller read."""
    done = Counter(step["name"] for step in nested if step["kind"] == "tool" and step["state"] != "waiting")
    if done != Counter(OF_CLERK):
        yield Finding(Promise.NESTED, key, f"{dict(done)} were called in it")
    answers = [step["result"]["content"].strip() for step in nested if _is_answer(step)]
    said = picture.said.get(str(call["turn_id"]), ())
    told = [json.loads(m["content"]) for m in said if m["role"] == "tool" and m["tool_call_id"] == call["call_id"]]
    if len(answers) != 1 or any(answers[0] not in str(text) for text in told):
        yield Finding(Promise.NESTED, key, f"{len(answers)} answers were given, and {told} was read")


def _is_answer(step: Row) -> bool:
    return step["kind"] == "model" and step["state"] == "finished" and not step["result"].get("tool_calls")
