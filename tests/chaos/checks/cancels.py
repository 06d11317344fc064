"""Turns that somebody asked to stop: each ended as they were told, and nothing of it began after that."""

from collections.abc import Iterator

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture, Row
from tests.chaos.regrets import NAMES
from tests.chaos.sent import Sent

#: How a turn may end of which a cancel was told that it goes on: it fails if its wait was over before.
ENDS = ("cancelled", "failed")
FINAL = ("completed", "cancelled", "failed")


def check_cancels(picture: Picture, sent: Sent) -> Iterator[Finding]:
    for cancelled in sent.cancelled:
        if cancelled.turn_id not in picture.turns:
            yield Finding(Promise.STOPPED_FOR_GOOD, cancelled.turn_id, "it is not stored")
            continue
        turn = picture.turns[picture.answering(cancelled.turn_id)]
        where, state, told = str(turn["id"]), turn["state"], cancelled.state
        if told in FINAL and state != told:
            yield Finding(Promise.STOPPED_FOR_GOOD, where, f"it was said to be {told}, and is {state}")
        elif told not in FINAL and state not in ENDS:
            yield Finding(Promise.STOPPED_FOR_GOOD, where, f"it was {told} when it was stopped, and is {state}")
        elif state == "cancelled" and (turn["interrupted_by"] or turn["parent_turn_id"]) is None:
            yield from _asked(turn)
    for turn in picture.turns.values():
        if turn["state"] == "cancelled":
            yield from _goes_on(picture, turn)


def _asked(turn: Row) -> Iterator[Finding]:
    if turn["cancel_requested_at"] is None or turn["cancel_requested_by"] not in NAMES:
        told = f"{turn['cancel_requested_by']} is said to have asked at {turn['cancel_requested_at']}"
        yield Finding(Promise.STOPPED_FOR_GOOD, str(turn["id"]), told)


def _goes_on(picture: Picture, turn: Row) -> Iterator[Finding]:
    """Nothing of a turn that is cancelled, by whomever, begins once that is stored."""
    where = str(turn["id"])
    for step in picture.steps:
        if step["turn_id"] == turn["id"] and step["started_at"] > turn["finished_at"]:
            yield Finding(Promise.STOPPED_FOR_GOOD, where, f"{step['name']} began at {step['started_at']}")
    if turn["attempt"] == 0 and (picture.said.get(where) or any(e["turn_id"] == turn["id"] for e in picture.effects)):
        yield Finding(Promise.STOPPED_FOR_GOOD, where, "it was stopped before it began, and something came of it")
