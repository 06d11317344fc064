"""Agents in threads of their own: one turn for each call, whose end is what the caller was told."""

import json
from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture, Row


def check_children(picture: Picture) -> Iterator[Finding]:
    children: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for turn in picture.turns.values():
        if turn["parent_turn_id"] is not None:
            children[str(turn["parent_turn_id"]), turn["parent_call_id"]].append(turn)
    for call in picture.pending_calls:
        if call["kind"] != "child":
            continue
        address = str(call["turn_id"]), call["call_id"]
        where, some = "/".join(address), children.pop(address, [])
        if len(some) != 1:
            yield Finding(Promise.CHILD, where, f"{len(some)} turns answer it")
        elif call["decision"] is None:
            yield Finding(Promise.NOT_WAITING, where, f"it waits for turn {some[0]['id']}, which is {some[0]['state']}")
        elif call["decision"] == "result" and not _is_told(picture, call, some[0]):
            yield Finding(Promise.CHILD, where, f"it was told another answer than that of turn {some[0]['id']}")
    for address in children:
        yield Finding(Promise.CHILD, "/".join(address), "a turn answers a call that nobody made")


def _is_told(picture: Picture, call: Row, child: Row) -> bool:
    """Whether the caller, if it came to read it, read what the other agent answered."""
    steps = [s for s in picture.steps if s["turn_id"] == call["turn_id"] and s["index"] == call["step_index"]]
    told = [
        str(json.loads(m["content"]))
        for m in picture.said.get(str(call["turn_id"]), ())
        if m["role"] == "tool" and any(s["call_id"] == m["tool_call_id"] for s in steps)
    ]
    answers = [
        m["content"].strip()
        for m in picture.said.get(str(child["id"]), ())
        if m["role"] == "assistant" and not m["tool_calls"]
    ]
    parent = picture.turns.get(str(call["turn_id"]))
    if parent is not None and parent["state"] == "cancelled" and any("CutOff" in text for text in told):
        # It was stopped before it read the answer.
        return True
    if child["state"] != "completed":
        return all("error" in text for text in told)
    return all(answers and answers[-1] in text for text in told)
