"""What is sent: the tickets of the example shop, made into orders that tools can be held to.

What stays true: the same seed gives the same messages on the same threads, with the same policies, the same cancels,
and the same decisions on what their tools wait for; each message carries a reference of its own, which its effects and
its answer carry, too, and asks for at least one write.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from agent.tools.agent_tool import HAND_OVER_PREFIX

#: The reference of a ticket, of a schedule's message, or of a task for another agent, wherever it stands in a text.
REFERENCE = re.compile(r"\b(?:FH|SC|AS)-\d{5}\b")
TICKETS = Path(__file__).parents[2] / "examples" / "support" / "tickets.jsonl"
#: Tools that change nothing.
READS = ("find_customer_by_email", "list_orders", "get_order", "get_product")
#: Tools that may be run again under the same key.
REPEATABLE = ("cancel_order", "change_address", "transfer_to_human")
#: Tools whose effect nobody wants twice.
ONCE = ("refund", "exchange_item")
#: Tools whose effect nobody wants twice, and which a person has to approve: always, or by a rule.
APPROVED = ("pay_out", "close_account")
#: A tool that asks the customer in its middle, and acts on the answer, once.
ASKING = "book_pickup"
#: A tool that the client runs.
CLIENT = "show_map"
#: An agent that answers in a thread of its own.
RESEARCH = "research"
#: An agent that answers in the same turn, and its tools: one may be run again under the same key, one may not, and one
#: may not either and needs an approval, for which the whole turn waits.
CLERK, SIGNED = "clerk", "sign_contract"
OF_CLERK = ("send_letter", "file_report", SIGNED)
#: Tools that have a turn wait for a decision.
DECIDED = (*APPROVED, ASKING, CLIENT)
#: Brings a file, which the worker stores.
INVOICE = "write_invoice"
#: One message in so many has a file, and as many ask for one.
FILE_EVERY = 8
#: How often a ticket that needs none is refunded all the same.
REFUND_PROBABILITY = 0.4
#: How often a ticket has tools that wait for a decision, and how often another agent is asked.
DECIDED_PROBABILITY, RESEARCH_PROBABILITY, CLERK_PROBABILITY = 0.35, 0.1, 0.15
#: How often a ticket has its thread handed over, and how often its customer wants it to be stopped.
HAND_OVER_PROBABILITY, REGRET_PROBABILITY = 0.12, 0.12
#: How often a ticket goes through the gateway.
HTTP_PROBABILITY = 0.3
#: Messages that a customer sends one soon after the other, and the share of the usual pause between two of them.
BURST_SIZES, BURST_PAUSE = (1, 1, 2, 3, 4), 0.1

#: The policies of messages, each as often as it stands here; None takes the thread's, which is to wait.
POLICIES = (None, None, None, "enqueue", "reject", "interrupt", "rollback", "merge", "merge", "merge", "steer", "steer")
#: Agents with the same tools: the first has its thread wait for decisions for long, the second for a moment, and the
#: third goes on without them.
DESK, BRIEF, GOES_ON = "desk", "brief_desk", "hasty_desk"
#: None names no agent: whoever has the thread answers, the first of them if it was handed to nobody.
AGENTS = (DESK, DESK, BRIEF, GOES_ON, None, None)
#: Those that a thread is handed over to by agents.
TARGETS = (BRIEF, GOES_ON)
#: The tools by which they do.
HAND_OVERS = tuple(f"{HAND_OVER_PREFIX}{target}" for target in TARGETS)


class Verb(StrEnum):
    """What a customer does."""

    SEND = "send"
    #: Asks for another answer to the last question.
    REGENERATE = "regenerate"
    #: Puts the ticket in the place of an earlier one.
    EDIT = "edit"
    #: Goes on with the ticket in a new thread that shares the history.
    FORK = "fork"
    #: Goes back to another branch, and sends the ticket there.
    RETURN = "return"


VERBS = (*[Verb.SEND] * 18, Verb.REGENERATE, Verb.REGENERATE, Verb.EDIT, Verb.EDIT, Verb.FORK, Verb.RETURN)


class Regret(StrEnum):
    """When a customer asks for a turn to be stopped."""

    AT_ONCE = "as soon as it is sent"
    RUNNING = "while it runs"
    TWICE = "while it runs, twice"
    WAITING = "while it waits"


class Fate(StrEnum):
    """What people decide on a call that waits."""

    AGREE = "agreed"
    LATE = "agreed late"
    TWICE = "agreed twice"
    TWO_AT_ONCE = "decided by two at once"
    DENY = "denied"
    CHANGE = "agreed, with other arguments"
    WRONG_DIGEST = "agreed, after other arguments were"
    #: About when the wait is over: it may be too late.
    MEET = "agreed at the last moment"
    #: Nobody decides.
    NEVER = "not decided"


#: The fates of a call of each agent: what nobody decides may hold up a thread for a moment alone.
_FATES = (Fate.AGREE, Fate.LATE, Fate.TWICE, Fate.TWO_AT_ONCE, Fate.DENY, Fate.CHANGE, Fate.WRONG_DIGEST)
FATES: Mapping[str, Sequence[Fate]] = {
    DESK: _FATES,
    BRIEF: (*_FATES, Fate.MEET, Fate.MEET, Fate.NEVER, Fate.NEVER),
    GOES_ON: (*_FATES, Fate.NEVER),
}


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
    verb: Verb = Verb.SEND
    #: None names none.
    agent: str | None = DESK
    when_busy: str | None = None
    merge_window: float = 0
    over_http: bool = False
    #: When it is sent at the soonest: after so many of the usual pauses.
    at: float = 0
    #: What is decided on its calls, by their tools.
    fates: Mapping[str, Fate] = field(default_factory=dict)
    #: The agent that its thread is handed over to, if it asks for that.
    hands_over_to: str | None = None
    #: When it is cancelled, if it is.
    regret: Regret | None = None

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


def references(text: str) -> list[str]:
    """The references in a text, each once."""
    return list(dict.fromkeys(REFERENCE.findall(text)))


def plan(count: int, threads: int, randomness: random.Random) -> Sequence[Ticket]:
    """So many messages over so many threads, in the order in which each thread's are sent."""
    known = [json.loads(line) for line in TICKETS.read_text().splitlines()]
    begun: set[str] = set()
    tickets: list[Ticket] = []
    for number, place in enumerate(_places(count, threads, randomness)):
        verb = randomness.choice(VERBS) if place.thread in begun else Verb.SEND
        tickets.append(_ticket(number, place, verb, randomness.choice(known), randomness))
        begun.add(place.thread)
    return tickets


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a message is sent, to whom, and when."""

    thread: str
    agent: str | None
    at: float


def _places(count: int, threads: int, randomness: random.Random) -> Iterator[_Place]:
    """The place of each message: people write several at once, to one agent, and then wait."""
    begun = 0
    while begun < count:
        thread, agent = f"customer-{randomness.randrange(threads)}", randomness.choice(AGENTS)
        size = min(count - begun, randomness.choice(BURST_SIZES))
        yield from (_Place(thread, agent, begun + BURST_PAUSE * number) for number in range(size))
        begun += size


def _ticket(number: int, place: _Place, verb: Verb, known: dict[str, Any], randomness: random.Random) -> Ticket:
    ref, when_busy = f"FH-{number:05d}", randomness.choice(POLICIES)
    details = {action["name"]: action["arguments"] for action in known["actions"]}
    stages = _stages(number, details, randomness)
    target = randomness.choice(TARGETS) if randomness.random() < HAND_OVER_PROBABILITY else None
    tools = () if verb is Verb.REGENERATE else tuple(name for stage in stages for name in stage)
    has_file = number % FILE_EVERY == 0 and verb is not Verb.REGENERATE
    return Ticket(
        ref,
        place.thread,
        text=f"Ticket {ref}: {known['message']} Please {_orders(ref, stages, details, target)}.",
        tools=tools,
        file=f"Notes on {ref}, number {randomness.random()}." if has_file else "",
        verb=verb,
        agent=place.agent,
        when_busy=when_busy if verb in (Verb.SEND, Verb.FORK, Verb.RETURN) else None,
        merge_window=randomness.choice((0, 0.5)) if when_busy == "merge" else 0,
        over_http=not has_file and randomness.random() < HTTP_PROBABILITY,
        at=place.at,
        fates=_fates(tools, place.agent or DESK, randomness),
        hands_over_to=None if verb is Verb.REGENERATE else target,
        regret=_regret(tools, randomness) if randomness.random() < REGRET_PROBABILITY else None,
    )


def _fates(tools: Sequence[str], agent: str, randomness: random.Random) -> Mapping[str, Fate]:
    fates = {name: randomness.choice(FATES[agent]) for name in tools if name in DECIDED}
    # Whoever called the agent, the turn waits for this one.
    return fates | ({SIGNED: randomness.choice(_FATES)} if CLERK in tools else {})


def _regret(tools: Iterable[str], randomness: random.Random) -> Regret:
    if any(name in (*DECIDED, CLERK) for name in tools):
        return Regret.WAITING
    return randomness.choice((Regret.AT_ONCE, Regret.RUNNING, Regret.RUNNING, Regret.TWICE))


def _stages(number: int, details: Mapping[str, Any], randomness: random.Random) -> list[Sequence[str]]:
    """The tools of a ticket: those that look, those that write, and perhaps some that somebody has to decide on."""
    reads = [name for name in details if name in READS]
    writes = [name for name in details if name not in READS]
    if not writes or ("refund" not in writes and randomness.random() < REFUND_PROBABILITY):
        writes.append("refund")
    if number % FILE_EVERY == FILE_EVERY // 2:
        writes.append(INVOICE)
    if randomness.random() < RESEARCH_PROBABILITY:
        reads.append(RESEARCH)
    if randomness.random() < CLERK_PROBABILITY:
        writes.append(CLERK)
    decided: list[str] = []
    if randomness.random() < DECIDED_PROBABILITY:
        decided = randomness.sample(DECIDED, k=randomness.choice((1, 1, 2)))
    randomness.shuffle(writes)
    # Some are asked about beside what is simply done, the others after that.
    if decided and randomness.random() < 1 / 2:
        writes, decided = [*writes, *decided], []
    return [stage for stage in (reads, writes, decided) if stage]


def _orders(ref: str, stages: Iterable[Sequence[str]], details: dict[str, Any], hands_over_to: str | None) -> str:
    """The orders as the model reads them: the calls of a stage together, stage by stage."""

    def order(name: str) -> str:
        arguments = {"ref": ref, "details": details.get(name, {})}
        if name in (RESEARCH, CLERK):
            arguments = {"request": _task(ref, OF_CLERK if name == CLERK else ("get_product",))}
        return f"call {name} with {json.dumps(arguments)}"

    orders = [" and ".join(map(order, stage)) for stage in stages]
    if hands_over_to is not None:
        orders.append(f"call {HAND_OVER_PREFIX}{hands_over_to} with {{}}")
    return ", then ".join(orders)


def _task(ref: str, tools: Sequence[str]) -> str:
    """What another agent is asked, under a reference of its own."""
    task_ref = ref.replace("FH", "AS")
    arguments = json.dumps({"ref": task_ref, "details": {}})
    return f"Task {task_ref}: {' and '.join(f'call {name} with {arguments}' for name in tools)}."


def ticket_of(ref: str) -> str:
    """The reference of the ticket that a task belongs to; another reference is its own."""
    return ref.replace("AS", "FH")
