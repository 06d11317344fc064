"""The tickets: the requests of customers, and the calls of an agent that gets them right.

The offline model understands no English; `prompt` tells it the calls in the form that it acts on.
A real model is given `ticket.message` and `ticket.context`, and its calls are compared with `actions`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One tool call."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One request of one customer."""

    ticket: str
    message: str
    #: What the desk knows before it reads the message.
    context: str
    #: The calls that settle it, in order.
    actions: tuple[Action, ...]
    #: Files in this folder that the customer attached.
    attachments: tuple[Path, ...] = ()


def load_tickets() -> list[Ticket]:
    """All tickets, in the order of the file."""
    lines = (FOLDER / "tickets.jsonl").read_text(encoding="utf-8").splitlines()
    return [_parse_ticket(json.loads(line)) for line in lines]


def prompt(ticket: Ticket) -> str:
    """The customer's message, followed by the calls that the offline model makes for it."""
    calls = " then ".join(
        f"call {action.name} with {json.dumps(action.arguments, ensure_ascii=False)}" for action in ticket.actions
    )
    return f"{ticket.message}\n\n{ticket.context}\n\n{calls}"


def _parse_ticket(row: dict[str, Any]) -> Ticket:
    return Ticket(
        ticket=row["ticket"],
        message=row["message"],
        context=row["known"],
        actions=tuple(Action(**action) for action in row["actions"]),
        attachments=tuple(FOLDER / name for name in row.get("attachments", ())),
    )
