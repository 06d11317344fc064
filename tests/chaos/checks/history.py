"""The histories: without holes, well-formed, turn behind turn in the order of sending, each with its answer."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture, Row
from tests.chaos.sent import Sent
from tests.chaos.tickets import references


def check_order(picture: Picture, sent: Sent) -> Iterator[Finding]:
    """Turns stand one after the other, as they were sent; seq has no holes."""
    for thread in picture.threads:
        own, first = picture.own[thread["key"]], (thread["shared_to_seq"] or 0) + 1
        where = f"thread {thread['id']}"
        if [m["seq"] for m in own] != list(range(first, first + len(own))):
            yield Finding(Promise.NO_HOLES, where, "places are missing or taken twice")
        yield from _blocks(picture, own, where)
    yield from _arrivals(picture, sent)


def _blocks(picture: Picture, own: Sequence[Row], where: str) -> Iterator[Finding]:
    blocks = [picture.answering(str(m["turn_id"])) for m in own if str(m["turn_id"]) in picture.turns]
    owners = list(dict.fromkeys(blocks))
    if len(owners) != sum(1 for n, turn in enumerate(blocks) if n == 0 or blocks[n - 1] != turn):
        yield Finding(Promise.ORDER, where, "one turn's messages stand between another's")
    places = [picture.turns[turn]["arrival_seq"] for turn in owners if turn in picture.turns]
    if places != sorted(places):
        yield Finding(Promise.ORDER, where, "turns do not stand in the order of sending")
    for owner in owners:
        asked = [m for m in own if m["role"] == "user" and str(m["turn_id"]) in picture.turns]
        within = [picture.turns[str(m["turn_id"])] for m in asked if picture.answering(str(m["turn_id"])) == owner]
        arrivals = [turn["arrival_seq"] for turn in within]
        if arrivals != sorted(arrivals):
            yield Finding(Promise.ORDER, owner, "it reads its messages in another order than that of sending")


def _arrivals(picture: Picture, sent: Sent) -> Iterator[Finding]:
    """One customer sends to a thread, each message after the one before was accepted."""
    newest: dict[int, int] = defaultdict(int)
    for ref, accepted in sent.accepted.items():
        turn = picture.turns.get(accepted.turn_id)
        if turn is None:
            continue
        if turn["arrival_seq"] < newest[turn["thread_key"]]:
            yield Finding(Promise.ORDER, ref, "it stands before one that was accepted earlier")
        newest[turn["thread_key"]] = max(newest[turn["thread_key"]], turn["arrival_seq"])


def check_answers(picture: Picture) -> Iterator[Finding]:
    """A turn that is completed has one answer, at its end, to all that was asked; no other one has two."""
    lines = {thread["key"]: picture.line(thread["key"]) for thread in picture.threads}
    blocks: dict[str, list[Row]] = defaultdict(list)
    for message in picture.messages:
        if str(message["turn_id"]) in picture.turns:
            blocks[picture.answering(str(message["turn_id"]))].append(message)
    for turn_id, turn in picture.turns.items():
        if turn["state"] == "merged":
            continue
        said = blocks[turn_id]
        answers = [m for m in said if m["role"] == "assistant" and not m["tool_calls"]]
        if len(answers) > 1 or (turn["state"] == "completed" and not answers):
            yield Finding(Promise.ONCE, turn_id, f"{len(answers)} answers of a turn that is {turn['state']}")
        elif turn["state"] == "completed":
            yield from _answer(turn_id, said, answers[0], lines.get(turn["thread_key"], ()))
        yield from _questions(picture, turn, said)


def _answer(turn_id: str, said: Sequence[Row], answer: Row, line: Sequence[Row]) -> Iterator[Finding]:
    if any(message["state"] != "complete" for message in said):
        yield Finding(Promise.ONCE, turn_id, "a part of an answer was kept")
    if said[-1]["seq"] != answer["seq"]:
        yield Finding(Promise.ORDER, turn_id, "its answer does not end it")
    asked = [m for m in said if m["role"] == "user"]
    if not asked and said[0]["role"] == "assistant" and not said[0]["tool_calls"]:
        # Another answer, to the last question that stands before it.
        asked = [m for m in line if m["role"] == "user" and m["seq"] < answer["seq"] and not m["rolled_back"]][-1:]
    for message in asked:
        if any(ref not in references(answer["content"]) for ref in references(message["content"])[:1]):
            yield Finding(Promise.ORDER, turn_id, "its answer is another question's")


def _questions(picture: Picture, turn: Row, said: Sequence[Row]) -> Iterator[Finding]:
    """What a turn was asked stands once, at its beginning; what steers it stands behind."""
    merged = [t for t in picture.turns.values() if str(t["merged_into"]) == str(turn["id"])]
    asked = Counter(str(m["turn_id"]) for m in said if m["role"] == "user")
    wanted = {str(t["id"]) for t in merged}
    doubled = [turn_id for turn_id, count in asked.items() if count != 1]
    if doubled or wanted - asked.keys():
        yield Finding(Promise.ONCE, str(turn["id"]), f"its questions stand {dict(asked)}, merged are {sorted(wanted)}")
    if str(turn["id"]) in asked and said[0]["role"] != "user":
        yield Finding(Promise.ORDER, str(turn["id"]), "its question does not begin its turn")


def check_well_formed(picture: Picture) -> Iterator[Finding]:
    """In each history, whole and as it is shown, a tool call is followed by exactly one tool message."""
    for thread in picture.threads:
        line = picture.line(thread["key"])
        yield from _well_formed(line, f"thread {thread['id']}")
        if any(message["rolled_back"] for message in line):
            yield from _well_formed([m for m in line if not m["rolled_back"]], f"thread {thread['id']}, as shown")


def _well_formed(line: Sequence[Row], where: str) -> Iterator[Finding]:
    waiting = Counter[str]()
    for message in line:
        place = f"{where}, place {message['seq']}"
        if message["role"] == "tool":
            if not waiting[message["tool_call_id"]]:
                yield Finding(Promise.WELL_FORMED, place, "a tool message without its call")
            waiting[message["tool_call_id"]] -= 1
            continue
        if any(count > 0 for count in waiting.values()):
            yield Finding(Promise.WELL_FORMED, place, "a call before it has no tool message")
        waiting = Counter(call["id"] for call in message["tool_calls"] or ())
    if any(count > 0 for count in waiting.values()):
        yield Finding(Promise.WELL_FORMED, where, "its last call has no tool message")
