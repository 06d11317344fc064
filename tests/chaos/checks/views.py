"""What is shown: the history of each thread and branch, but for what was rolled back, which is stored all the same."""

from collections.abc import Iterator

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture, Row
from tests.chaos.sent import Sent


def check_views(picture: Picture, sent: Sent) -> Iterator[Finding]:
    for thread in picture.threads:
        shown = picture.views.get(thread["key"])
        wanted = [m["id"] for m in picture.line(thread["key"]) if not m["rolled_back"]]
        if shown is not None and list(shown) != wanted:
            told = f"{len(shown)} messages are shown of {len(wanted)} that are in view"
            yield Finding(Promise.OUT_OF_VIEW, f"thread {thread['id']}", told)
    for message in picture.messages:
        turn_id = str(message["turn_id"])
        if turn_id not in picture.turns:
            continue
        is_rolled_back = picture.turns[picture.answering(turn_id)]["rolled_back"]
        if message["rolled_back"] != is_rolled_back:
            told = f"place {message['seq']} is {'out of view' if message['rolled_back'] else 'in view'}"
            yield Finding(Promise.OUT_OF_VIEW, turn_id, told)
    yield from _gone(picture, sent)


def _gone(picture: Picture, sent: Sent) -> Iterator[Finding]:
    """What was asked stands in the history or, of what was rolled back before it began, with its turn."""
    stored = {str(m["turn_id"]) for m in picture.messages if m["role"] == "user"}
    waiting = {str(row["turn_id"]) for row in picture.inputs}
    for ref, accepted in sent.accepted.items():
        turn = picture.turns.get(accepted.turn_id)
        if turn is None or not accepted.has_message or accepted.turn_id in stored:
            continue
        if not (turn["rolled_back"] or _never_began(turn)):
            yield Finding(Promise.DURABLE, ref, "its text is in no history")
        elif accepted.turn_id not in waiting:
            yield Finding(Promise.OUT_OF_VIEW, ref, "its text is gone")


def _never_began(turn: Row) -> bool:
    """Whether it was cancelled before anybody claimed it: its text stays with it, and is no part of the history."""
    return bool(turn["state"] == "cancelled" and turn["attempt"] == 0)


def check_left_over(picture: Picture) -> Iterator[Finding]:
    for thread in picture.threads:
        if thread["lease_owner"] is not None:
            yield Finding(Promise.NO_LEASE, f"thread {thread['id']}", f"held by {thread['lease_owner']}")
    for row in picture.inputs:
        turn = picture.turns.get(str(row["turn_id"]))
        if turn is None or not (turn["rolled_back"] or _never_began(turn)):
            yield Finding(Promise.ANSWERED, str(row["turn_id"]), "its question is still in the inbox")
