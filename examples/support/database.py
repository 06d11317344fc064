"""The shop's database: customers, products and orders, as they were when the shop opened today.

What stays true: nothing here is ever written. What the tools change is in the ledger, and an order
as it stands now is the order here with its ledger entries laid over it.
"""

import copy
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from examples.support.ledger import Entry

_PATH = Path(__file__).with_name("database.json")


@cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(_PATH.read_text(encoding="utf-8"))
    return tables


def shop() -> dict[str, str]:
    """The sender of the parcels and the invoices."""
    return dict(_tables()["shop"])


def customer_by_email(email: str) -> dict[str, Any]:
    """The customer with this address. Raises `LookupError`; the case of the address does not matter."""
    address = email.strip().lower()
    return _find_row("customers", "email", address, f"no customer has the e-mail address {email!r}")


def customer(customer_id: str) -> dict[str, Any]:
    return _find_row("customers", "customer_id", customer_id, f"there is no customer {customer_id!r}")


def product(product_id: str) -> dict[str, Any]:
    return _find_row("products", "product_id", product_id, f"there is no product {product_id!r}")


def product_of_item(item_id: str) -> dict[str, Any]:
    """The product that an item is a variant of."""
    for row in _tables()["products"]:
        if any(variant["item_id"] == item_id for variant in row["variants"]):
            return copy.deepcopy(row)
    raise LookupError(f"there is no item {item_id!r}")


def order(order_id: str, entries: Iterable[Entry] = ()) -> dict[str, Any]:
    """An order with what the ledger's entries changed in it."""
    row = _find_row("orders", "order_id", order_id, f"there is no order {order_id!r}")
    for entry in entries:
        if entry.arguments.get("order_id") == order_id:
            _change(row, entry)
    return row


def orders_of(customer_id: str, entries: Iterable[Entry] = ()) -> list[dict[str, Any]]:
    """A customer's orders, oldest first."""
    customer(customer_id)
    entries = list(entries)
    numbers = [o["order_id"] for o in _tables()["orders"] if o["customer_id"] == customer_id]
    return sorted((order(number, entries) for number in numbers), key=lambda o: str(o["placed_on"]))


def _change(order: dict[str, Any], entry: Entry) -> None:
    match entry.tool:
        case "cancel_order":
            order["status"] = "cancelled"
        case "change_address":
            order["ship_to"] = entry.arguments["address"]
        case "refund":
            order["refunded_cents"] = order.get("refunded_cents", 0) + entry.arguments["amount_cents"]
        case "exchange_item":
            exchange = {key: entry.arguments[key] for key in ("item_id", "new_item_id")}
            order.setdefault("exchanges", []).append(exchange)


def _find_row(table: str, key: str, value: str, error_text: str) -> dict[str, Any]:
    for row in _tables()[table]:
        if row[key] == value:
            return copy.deepcopy(row)
    raise LookupError(error_text)
