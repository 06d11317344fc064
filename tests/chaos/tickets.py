"""What is sent: the tickets of the example shop, made into orders that tools can be held to.

What stays true: the same seed gives the same messages on the same threads; each message carries a
reference of its own, which its effects and its answer carry, too.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TICKETS = Path(__file__).parents[2] / "examples" / "support" / "tickets.jsonl"
#: One message in so many has a file.
FILE_EVERY = 12


@dataclass(frozen=True, slots=True)
class Ticket:
    """One message."""

    ref: str
    thread: str
    text: str
    #: The text of an attached file; "" for none.
    file: str = ""


def plan(count: int, threads: int, randomness: random.Random) -> Sequence[Ticket]:
    """So many messages over so many threads, in the order in which each thread's are sent."""
    said = [json.loads(line)["message"] for line in TICKETS.read_text().splitlines()]
    return [_ticket(number, threads, randomness.choice(said), randomness) for number in range(count)]


def _ticket(number: int, threads: int, said: str, randomness: random.Random) -> Ticket:
    ref = f"FH-{number:05d}"
    order = json.dumps({"ref": ref})
    stages = [f"call look_up with {order}"] if randomness.random() < 0.5 else []
    writes = randomness.sample(["charge", "reserve"], k=randomness.choice([1, 1, 2]))
    stages.append(" and ".join(f"call {name} with {order}" for name in writes))
    text = f"Ticket {ref}: {said} Please {', then '.join(stages)}."
    file = f"Notes on {ref}, number {randomness.random()}." if number % FILE_EVERY == 0 else ""
    return Ticket(ref, f"customer-{randomness.randrange(threads)}", text, file)
