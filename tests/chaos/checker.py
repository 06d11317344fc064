"""The verdict: what the database, the effects and the bucket say of each message that was accepted.

What stays true: nothing is taken from logs or from memory but the references of what was accepted; each
finding names a promise that was broken and where.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]
#: Reads the bytes of (tenant, sha256); raises if they are not there.
ReadBlob = Callable[[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise."""

    promise: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is stored, read once, when nothing runs any more."""

    turns: Mapping[str, Row]
    messages: list[Row]
    steps: list[Row]
    effects: list[Row]
    threads: list[Row]
    inputs: list[Row]
    attachments: list[Row]


def read(database_url: str) -> Picture:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:

        def rows(statement: str) -> list[Row]:
            return connection.execute(statement).fetchall()  # type: ignore[call-overload,no-any-return]

        return Picture(
            turns={str(row["id"]): row for row in rows("SELECT * FROM turns ORDER BY position")},
            messages=rows("SELECT * FROM messages ORDER BY thread_key, seq"),
            steps=rows('SELECT * FROM steps ORDER BY turn_id, "index"'),
            effects=rows("SELECT * FROM shop.effects"),
            threads=rows("SELECT * FROM threads"),
            inputs=rows("SELECT * FROM turn_inputs"),
            attachments=rows(
                "SELECT a.*, b.size FROM attachments a LEFT JOIN blobs b USING (tenant, sha256)"
            ),
        )


def check(picture: Picture, accepted: Mapping[str, str], read_blob: ReadBlob) -> list[Finding]:
    """Every promise that is broken. `accepted` names the turn of each reference."""
    return [
        *_lost(picture, accepted),
        *_answers(picture, accepted),
        *_order(picture, accepted),
        *_well_formed(picture),
        *_effects(picture),
        *_blobs(picture, read_blob),
        *_left_over(picture),
    ]


def _lost(picture: Picture, accepted: Mapping[str, str]) -> Iterator[Finding]:
    for ref, turn_id in accepted.items():
        turn = picture.turns.get(turn_id)
        if turn is None:
            yield Finding("accepted is durable", ref, f"turn {turn_id} is not stored")
        elif turn["state"] != "completed":
            why = f"{turn['error_kind']}: {turn['error_message']}"
            yield Finding("every message is answered", ref, f"its turn is {turn['state']} ({why})")
    for turn_id in picture.turns.keys() - set(accepted.values()):
        yield Finding("nothing is invented", turn_id, "a turn that nobody sent")


def _answers(picture: Picture, accepted: Mapping[str, str]) -> Iterator[Finding]:
    """One question and one final answer a turn, and the answer quotes its own question."""
    of_turn: dict[str, list[Row]] = defaultdict(list)
    for message in picture.messages:
        of_turn[str(message["turn_id"])].append(message)
    for ref, turn_id in accepted.items():
        said = of_turn[turn_id]
        asked = [m for m in said if m["role"] == "user"]
        answers = [m for m in said if m["role"] == "assistant" and not m["tool_calls"]]
        if len(asked) != 1 or len(answers) != 1:
            told = f"{len(asked)} questions and {len(answers)} answers"
            yield Finding("effects once", ref, told)
        elif ref not in answers[0]["content"]:
            yield Finding("in order", ref, "its answer is another question's")


def _order(picture: Picture, accepted: Mapping[str, str]) -> Iterator[Finding]:
    """A thread's turns stand one after the other, as they were sent; seq has no holes."""
    refs = {turn_id: ref for ref, turn_id in accepted.items()}
    threads: dict[int, list[Row]] = defaultdict(list)
    for message in picture.messages:
        threads[message["thread_key"]].append(message)
    for key, said in threads.items():
        if [m["seq"] for m in said] != list(range(1, len(said) + 1)):
            yield Finding("history has no holes", f"thread {key}", "places are missing or taken twice")
        blocks = [str(m["turn_id"]) for m in said]
        turns = list(dict.fromkeys(blocks))
        if len(turns) != sum(1 for n, turn in enumerate(blocks) if n == 0 or blocks[n - 1] != turn):
            yield Finding("in order", f"thread {key}", "one turn's messages stand between another's")
        asked = [refs.get(turn, "") for turn in turns]
        if asked != sorted(asked):
            yield Finding("in order", f"thread {key}", "turns do not stand in the order of sending")


def _well_formed(picture: Picture) -> Iterator[Finding]:
    """Each tool call is followed by exactly one tool message, before anything else is said."""
    thread, waiting = None, Counter[str]()
    for message in [*picture.messages, {"thread_key": None, "role": "user", "seq": 0, "tool_calls": None}]:
        where = f"thread {message['thread_key']}, place {message['seq']}"
        if message["role"] == "tool" and message["thread_key"] == thread:
            if not waiting[message["tool_call_id"]]:
                yield Finding("history is well-formed", where, "a tool message without its call")
            waiting[message["tool_call_id"]] -= 1
            continue
        if any(waiting.values()):
            yield Finding("history is well-formed", where, "a call before it has no tool message")
        thread = message["thread_key"]
        waiting = Counter(call["id"] for call in message["tool_calls"] or ())


def _effects(picture: Picture) -> Iterator[Finding]:
    """What may not be repeated happened at most once, and all that happened stands in the journal."""
    done = Counter(effect["idempotency_key"] for effect in picture.effects)
    tools = {effect["idempotency_key"]: effect["tool"] for effect in picture.effects}
    calls = {f"{step['turn_id']}-{step['index']}": step for step in picture.steps if step["kind"] == "tool"}
    for key, count in done.items():
        if key not in calls:
            yield Finding("effects are accounted for", key, "it happened, and no journal knows of it")
        if tools[key] == "charge" and count > 1:
            yield Finding("effects once", key, f"charged {count} times")
    for key, step in calls.items():
        if step["state"] == "started":
            yield Finding("effects are accounted for", key, "its call is still under way")
        if step["state"] == "finished" and step["name"] in ("charge", "reserve") and not done[key]:
            yield Finding("effects are accounted for", key, "it counts as done and never happened")
        if step["state"] == "unknown" and not _was_told(picture, step):
            yield Finding("effects are accounted for", key, "nobody was told that it is unknown")


def _was_told(picture: Picture, step: Row) -> bool:
    told = (m for m in picture.messages if m["turn_id"] == step["turn_id"] and m["role"] == "tool")
    return any(m["tool_call_id"] == step["call_id"] and "error" in json.loads(m["content"]) for m in told)


def _blobs(picture: Picture, read_blob: ReadBlob) -> Iterator[Finding]:
    for row in picture.attachments:
        where = f"{row['message_id']} {row['filename']}"
        if row["size"] is None:
            yield Finding("a blob is stored before its row", where, "no row says what its blob is")
            continue
        try:
            content = read_blob(row["tenant"], row["sha256"])
        except Exception as error:  # noqa: BLE001 - whatever the reason, it cannot be read
            yield Finding("a blob is stored before its row", where, f"{type(error).__name__}")
            continue
        if hashlib.sha256(content).hexdigest() != row["sha256"] or len(content) != row["size"]:
            yield Finding("a blob is stored before its row", where, "its bytes are others")


def _left_over(picture: Picture) -> Iterator[Finding]:
    for thread in picture.threads:
        if thread["owner"] is not None:
            yield Finding("no lease is left", f"thread {thread['id']}", f"held by {thread['owner']}")
    for row in picture.inputs:
        yield Finding("every message is answered", str(row["turn_id"]), "its question is still in the inbox")
