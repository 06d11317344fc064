"""Threads that were handed over: who has one answers each later message that names nobody, and none before.

What stays true: a change counts from a moment between two that are known. A turn that was stored meanwhile may be
either's; one that was stored outside of all of these is the newest one's before it. What a branch or a fork began with
is its origin's, and not followed.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.tools.agent_tool import HAND_OVER_PREFIX
from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture, Row
from tests.chaos.sent import Sent
from tests.chaos.tickets import BRIEF, DESK, GOES_ON, references

#: By so much a moment that the database's clock gave may be away from the commit that it belongs to.
TOLERANCE = timedelta(seconds=3)
ANYBODY = frozenset((DESK, BRIEF, GOES_ON))


@dataclass(frozen=True, slots=True)
class Change:
    """Who has a thread from some moment between two."""

    agent: str
    earliest: datetime
    latest: datetime


def check_hand_overs(picture: Picture, sent: Sent) -> Iterator[Finding]:
    changes = _changes(picture, sent)
    made_of_others = {thread["key"] for thread in picture.threads if _is_made_of_another(thread)}
    for ref, accepted in sent.accepted.items():
        turn = picture.turns.get(accepted.turn_id)
        if turn is None or not accepted.has_message:
            continue
        if accepted.agent is not None and turn["agent"] != accepted.agent:
            yield Finding(Promise.HANDED_OVER, ref, f"it was sent to {accepted.agent}, and is {turn['agent']}'s")
        if accepted.agent is None:
            key, at = turn["thread_key"], turn["created_at"]
            allowed = _allowed(changes[key], at, ANYBODY if key in made_of_others else {DESK})
            if turn["agent"] not in allowed:
                yield Finding(
                    Promise.HANDED_OVER, ref, f"it is {turn['agent']}'s, and {sorted(allowed)} has the thread"
                )
        yield from _called(picture, ref, accepted.turn_id, accepted.hands_over_to)


def _is_made_of_another(thread: Row) -> bool:
    """Whether it is a branch or a fork, which customers name by their ticket; it may share nothing that was said."""
    return thread["root_key"] is not None or bool(thread["lineage"] or references(thread["id"]))


def _called(picture: Picture, ref: str, turn_id: str, target: str | None) -> Iterator[Finding]:
    """A turn that was to hand its thread over, and is completed, did: or one before it that was cut off."""
    turn = picture.turns[picture.answering(turn_id)]
    if target is None or turn["state"] != "completed":
        return
    names = {call["name"] for m in picture.line(turn["thread_key"]) for call in m["tool_calls"] or ()}
    if f"{HAND_OVER_PREFIX}{target}" not in names:
        yield Finding(Promise.HANDED_OVER, ref, f"nobody handed its thread over to {target}")


def _changes(picture: Picture, sent: Sent) -> Mapping[int, list[Change]]:
    """By the key of each thread or branch."""
    changes: dict[int, list[Change]] = defaultdict(list)
    ids = {thread["key"]: thread["id"] for thread in picture.threads}
    for thread in picture.threads:
        first_id = ids.get(thread["root_key"], thread["id"])
        for one in sent.handed_over:
            # A branch that was made later has its origin's.
            if one.thread == first_id and (not _is_made_of_another(thread) or one.asked_at > thread["created_at"]):
                changes[thread["key"]].append(Change(one.agent or DESK, one.asked_at, one.answered_at))
    for turn_id, agent in _by_agents(picture).items():
        turn = picture.turns[turn_id]
        if turn["finished_at"] is not None:
            change = Change(agent, turn["finished_at"] - TOLERANCE, turn["finished_at"] + TOLERANCE)
            changes[turn["thread_key"]].append(change)
    return changes


def _by_agents(picture: Picture) -> Mapping[str, str]:
    """The agents that turns handed their threads over to: the last call of each counts."""
    targets: dict[str, str] = {}
    for step in sorted(picture.steps, key=lambda step: step["index"]):
        is_own = step["kind"] == "tool" and step["parent"] is None and step["state"] == "finished"
        if is_own and step["name"].startswith(HAND_OVER_PREFIX) and str(step["turn_id"]) in picture.turns:
            targets[str(step["turn_id"])] = step["name"].removeprefix(HAND_OVER_PREFIX)
    return targets


def _allowed(changes: Sequence[Change], at: datetime, first: AbstractSet[str]) -> AbstractSet[str]:
    """Who may have had a thread at a moment; `first` are those who may have had it from its beginning."""
    before = [one for one in changes if one.latest < at - TOLERANCE]
    meanwhile = {one.agent for one in changes if one not in before and one.earliest <= at + TOLERANCE}
    newest = {one.agent for one in before if not any(one.latest < other.earliest for other in before)}
    return (newest or first) | meanwhile
