"""What turns waited for: each call was decided once, and what was decided is what ran."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture, Row
from tests.chaos.sent import Decided, Sent
from tests.chaos.tickets import APPROVED, ASKING, CLIENT, GOES_ON, SIGNED

#: Decisions after which a call runs.
RUNS = ("approve", "edit", "answer")
#: What nobody who saw a call may be told of it.
IMPOSSIBLE = ("PendingCallNotFound", "TurnNotFound")


def check_decisions(picture: Picture, sent: Sent) -> Iterator[Finding]:
    said: dict[tuple[str, str], list[Decided]] = defaultdict(list)
    for decided in sent.decided:
        said[decided.turn_id, decided.call_id].append(decided)
    audited = Counter((str(row["details"]["turn"]), row["details"]["call"]) for row in picture.audit)
    for call in picture.pending_calls:
        address = str(call["turn_id"]), call["call_id"]
        if call["kind"] == "child" or _is_taken_up(picture, call):
            continue
        yield from _said(call, said[address])
        is_decided = call["decision"] not in (None, "closed")
        if audited[address] != is_decided:
            yield Finding(Promise.DECIDED_ONCE, "/".join(address), f"{audited[address]} entries in the audit")
        yield from _left_open(picture, call)
        yield from _taken_up(picture, call)
    yield from _runs(picture)


def _is_taken_up(picture: Picture, call: Row) -> bool:
    """Whether it is the copy of a call that its own turn went on without."""
    turn = picture.turns.get(str(call["turn_id"]))
    return turn is not None and turn["requeued_from"] is not None


def _said(call: Row, decisions: list[Decided]) -> Iterator[Finding]:
    """The decision that is stored is the one that was accepted, and there is no other one."""
    where = f"{call['turn_id']}/{call['call_id']}"
    accepted = {(d.kind, json.dumps(d.value), d.by) for d in decisions if d.answer == "accepted"}
    value = None if call["value"] is None else call["value"]["value"]
    stored = {(call["decision"], json.dumps(value), call["decided_by"])}
    if call["decision"] in (None, "closed"):
        stored = set()
    if accepted != stored:
        yield Finding(Promise.DECIDED_ONCE, where, f"{sorted(accepted)} was accepted, {sorted(stored)} is stored")
    for decided in decisions:
        if decided.answer in IMPOSSIBLE:
            yield Finding(Promise.DECIDED_ONCE, where, f"{decided.by} was told {decided.answer}")
        is_other = decided.digest not in (None, call["arguments_digest"])
        if is_other and decided.answer == "accepted":
            yield Finding(Promise.APPROVED, where, f"{decided.by} approved other arguments")
    if call["arguments_digest"] != hashlib.sha256(f"{call['name']}\n{call['arguments']}".encode()).hexdigest():
        yield Finding(Promise.APPROVED, where, "its digest is another text's")


def _left_open(picture: Picture, call: Row) -> Iterator[Finding]:
    turn = picture.turns.get(str(call["turn_id"]))
    if call["decision"] is None and (turn is None or turn["agent"] != GOES_ON):
        yield Finding(Promise.NOT_WAITING, f"{call['turn_id']}/{call['call_id']}", "nobody decided, or closed it")


def _taken_up(picture: Picture, call: Row) -> Iterator[Finding]:
    """A call that its turn went on without is taken up by one other turn, once it is decided."""
    turn, step = picture.turns.get(str(call["turn_id"])), picture.calls().get(f"{call['turn_id']}-{call['step_index']}")
    copies = [
        each
        for each in picture.pending_calls
        if each["call_id"] == call["call_id"]
        and str((picture.turns.get(str(each["turn_id"])) or {}).get("requeued_from")) == str(call["turn_id"])
    ]
    # What an agent waits for that was called in the turn, the turn waits for.
    is_nested = step is not None and step["parent"] is not None
    went_on = (
        turn is not None and turn["agent"] == GOES_ON and not is_nested and call["decision"] not in (None, "closed")
    )
    if len(copies) != went_on:
        yield Finding(Promise.DECIDED_ONCE, f"{call['turn_id']}/{call['call_id']}", f"{len(copies)} turns take it up")


def _runs(picture: Picture) -> Iterator[Finding]:
    """What ran is what was decided, and nothing ran that was not."""
    calls: dict[str, list[Row]] = defaultdict(list)
    for call in picture.pending_calls:
        calls[f"{call['turn_id']}-{call['step_index']}"].append(call)
    for effect in picture.effects:
        key = effect["idempotency_key"]
        if effect["tool"] not in (*APPROVED, SIGNED, ASKING):
            continue
        decided = [call for call in calls[key] if call["decision"] in RUNS]
        if not decided:
            yield Finding(Promise.APPROVED, key, f"{effect['tool']} ran, and nobody had approved it")
        elif effect["arguments"] != (wanted := _arguments(decided[-1])):
            yield Finding(Promise.APPROVED, key, f"{effect['tool']} ran with {effect['arguments']}, not {wanted}")
    yield from _results(picture)


def _arguments(call: Row) -> Any:
    """What a call was to run with."""
    if call["decision"] == "edit":
        return json.loads(call["value"]["value"])
    arguments = json.loads(call["arguments"])
    return arguments | {"answer": call["value"]["value"]} if call["decision"] == "answer" else arguments


def _results(picture: Picture) -> Iterator[Finding]:
    """The model was told what a client gave as a result."""
    steps = {(str(s["turn_id"]), s["index"]): s for s in picture.steps}
    for call in picture.pending_calls:
        step = steps.get((str(call["turn_id"]), call["step_index"]))
        if call["name"] != CLIENT or call["decision"] != "result" or step is None:
            continue
        told = [m for m in picture.said.get(str(call["turn_id"]), ()) if m["tool_call_id"] == step["call_id"]]
        if any(json.loads(m["content"]) != call["value"]["value"] for m in told if step["state"] == "finished"):
            yield Finding(Promise.APPROVED, f"{call['turn_id']}/{call['call_id']}", "the model was told another result")
