"""The agents that serve under fire: a support desk that looks things up and acts, as the tickets tell it.

What stays true: each write leaves its effect in the shop's table, with the arguments that it ran with; some may be
repeated, some may not, and some a person has to approve first.
"""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from agent.agent import Agent
from agent.registry import register
from agent.tools.agent_tool import hand_over_to
from agent.tools.approval import ApprovalRequest
from agent.tools.client_tool import ClientTool
from agent.tools.produced_file import ProducedFile
from agent.tools.run_context import RunContext
from agent.tools.tool import Tool
from tests.chaos.effects import Effect, leave
from tests.chaos.model import DeskModel
from tests.chaos.tickets import (
    APPROVED,
    ASKING,
    BRIEF,
    CLERK,
    CLIENT,
    DESK,
    GOES_ON,
    INVOICE,
    OF_CLERK,
    ONCE,
    READS,
    REPEATABLE,
    RESEARCH,
    TARGETS,
    invoice_of,
)

SHOP_VARIABLE = "CHAOS_SHOP_URL"
#: Seconds for which a tool goes on after its effect, when its worker may die.
LINGER_SECONDS = 0.3
#: Seconds of a look-up.
LOOK_SECONDS = 0.1
#: Seconds of one call: beyond the patience of `leave`, so that a tool that is cut off had its chance.
TOOL_SECONDS = 60
#: Seconds for which a decision is waited for: as good as for ever, and hardly longer than a person needs.
PATIENT_SECONDS, BRIEF_SECONDS = 3600.0, 6.0
#: The days among which a customer chooses.
DAYS = ("monday", "tuesday", "friday")
Details = dict[str, Any]


def _reader(name: str) -> Tool:
    async def look(ref: str, details: Details) -> str:
        """Look something up that belongs to a ticket."""
        await asyncio.sleep(LOOK_SECONDS)
        return f"{name} for {ref}: {len(details)} details"

    return Tool.from_function(look, name=name, timeout_seconds=TOOL_SECONDS, idempotent=True)


def _writer(name: str, *, repeatable: bool, needs_approval: Any = False) -> Tool:
    def act(ref: str, details: Details, context: RunContext) -> str:
        """Change something for a ticket."""
        _leave(name, {"ref": ref, "details": details}, context, repeatable=repeatable)
        return f"{name} for {ref} is done: {len(details)} details"

    return Tool.from_function(
        act, name=name, timeout_seconds=TOOL_SECONDS, idempotent=repeatable, needs_approval=needs_approval
    )


def is_for_a_ticket(request: ApprovalRequest) -> bool:
    """The rule by which accounts are closed: as good as always, but only it knows."""
    return bool(request.arguments["ref"])


def write_invoice(ref: str, details: Details, context: RunContext) -> ProducedFile:
    """Write the invoice of a ticket, and number it in the shop's books. Its number belongs to the key."""
    _leave(INVOICE, {"ref": ref, "details": details}, context, repeatable=True)
    return ProducedFile(f"invoice-{ref}.txt", invoice_of(ref).encode(), "text/plain")


def book_pickup(ref: str, details: Details, context: RunContext) -> str:
    """Ask the customer for a day, and book it."""
    day = context.ask(f"Which day for {ref}?", choices=DAYS)
    _leave(ASKING, {"ref": ref, "details": details, "answer": day}, context, repeatable=False)
    return f"{ASKING} for {ref} is done: {day}"


def _leave(name: str, arguments: dict[str, Any], context: RunContext, *, repeatable: bool) -> None:
    key = context.idempotency_key
    effect = Effect(name, repeatable, context.turn_id, context.call_id, key, arguments["ref"], arguments)
    leave(os.environ[SHOP_VARIABLE], effect)
    time.sleep(LINGER_SECONDS)


def _tools() -> list[Tool | Callable[..., Any]]:
    always, by_rule = APPROVED
    return [
        *map(_reader, READS),
        *(_writer(name, repeatable=True) for name in REPEATABLE),
        *(_writer(name, repeatable=False) for name in ONCE),
        _writer(always, repeatable=False, needs_approval=True),
        _writer(by_rule, repeatable=False, needs_approval=is_for_a_ticket),
        Tool.from_function(write_invoice, timeout_seconds=TOOL_SECONDS, idempotent=True),
        Tool.from_function(book_pickup, timeout_seconds=TOOL_SECONDS),
    ]


def _register(name: str, tools: list[Any], **options: Any) -> Agent:
    purpose, limits = "Do what the ticket asks.", {"max_turn_attempts": 100, "max_steps": 200}
    return register(Agent(name=name, purpose=purpose, tools=tools, model=DeskModel(), **limits, **options))


_research = _register(RESEARCH, [*map(_reader, READS)])
_letters, _reports, _contracts = OF_CLERK
_clerk = _register(
    CLERK,
    [
        _writer(_letters, repeatable=True),
        _writer(_reports, repeatable=False),
        _writer(_contracts, repeatable=False, needs_approval=True),
    ],
)
_OTHERS = [_research.as_tool(thread=True), _clerk.as_tool(), *map(hand_over_to, TARGETS)]
_MAP = ClientTool(
    name=CLIENT,
    parameters={
        "type": "object",
        "properties": {"ref": {"type": "string"}, "details": {"type": "object"}},
        "required": ["ref", "details"],
    },
)
for _name, _options in {
    DESK: {"wait_expire_seconds": PATIENT_SECONDS},
    BRIEF: {"wait_expire_seconds": BRIEF_SECONDS},
    GOES_ON: {"wait_expire_seconds": PATIENT_SECONDS, "when_waiting": "go_on"},
}.items():
    _register(_name, [*_tools(), *_OTHERS], client_tools=[_MAP], **_options)
