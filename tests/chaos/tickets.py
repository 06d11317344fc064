"""What is sent: the tickets of the example shop, made into orders that tools can be held to.

What stays true: the same seed gives the same messages on the same threads; each message carries a
reference of its own, which its effects and its answer carry, too, and asks for at least one write.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKETS = Path(__file__).parents[2] / "examples" / "support" / "tickets.jsonl"
#: Tools that change nothing.
READS = ("find_customer_by_email", "list_orders", "get_order", "get_product")
#: Tools that may be run again under the same key.
REPEATABLE = ("cancel_order", "change_address", "transfer_to_human")
#: Tools whose effect nobody wants twice.
ONCE = ("refund", "exchange_item")
#: Brings a file, which the worker stores.
INVOICE = "write_invoice"
#: One message in so many has a file, and as many ask for one.
FILE_EVERY = 8
#: How often a ticket that needs none is refunded all the same.
REFUND_PROBABILITY = 0.4


@dataclass(frozen=True, slots=True)
class Ticket:
    """One message."""

    ref: str
    thread: str
    text: str
    #: The tools that it asks for, each once.
    tools: tuple[str, ...]
    #: The text of an attached file; "" for none.
    file: str = ""

    @property
    def files(self) -> frozenset[str]:
        """SHA-256 of each file that its thread has to hold in the end, if its tools come to their end."""
        invoice = [invoice_of(self.ref)] if INVOICE in self.tools else []
        return frozenset(map(digest_of, [*([self.file] if self.file else []), *invoice]))


def invoice_of(ref: str) -> str:
    """What stands in an invoice: the same each time that it is written."""
    return f"Invoice for {ref}.\n"


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def plan(count: int, threads: int, randomness: random.Random) -> Sequence[Ticket]:
    """So many messages over so many threads, in the order in which each thread's are sent."""
    known = [json.loads(line) for line in TICKETS.read_text().splitlines()]
    return [_ticket(number, threads, randomness.choice(known), randomness) for number in range(count)]


def _ticket(number: int, threads: int, known: dict[str, Any], randomness: random.Random) -> Ticket:
    ref = f"FH-{number:05d}"
    details = {action["name"]: action["arguments"] for action in known["actions"]}
    reads = [name for name in details if name in READS]
    writes = [name for name in details if name not in READS]
    if not writes or ("refund" not in writes and randomness.random() < REFUND_PROBABILITY):
        writes.append("refund")
    if number % FILE_EVERY == FILE_EVERY // 2:
        writes.append(INVOICE)
    randomness.shuffle(writes)
    text = f"Ticket {ref}: {known['message']} Please {_orders(ref, (reads, writes), details)}."
    file = f"Notes on {ref}, number {randomness.random()}." if number % FILE_EVERY == 0 else ""
    return Ticket(ref, f"customer-{randomness.randrange(threads)}", text, (*reads, *writes), file)


def _orders(ref: str, stages: Iterable[Sequence[str]], details: dict[str, Any]) -> str:
    """The orders as the offline model reads them: the calls of a stage together, stage by stage."""

    def order(name: str) -> str:
        return f"call {name} with {json.dumps({'ref': ref, 'details': details.get(name, {})})}"

    return ", then ".join(" and ".join(map(order, stage)) for stage in stages if stage)
