"""What the tools did: once, under one key, in a turn that had the order in view, and as the journal tells it."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture, Row
from tests.chaos.sent import Sent
from tests.chaos.tickets import CLERK, CLIENT, HAND_OVERS, READS, RESEARCH, references, ticket_of

#: Tools that leave no effect.
HARMLESS = (*READS, CLIENT, RESEARCH, CLERK, *HAND_OVERS)


def check_effects(picture: Picture) -> Iterator[Finding]:
    """What may not be repeated happened at most once for its call, and under one key what may."""
    calls, count = picture.calls(), Counter(effect["idempotency_key"] for effect in picture.effects)
    for effect in picture.effects:
        key, turn_id = effect["idempotency_key"], str(effect["turn_id"])
        if key not in calls or str(calls[key]["turn_id"]) != turn_id:
            yield Finding(Promise.ACCOUNTED, key, f"{effect['tool']} happened, and no journal knows of it")
        elif calls[key]["state"] == "failed":
            yield Finding(Promise.ACCOUNTED, key, f"{effect['tool']} counts as failed, and it happened")
        if not effect["repeatable"] and count[key] > 1:
            yield Finding(Promise.EFFECTS_ONCE, key, f"{effect['tool']} happened {count[key]} times")
    for thread in picture.threads:
        yield from _on_line(picture, thread)


def _on_line(picture: Picture, thread: Row) -> Iterator[Finding]:
    """In one history, an order is carried out once, and by a turn that saw it."""
    line = picture.line(thread["key"])
    shown = [message for message in line if not message["rolled_back"]]
    # What it shares may have been rolled back since.
    asked_at = _places([m for m in line if m["thread_key"] != thread["key"] or not m["rolled_back"]])
    ids = {(m["thread_key"], m["seq"]) for m in shown}
    whole = {
        turn_id: max(m["seq"] for m in said)
        for turn_id, said in picture.said.items()
        if all((m["thread_key"], m["seq"]) in ids for m in said)
    }
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for effect in picture.effects:
        turn_id = str(effect["turn_id"])
        if turn_id not in whole:
            continue
        keys[effect["ref"], effect["tool"]].add(effect["idempotency_key"])
        if asked_at.get(ticket_of(effect["ref"]), whole[turn_id] + 1) > whole[turn_id]:
            told = f"{effect['tool']} for {effect['ref']}, which it was not asked for"
            yield Finding(Promise.ACCOUNTED, turn_id, told)
    for (ref, tool), some in keys.items():
        if len(some) > 1:
            yield Finding(Promise.EFFECTS_ONCE, ref, f"{tool} happened under {len(some)} keys: {sorted(some)}")


def _places(line: list[Row]) -> Mapping[str, int]:
    """Where each reference is asked for first."""
    places: dict[str, int] = {}
    for message in line:
        if message["role"] == "user":
            for ref in references(message["content"])[:1]:
                places.setdefault(ref, message["seq"])
    return places


def check_calls(picture: Picture, sent: Sent) -> Iterator[Finding]:
    """Each call that was asked for was made, each came to an end, and the end is true and was told."""
    happened = {effect["idempotency_key"] for effect in picture.effects}
    for key, step in picture.calls().items():
        turn = picture.turns.get(str(step["turn_id"]))
        if step["state"] == "started":
            yield Finding(Promise.ACCOUNTED, key, f"{step['name']} is still under way")
        if step["state"] == "waiting" and turn is not None and turn["state"] == "completed":
            yield Finding(Promise.NOT_WAITING, key, f"{step['name']} still waits, and its turn is over")
        if step["state"] == "finished" and step["name"] not in HARMLESS and key not in happened:
            yield Finding(Promise.ACCOUNTED, key, f"{step['name']} counts as done and never happened")
        # Cancelled before it began: neither its call nor its result is in the history.
        is_void = turn is not None and turn["state"] == "cancelled" and key not in happened
        if step["state"] in ("unknown", "failed") and not _was_told(picture, step, is_void=is_void):
            yield Finding(Promise.ACCOUNTED, key, f"nobody was told that {step['name']} is {step['state']}")
    journalled = {(str(step["turn_id"]), step["call_id"]) for step in picture.calls().values()}
    for message in picture.messages:
        for call in message["tool_calls"] or ():
            if (str(message["turn_id"]), call["id"]) not in journalled:
                yield Finding(Promise.ACCOUNTED, str(message["turn_id"]), f"no journal knows of {call['name']}")
    yield from _skipped(picture, sent)


def _was_told(picture: Picture, step: Row, *, is_void: bool) -> bool:
    said, call_id = picture.said.get(str(step["turn_id"]), ()), step["call_id"]
    if step["parent"] is not None:
        # The agent that it belongs to was told, and says so in its answer.
        call_id = picture.calls()[f"{step['turn_id']}-{step['parent']}"]["call_id"]
    told = [m for m in said if m["role"] == "tool" and m["tool_call_id"] == call_id]
    return any(_is_error(m["content"]) for m in told) or (is_void and not told)


def _is_error(content: str) -> bool:
    """Whether the result of a call is an error, also where it stands beside the arguments that a person changed."""
    result = json.loads(content)
    if isinstance(result, dict) and result.keys() == {"note", "arguments", "result"}:
        result = result["result"]
    return "error" in result


def _skipped(picture: Picture, sent: Sent) -> Iterator[Finding]:
    """A turn that is completed called each tool that its messages ask for, once."""
    made: dict[tuple[str, str], list[str]] = defaultdict(list)
    for message in picture.messages:
        for call in message["tool_calls"] or ():
            for ref in references(call["arguments"])[:1]:
                made[str(message["turn_id"]), ticket_of(ref)].append(call["name"])
    for ref, accepted in sent.accepted.items():
        if accepted.turn_id not in picture.turns or not accepted.has_message:
            continue
        answering = picture.answering(accepted.turn_id)
        names = made[answering, ref]
        if picture.turns[answering]["state"] == "completed" and sorted(names) != sorted(accepted.tools):
            told = f"{sorted(accepted.tools)} were asked for, {sorted(names)} called"
            yield Finding(Promise.ACCOUNTED, ref, told)
