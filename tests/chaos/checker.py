"""The verdict: what the database, the effects and the bucket say of each message that was accepted.

What stays true: nothing is taken from logs or from memory but what was accepted; each finding names a
promise that was broken, and where.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.picture import Accepted, Picture, Row
from tests.chaos.tickets import READS

#: Reads the bytes of (tenant, sha256); raises if they are not there.
ReadBlob = Callable[[str, str], bytes]


class Promise(StrEnum):
    """What may be broken."""

    DURABLE = "accepted is durable"
    ANSWERED = "every message is answered"
    ONCE = "a turn is committed once"
    ORDER = "in order"
    NO_HOLES = "history has no holes"
    WELL_FORMED = "history is well-formed"
    EFFECTS_ONCE = "effects once"
    ACCOUNTED = "effects are accounted for"
    BLOBS = "a blob is stored before its row"
    NO_LEASE = "no lease is left"
    NOTHING_INVENTED = "nothing is invented"
    DOCTOR = "the doctor finds nothing"
    STOPPED = "nothing is left running"
    ALIVE = "nothing ends by itself"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise."""

    promise: Promise
    where: str
    what: str


def check(picture: Picture, accepted: Mapping[str, Accepted], read_blob: ReadBlob) -> list[Finding]:
    """Every promise that is broken. `accepted` is by the messages' references, in the order of sending."""
    return [
        *_lost(picture, accepted),
        *_answers(picture, accepted),
        *_order(picture, accepted),
        *_well_formed(picture),
        *_effects(picture, accepted),
        *_calls(picture, accepted),
        *_files(picture, accepted),
        *_blobs(picture, read_blob),
        *_left_over(picture),
    ]


def _lost(picture: Picture, accepted: Mapping[str, Accepted]) -> Iterator[Finding]:
    for ref, sent in accepted.items():
        turn = picture.turns.get(sent.turn_id)
        if turn is None:
            yield Finding(Promise.DURABLE, ref, f"turn {sent.turn_id} is not stored")
        elif turn["state"] != "completed":
            why = f"{turn['error_kind']}: {turn['error_message']}"
            yield Finding(Promise.ANSWERED, ref, f"turn {sent.turn_id} is {turn['state']} ({why})")
    for turn_id in picture.turns.keys() - {sent.turn_id for sent in accepted.values()}:
        yield Finding(Promise.NOTHING_INVENTED, turn_id, "a turn that nobody sent")


def _answers(picture: Picture, accepted: Mapping[str, Accepted]) -> Iterator[Finding]:
    """One question and one final answer a turn, and the answer quotes its own question."""
    of_turn: dict[str, list[Row]] = defaultdict(list)
    for message in picture.messages:
        of_turn[str(message["turn_id"])].append(message)
    for ref, sent in accepted.items():
        said = of_turn[sent.turn_id]
        asked = [m for m in said if m["role"] == "user"]
        answers = [m for m in said if m["role"] == "assistant" and not m["tool_calls"]]
        if len(asked) != 1 or len(answers) != 1:
            told = f"{len(asked)} questions and {len(answers)} answers of turn {sent.turn_id}"
            yield Finding(Promise.ONCE, ref, told)
        elif said[0]["role"] != "user" or said[-1]["seq"] != answers[0]["seq"]:
            yield Finding(Promise.ORDER, ref, "its question does not begin its turn, or its answer end it")
        elif ref not in asked[0]["content"] or ref not in answers[0]["content"]:
            yield Finding(Promise.ORDER, ref, "its answer is another question's")
        elif any(message["state"] != "complete" for message in said):
            yield Finding(Promise.ONCE, ref, "a part of an answer was kept")


def _order(picture: Picture, accepted: Mapping[str, Accepted]) -> Iterator[Finding]:
    """A thread's turns stand one after the other, as they were sent; seq has no holes."""
    sent = {accepted.turn_id: place for place, accepted in enumerate(accepted.values())}
    threads: dict[int, list[Row]] = defaultdict(list)
    for message in picture.messages:
        threads[message["thread_key"]].append(message)
    for key, said in threads.items():
        if [m["seq"] for m in said] != list(range(1, len(said) + 1)):
            yield Finding(Promise.NO_HOLES, f"thread {key}", "places are missing or taken twice")
        blocks = [str(m["turn_id"]) for m in said]
        turns = list(dict.fromkeys(blocks))
        if len(turns) != sum(1 for n, turn in enumerate(blocks) if n == 0 or blocks[n - 1] != turn):
            yield Finding(Promise.ORDER, f"thread {key}", "one turn's messages stand between another's")
        places = [sent.get(turn, -1) for turn in turns]
        if places != sorted(places):
            yield Finding(Promise.ORDER, f"thread {key}", "turns do not stand in the order of sending")


def _well_formed(picture: Picture) -> Iterator[Finding]:
    """Each tool call is followed by exactly one tool message, before anything else is said."""
    thread, waiting = None, Counter[str]()
    for message in [*picture.messages, {"thread_key": None, "role": "user", "seq": 0, "tool_calls": None}]:
        where = f"thread {message['thread_key']}, place {message['seq']}"
        if message["role"] == "tool" and message["thread_key"] == thread:
            if not waiting[message["tool_call_id"]]:
                yield Finding(Promise.WELL_FORMED, where, "a tool message without its call")
            waiting[message["tool_call_id"]] -= 1
            continue
        if any(count > 0 for count in waiting.values()):
            yield Finding(Promise.WELL_FORMED, where, "a call before it has no tool message")
        thread = message["thread_key"]
        waiting = Counter(call["id"] for call in message["tool_calls"] or ())


def _effects(picture: Picture, accepted: Mapping[str, Accepted]) -> Iterator[Finding]:
    """What may not be repeated happened at most once for its message, and under one key what may."""
    calls = picture.calls()
    done: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for effect in picture.effects:
        done[effect["ref"], effect["tool"]].append(effect)
        sent, key = accepted.get(effect["ref"]), effect["idempotency_key"]
        if sent is None or sent.turn_id != str(effect["turn_id"]):
            yield Finding(Promise.ACCOUNTED, key, f"{effect['tool']} for {effect['ref']} in another's turn")
        if key not in calls:
            yield Finding(Promise.ACCOUNTED, key, f"{effect['tool']} happened, and no journal knows of it")
        elif calls[key]["state"] == "failed":
            yield Finding(Promise.ACCOUNTED, key, f"{effect['tool']} counts as failed, and it happened")
    for (ref, tool), effects in done.items():
        keys = {effect["idempotency_key"] for effect in effects}
        if len(effects) > 1 and not all(effect["repeatable"] for effect in effects):
            yield Finding(Promise.EFFECTS_ONCE, ref, f"{tool} happened {len(effects)} times ({sorted(keys)})")
        elif len(keys) > 1:
            yield Finding(Promise.EFFECTS_ONCE, ref, f"{tool} happened under {len(keys)} keys")


def _calls(picture: Picture, accepted: Mapping[str, Accepted]) -> Iterator[Finding]:
    """Each call that was asked for was made, each came to an end, and the end is true and was told."""
    happened = {effect["idempotency_key"] for effect in picture.effects}
    made: dict[str, list[str]] = defaultdict(list)
    for key, step in picture.calls().items():
        made[str(step["turn_id"])].append(step["name"])
        if step["state"] == "started":
            yield Finding(Promise.ACCOUNTED, key, f"{step['name']} is still under way")
        if step["state"] == "finished" and step["name"] not in READS and key not in happened:
            yield Finding(Promise.ACCOUNTED, key, f"{step['name']} counts as done and never happened")
        if step["state"] in ("unknown", "failed") and not _was_told(picture, step):
            yield Finding(Promise.ACCOUNTED, key, f"nobody was told that {step['name']} is {step['state']}")
    for ref, sent in accepted.items():
        if sent.turn_id in picture.turns and sorted(made[sent.turn_id]) != sorted(sent.tools):
            told = f"{sorted(sent.tools)} were asked for, {sorted(made[sent.turn_id])} called"
            yield Finding(Promise.ACCOUNTED, ref, told)


def _was_told(picture: Picture, step: Row) -> bool:
    told = (m for m in picture.messages if m["turn_id"] == step["turn_id"] and m["role"] == "tool")
    return any(m["tool_call_id"] == step["call_id"] and "error" in json.loads(m["content"]) for m in told)


def _files(picture: Picture, accepted: Mapping[str, Accepted]) -> Iterator[Finding]:
    """Each message has the files that came with it, and those that its tools say they brought."""
    kept: dict[str, set[str]] = defaultdict(set)
    for row in picture.attachments:
        kept[str(row["turn_id"])].add(row["sha256"])
    unended = {str(s["turn_id"]) for s in picture.calls().values() if s["state"] != "finished"}
    for ref, sent in accepted.items():
        if kept[sent.turn_id] - sent.files:
            yield Finding(Promise.NOTHING_INVENTED, ref, "it has files that nobody gave it")
        if sent.files - kept[sent.turn_id] and sent.turn_id not in unended:
            yield Finding(Promise.DURABLE, ref, "a file of it is gone")


def _blobs(picture: Picture, read_blob: ReadBlob) -> Iterator[Finding]:
    for row in picture.attachments:
        where = f"{row['message_id']} {row['filename']}"
        if row["size"] is None or row["state"] != "stored":
            yield Finding(Promise.BLOBS, where, "no row says that its blob is stored")
            continue
        try:
            content = read_blob(row["tenant"], row["sha256"])
        except Exception as error:  # noqa: BLE001 - whatever the reason, it cannot be read
            yield Finding(Promise.BLOBS, where, f"{type(error).__name__}: {error}")
            continue
        if hashlib.sha256(content).hexdigest() != row["sha256"] or len(content) != row["size"]:
            yield Finding(Promise.BLOBS, where, "its bytes are others")


def _left_over(picture: Picture) -> Iterator[Finding]:
    for thread in picture.threads:
        if thread["lease_owner"] is not None:
            yield Finding(Promise.NO_LEASE, f"thread {thread['id']}", f"held by {thread['lease_owner']}")
    for row in picture.inputs:
        yield Finding(Promise.ANSWERED, str(row["turn_id"]), "its question is still in the inbox")
