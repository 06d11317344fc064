"""Two messages at once: each policy did to the turns before it what it says, and each handle leads to its answer."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from tests.chaos.checks.ends import INTERRUPTING
from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture, Row
from tests.chaos.sent import Sent
from tests.chaos.tickets import references

#: By so much the database's clock, read in one transaction, may be ahead of the commit of another.
TOLERANCE = timedelta(seconds=5)


def check_policies(picture: Picture, sent: Sent) -> Iterator[Finding]:
    yield from _merged(picture)
    threads: dict[int, list[Row]] = defaultdict(list)
    for turn in picture.turns.values():
        threads[turn["thread_key"]].append(turn)
    for turns in threads.values():
        for place, turn in enumerate(turns):
            yield from _before(turn, turns[:place])
    for ref, accepted in sent.accepted.items():
        turn_of = picture.turns.get(accepted.turn_id)
        if turn_of is not None and (turn_of["when_busy"] or "enqueue") != (accepted.when_busy or "enqueue"):
            yield Finding(
                Promise.POLICY, ref, f"it was sent to {accepted.when_busy}, and stored to {turn_of['when_busy']}"
            )


def _merged(picture: Picture) -> Iterator[Finding]:
    for turn_id, turn in picture.turns.items():
        answering = picture.turns.get(str(turn["merged_into"]))
        if answering is None:
            continue
        if turn["when_busy"] not in ("merge", "steer"):
            yield Finding(Promise.POLICY, turn_id, f"it is merged, and was sent to {turn['when_busy']}")
        elif turn["when_busy"] == "merge" and answering["when_busy"] != "merge":
            yield Finding(Promise.POLICY, turn_id, "it is merged into one that was not sent to be")
        is_beside = answering["thread_key"] == turn["thread_key"] and answering["agent"] == turn["agent"]
        if not is_beside or answering["arrival_seq"] > turn["arrival_seq"]:
            yield Finding(Promise.POLICY, turn_id, "it is merged into one that is not before it")


def _before(turn: Row, earlier: list[Row]) -> Iterator[Finding]:
    """What became of the turns that came before one that refuses itself, or ends them."""
    if turn["when_busy"] not in ("reject", *INTERRUPTING):
        return
    for other in earlier:
        if other["finished_at"] is None or other["finished_at"] <= turn["created_at"] + TOLERANCE:
            continue
        where = str(turn["id"])
        if turn["when_busy"] == "reject":
            yield Finding(Promise.POLICY, where, f"it was accepted beside turn {other['id']}")
        elif other["state"] in ("completed", "failed"):
            yield Finding(Promise.POLICY, where, f"turn {other['id']} before it is {other['state']}")
        elif other["state"] == "cancelled" and turn["when_busy"] == "rollback" and not other["rolled_back"]:
            yield Finding(Promise.POLICY, where, f"turn {other['id']} before it is not rolled back")


def check_handles(picture: Picture, sent: Sent) -> Iterator[Finding]:
    """Each sender is shown the end of the turn that answers their message, and its answer."""
    for ref, accepted in sent.accepted.items():
        if accepted.turn_id not in picture.turns:
            continue
        answering = picture.turns.get(picture.answering(accepted.turn_id))
        handle = picture.handles.get(accepted.turn_id)
        if answering is None or handle is None or handle.state != answering["state"]:
            told = f"{handle and handle.state} is shown of turn {answering and answering['id']}"
            yield Finding(Promise.HANDLE, ref, told)
        elif handle.state == "completed" and accepted.has_message and ref not in references(handle.content):
            yield Finding(Promise.HANDLE, ref, f"it leads to another answer: {handle.content[:80]}")
