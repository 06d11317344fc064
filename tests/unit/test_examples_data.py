"""The example shop fits together: tickets, tools, database, files. No server and no model."""

import json
import struct
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from agent.offline.tool_commands import parse_commands, required_parameters
from agent.registry import registered_agents
from agent.tools.run_context import RunContext
from agent.tools.thread_pool import ToolThreads
from examples.support import tools
from examples.support.agent import support
from examples.support.ledger import DEFAULT_PATH, PATH_VARIABLE, ledger_entries
from examples.support.tickets import FOLDER, Action, Ticket, load_tickets, prompt

ROOT = FOLDER.parents[1]
TICKETS = load_tickets()
TABLES = json.loads((FOLDER / "database.json").read_text(encoding="utf-8"))
FILE_MAX_BYTES = 60_000
ACTING = {"cancel_order", "exchange_item", "change_address", "refund", "transfer_to_human"}

each_ticket = pytest.mark.parametrize("ticket", TICKETS, ids=lambda ticket: ticket.ticket)


@pytest.fixture(autouse=True)
def ledger_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger of this test's own."""
    path = tmp_path / "new" / "ledger.sqlite3"
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    return path


def context(call_id: str = "call-1", *, turn_id: str = "turn-1") -> RunContext:
    return RunContext(tenant="default", thread_id="thread-1", turn_id=turn_id, call_id=call_id)


async def run(action: Action, call_id: str = "call-1") -> tuple[str, Any]:
    """Run an action as the agent loop does: the outcome, and what the model reads."""
    result = await support.toolbox.run(
        action.name, json.dumps(action.arguments), context(call_id), executor=ToolThreads(1)
    )
    return result.outcome, json.loads(result.content)


def test_the_agent_is_registered_under_its_name() -> None:
    assert registered_agents()["support"] is support


def test_tickets_have_names_of_their_own() -> None:
    assert len({ticket.ticket for ticket in TICKETS}) == len(TICKETS) >= 8


def test_the_tickets_use_every_tool() -> None:
    used = {action.name for ticket in TICKETS for action in ticket.actions}

    assert used == set(support.toolbox.names)


@each_ticket
async def test_every_action_of_a_ticket_succeeds_in_order(ticket: Ticket) -> None:
    outcomes = [(action.name, *await run(action, f"call-{number}")) for number, action in enumerate(ticket.actions)]

    assert [(name, outcome) for name, outcome, _ in outcomes] == [
        (action.name, "finished") for action in ticket.actions
    ], outcomes


@each_ticket
async def test_every_action_that_acts_leaves_one_entry(ticket: Ticket) -> None:
    for number, action in enumerate(ticket.actions):
        await run(action, f"call-{number}")

    acting = [action for action in ticket.actions if action.name in ACTING]
    assert [(entry.tool, entry.arguments) for entry in ledger_entries()] == [
        (action.name, action.arguments) for action in acting
    ]


@each_ticket
def test_the_offline_model_reads_the_actions_out_of_the_prompt(ticket: Ticket) -> None:
    stages = parse_commands(prompt(ticket), required_parameters(support.toolbox.declarations()))

    assert [[(order.name, json.loads(order.arguments), order.complaint) for order in stage] for stage in stages] == [
        [(action.name, action.arguments, "")] for action in ticket.actions
    ]


@each_ticket
def test_a_prompt_begins_with_what_the_customer_wrote(ticket: Ticket) -> None:
    assert prompt(ticket).startswith(f"{ticket.message}\n")
    assert ticket.context in prompt(ticket)


@each_ticket
def test_attachments_of_a_ticket_are_there(ticket: Ticket) -> None:
    assert all(path.is_file() for path in ticket.attachments)


def test_every_order_adds_up_and_names_a_customer_and_items_that_exist() -> None:
    customers = {customer["customer_id"] for customer in TABLES["customers"]}
    items = {variant["item_id"] for product in TABLES["products"] for variant in product["variants"]}

    for order in TABLES["orders"]:
        assert order["customer_id"] in customers
        assert {item["item_id"] for item in order["items"]} <= items
        goods = sum(item["quantity"] * item["price_cents"] for item in order["items"])
        assert order["total_cents"] == goods + order["shipping_cents"]


def test_the_invoice_says_what_the_database_says() -> None:
    order = tools.get_order("FH-20418")

    text = "\n".join(page.extract_text() for page in PdfReader(FOLDER / "invoice.pdf").pages)

    assert order["order_id"] in text
    assert order["tracking"] in text
    assert "Maren Holt" in text
    assert all(item["item_id"] in text for item in order["items"])
    assert f"{order['total_cents'] / 100:.2f} EUR" in text


def test_the_label_is_a_whole_picture_of_some_size() -> None:
    chunks = png_chunks((FOLDER / "order-label.png").read_bytes())

    width, height = struct.unpack(">II", chunks["IHDR"][:8])
    assert (width, height) == (600, 900)
    assert len(set(zlib.decompress(chunks["IDAT"]))) > 10


def test_the_label_belongs_to_the_order_of_the_ticket_that_attaches_it() -> None:
    """Its words are pixels; the description inside the file was written from the same row."""
    (ticket,) = [t for t in TICKETS if FOLDER / "order-label.png" in t.attachments]
    (order_id,) = {action.arguments["order_id"] for action in ticket.actions}

    description = png_chunks((FOLDER / "order-label.png").read_bytes())["tEXt"].decode("latin-1")

    assert f"order {order_id}, tracking {tools.get_order(order_id)['tracking']}" in description


@pytest.mark.parametrize("name", ["order-label.png", "invoice.pdf"])
def test_a_generated_file_is_small(name: str) -> None:
    assert 1_000 < (FOLDER / name).stat().st_size < FILE_MAX_BYTES


def test_an_idempotent_tool_run_again_for_the_same_call_acts_once() -> None:
    first = tools.cancel_order(context(), "FH-20431", "no longer needed")

    again = tools.cancel_order(context(), "FH-20431", "no longer needed")

    assert again == first
    assert len(ledger_entries()) == 1


def test_a_refund_run_again_for_the_same_call_shows_twice() -> None:
    for _ in range(2):
        tools.refund(context(), "FH-20427", 1000, "arrived broken")

    assert [entry.call_id for entry in ledger_entries()] == ["call-1", "call-1"]


def test_the_same_call_id_in_another_turn_is_another_call() -> None:
    tools.transfer_to_human(context(turn_id="turn-1"), "One.")

    tools.transfer_to_human(context(turn_id="turn-2"), "Two.")

    assert [entry.turn_id for entry in ledger_entries()] == ["turn-1", "turn-2"]


def test_an_order_shows_what_was_done_to_it() -> None:
    tools.refund(context("a"), "FH-20418", 500, "sent back")
    tools.exchange_item(context("b"), "FH-20418", "STOVE-1", "STOVE-2")

    order = tools.get_order("FH-20418")

    assert order["refunded_cents"] == 500
    assert order["exchanges"] == [{"item_id": "STOVE-1", "new_item_id": "STOVE-2"}]


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (Action(name="cancel_order", arguments={"order_id": "FH-20425", "reason": "no longer needed"}), "shipped"),
        (Action(name="get_order", arguments={"order_id": "FH-99999"}), "no order"),
        (Action(name="get_order", arguments={"order_id": "20425"}), "order_id"),
        (Action(name="find_customer_by_email", arguments={"email": "nobody@example.com"}), "no customer"),
        (
            Action(
                name="exchange_item",
                arguments={"order_id": "FH-20418", "item_id": "TENT-GRN", "new_item_id": "TENT-ORA"},
            ),
            "out of stock",
        ),
        (
            Action(
                name="exchange_item",
                arguments={"order_id": "FH-20418", "item_id": "TENT-GRN", "new_item_id": "BOOT-41"},
            ),
            "TENT-ORA",
        ),
        (
            Action(name="refund", arguments={"order_id": "FH-20427", "amount_cents": 999_999, "reason": "sent back"}),
            "6990 cents",
        ),
    ],
)
async def test_what_the_shop_does_not_do_is_an_error_that_the_model_can_read(action: Action, said: str) -> None:
    outcome, read = await run(action)

    assert outcome == "failed"
    assert said in read["error"]["message"]
    assert ledger_entries() == []


def test_refunds_at_the_same_time_never_exceed_what_was_paid() -> None:
    """The order cost 69.90: of eight refunds of 20.00 at once, three fit."""

    def pay(number: int) -> bool:
        try:
            tools.refund(context(f"call-{number}"), "FH-20427", 2000, "sent back")
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        paid = list(pool.map(pay, range(8)))

    assert sum(paid) == 3
    assert sum(entry.arguments["amount_cents"] for entry in ledger_entries()) == 6000


def test_the_default_ledger_is_never_committed() -> None:
    ignored = subprocess.run(["git", "check-ignore", "--quiet", DEFAULT_PATH], cwd=ROOT, check=False)

    assert ignored.returncode == 0


def png_chunks(data: bytes) -> dict[str, bytes]:
    """A PNG's chunks by type, those of one type joined. Fails on a wrong checksum or a cut file."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks: dict[str, bytes] = {}
    position = 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        assert zlib.crc32(kind + body) == checksum
        chunks[kind.decode()] = chunks.get(kind.decode(), b"") + body
        position += 12 + length
    assert "IEND" in chunks
    return chunks
