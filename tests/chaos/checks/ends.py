"""How turns ended: every message that was accepted has come to an end, and to one that its policy allows."""

from collections.abc import Collection, Iterator

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture, Row
from tests.chaos.sent import Sent

#: Policies that end the turns before them.
INTERRUPTING = ("interrupt", "rollback")


def check_ends(picture: Picture, sent: Sent) -> Iterator[Finding]:
    for ref, accepted in sent.accepted.items():
        if accepted.turn_id not in picture.turns:
            yield Finding(Promise.DURABLE, ref, f"turn {accepted.turn_id} is not stored")
    if len({accepted.turn_id for accepted in sent.accepted.values()}) != len(sent.accepted):
        yield Finding(Promise.DURABLE, "the senders", "two messages have one turn")
    asked_to_stop = turns_asked_to_stop(picture, sent)
    for turn_id, turn in picture.turns.items():
        if problem := _problem_of_end(picture, turn, asked_to_stop):
            yield Finding(Promise.ANSWERED, turn_id, f"it is {turn['state']}: {problem}")
    yield from _invented(picture, sent)


def turns_asked_to_stop(picture: Picture, sent: Sent) -> Collection[str]:
    """The ids of the turns that somebody asked to stop, each the one that answers the message."""
    asked = [cancelled.turn_id for cancelled in sent.cancelled if cancelled.turn_id in picture.turns]
    return {*asked, *map(picture.answering, asked)}


def _problem_of_end(picture: Picture, turn: Row, asked_to_stop: Collection[str]) -> str | None:
    match turn["state"]:
        case "completed":
            return None
        case "merged":
            answering = picture.turns.get(str(turn["merged_into"]))
            if answering is None or answering["state"] == "merged":
                return f"turn {turn['merged_into']} answers nobody"
            return None
        case "cancelled":
            return _problem_of_cancelled(picture, turn, asked_to_stop)
        case "failed":
            # What nobody decided in time.
            is_late = turn["error_kind"] == "waiting_expired" and _has_undecided(picture, turn)
            return None if is_late else f"{turn['error_kind']}: {turn['error_message']}"
    return "nobody ended it"


def _problem_of_cancelled(picture: Picture, turn: Row, asked_to_stop: Collection[str]) -> str | None:
    if turn["interrupted_by"] is None:
        if str(turn["id"]) in asked_to_stop:
            return None
        parent = picture.turns.get(str(turn["parent_turn_id"]))
        is_orphan = parent is not None and parent["state"] in ("cancelled", "failed")
        return None if is_orphan else "nobody asked for that"
    cause = picture.turns.get(str(turn["interrupted_by"]))
    if cause is None or cause["when_busy"] not in INTERRUPTING:
        return f"turn {turn['interrupted_by']} interrupts nobody"
    if cause["thread_key"] != turn["thread_key"] or cause["arrival_seq"] < turn["arrival_seq"]:
        return f"turn {turn['interrupted_by']} did not come after it"
    return None


def _has_undecided(picture: Picture, turn: Row) -> bool:
    return any(
        call["turn_id"] == turn["id"]
        and call["decision"] in (None, "closed")
        and call["expires_at"] <= turn["finished_at"]
        for call in picture.pending_calls
    )


def _invented(picture: Picture, sent: Sent) -> Iterator[Finding]:
    known = {accepted.turn_id for accepted in sent.accepted.values()} | set(sent.by_hand)
    for turn_id, turn in picture.turns.items():
        is_sent = turn_id in known or str(turn["schedule_id"]) in sent.schedules
        if not is_sent and str(turn["parent_turn_id"] or turn["requeued_from"]) not in picture.turns:
            yield Finding(Promise.NOTHING_INVENTED, turn_id, "a turn that nobody sent")
