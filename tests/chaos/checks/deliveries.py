"""Webhooks: each event of a turn was written once, was delivered at least once, and in the order of its thread."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture
from tests.chaos.sent import Sent

#: States of which a webhook is told.
ENDS = ("completed", "failed", "cancelled")


def check_deliveries(picture: Picture, sent: Sent) -> Iterator[Finding]:
    first: dict[str, int] = {}
    bodies: dict[str, set[str]] = defaultdict(set)
    for place, receipt in enumerate(sent.receipts):
        first.setdefault(receipt.delivery_id, place)
        bodies[receipt.delivery_id].add(receipt.body)
    newest: dict[int, int] = defaultdict(lambda: -1)
    for row in picture.deliveries:
        delivery_id, where = str(row["id"]), f"{row['kind']} of turn {row['turn_id']}"
        if delivery_id not in first or row["state"] != "delivered":
            yield Finding(Promise.TOLD, where, f"it is {row['state']}, came {len(bodies[delivery_id])} times")
            continue
        if len(bodies[delivery_id]) != 1:
            yield Finding(Promise.TOLD, where, "it came in several wordings")
        if first[delivery_id] < newest[row["thread_key"]]:
            yield Finding(Promise.TOLD, where, "it came before what happened before it")
        newest[row["thread_key"]] = max(newest[row["thread_key"]], first[delivery_id])
    for delivery_id in first.keys() - {str(row["id"]) for row in picture.deliveries}:
        yield Finding(Promise.TOLD, delivery_id, "nobody sent it")
    if sent.forged:
        yield Finding(Promise.TOLD, "the receiver", f"{sent.forged} requests were not signed")
    yield from _written(picture)


def _written(picture: Picture) -> Iterator[Finding]:
    """What happened was written, and nothing else."""
    if not picture.deliveries:
        return
    written = Counter((str(row["turn_id"]), row["kind"]) for row in picture.deliveries)
    for turn_id, turn in picture.turns.items():
        for state in ENDS:
            if written[turn_id, f"turn.{state}"] != (turn["state"] == state):
                told = f"{written[turn_id, f'turn.{state}']} times turn.{state}, and it is {turn['state']}"
                yield Finding(Promise.TOLD, turn_id, told)
    roots = Counter(t["root_key"] for t in picture.threads if t["branch_origin"] in ("regenerate", "edit"))
    switched = Counter(row["thread_key"] for row in picture.deliveries if row["kind"] == "thread.switched")
    for key, count in roots.items():
        if switched[key] < count:
            yield Finding(Promise.TOLD, f"thread {key}", f"{switched[key]} switches told, to {count} new branches")
