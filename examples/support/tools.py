"""The tools of the support agent: some look things up, some act.

What stays true: a tool that acts checks and writes in one transaction of the ledger. `cancel_order`,
`change_address` and `transfer_to_human` find their own entry when they are run again for the same
call, so they say that they are idempotent; an exchange or a refund done twice is done twice.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from examples.support import database
from examples.support.ledger import Book, open_book
from threadmill import RunContext, tool

OrderId = Annotated[str, Field(pattern=r"^FH-\d{5}$", examples=["FH-20418"])]
CustomerId = Annotated[str, Field(pattern=r"^C-\d{4}$", examples=["C-1001"])]


class Address(BaseModel, extra="forbid"):
    """The address of a parcel."""

    street: str = Field(min_length=1)
    city: str = Field(min_length=1)
    postcode: str = Field(min_length=1)


@tool(idempotent=True, timeout_seconds=10)
def find_customer_by_email(email: str) -> dict[str, Any]:
    """Find the customer who writes.

    Args:
        email: The address that the customer gives; upper and lower case are the same.
    """
    return database.customer_by_email(email)


@tool(idempotent=True, timeout_seconds=10)
def list_orders(customer_id: CustomerId) -> list[dict[str, Any]]:
    """List a customer's orders with their status, oldest first.

    Args:
        customer_id: As `find_customer_by_email` returns it.
    """
    with open_book() as book:
        orders = database.orders_of(customer_id, book.entries())
    return [{key: o[key] for key in ("order_id", "status", "placed_on", "total_cents")} for o in orders]


@tool(idempotent=True, timeout_seconds=10)
def get_order(order_id: OrderId) -> dict[str, Any]:
    """Read one order as it stands now: items, address, tracking, refunds and exchanges.

    Args:
        order_id: The order's number.
    """
    with open_book() as book:
        return database.order(order_id, book.entries())


@tool(idempotent=True, timeout_seconds=10)
def get_product(product_id: str) -> dict[str, Any]:
    """Read a product with its variants, their prices in cents, and how many are in stock.

    Args:
        product_id: The product's id, as P-TENT.
    """
    return database.product(product_id)


@tool(idempotent=True, timeout_seconds=10)
def cancel_order(
    run: RunContext, order_id: OrderId, reason: Literal["no longer needed", "ordered by mistake"]
) -> dict[str, Any]:
    """Cancel an order that is still pending.

    Args:
        order_id: The order's number.
        reason: What the customer says.
    """
    with open_book() as book:
        if not book.has(run):
            _load_order_in_status(book, order_id, "pending")
            book.add(run, "cancel_order", order_id=order_id, reason=reason)
    return {"order_id": order_id, "status": "cancelled"}


@tool(timeout_seconds=10)
def exchange_item(run: RunContext, order_id: OrderId, item_id: str, new_item_id: str) -> dict[str, Any]:
    """Exchange an item of a delivered order for another variant of the same product.

    Args:
        order_id: The order's number.
        item_id: The item that comes back.
        new_item_id: The item that is sent instead; it has to be in stock.
    """
    with open_book() as book:
        order = _load_order_in_status(book, order_id, "delivered")
        if not any(item["item_id"] == item_id for item in order["items"]):
            raise ValueError(f"order {order_id} has no item {item_id}")
        difference = _price_difference(item_id, new_item_id)
        book.add(run, "exchange_item", order_id=order_id, item_id=item_id, new_item_id=new_item_id)
    return {"order_id": order_id, "sent_instead": new_item_id, "price_difference_cents": difference}


@tool(idempotent=True, timeout_seconds=10)
def change_address(run: RunContext, order_id: OrderId, address: Address) -> dict[str, Any]:
    """Send a pending order to another address.

    Args:
        order_id: The order's number.
        address: The whole new address.
    """
    ship_to = address.model_dump()
    with open_book() as book:
        if not book.has(run):
            _load_order_in_status(book, order_id, "pending")
            book.add(run, "change_address", order_id=order_id, address=ship_to)
    return {"order_id": order_id, "ship_to": ship_to}


@tool(timeout_seconds=10)
def refund(
    run: RunContext,
    order_id: OrderId,
    amount_cents: Annotated[int, Field(gt=0)],
    reason: Literal["arrived broken", "not in the parcel", "sent back"],
) -> dict[str, Any]:
    """Pay money back for a delivered order, to the card that paid it.

    Args:
        order_id: The order's number.
        amount_cents: At most what the order cost and was not refunded yet.
        reason: Why.
    """
    with open_book() as book:
        order = _load_order_in_status(book, order_id, "delivered")
        refundable_cents = order["total_cents"] - order.get("refunded_cents", 0)
        if amount_cents > refundable_cents:
            raise ValueError(f"at most {refundable_cents} cents of order {order_id} are left to refund")
        book.add(run, "refund", order_id=order_id, amount_cents=amount_cents, reason=reason)
    return {"order_id": order_id, "refunded_cents": amount_cents, "left_cents": refundable_cents - amount_cents}


@tool(idempotent=True, timeout_seconds=10)
def transfer_to_human(run: RunContext, summary: Annotated[str, Field(min_length=1)]) -> dict[str, Any]:
    """Hand the conversation to a person, when no other tool can help.

    Args:
        summary: What the person has to know: who asks, for what, and what was tried.
    """
    with open_book() as book:
        if not book.has(run):
            book.add(run, "transfer_to_human", summary=summary)
    return {"transferred": True}


TOOLS = (
    find_customer_by_email,
    list_orders,
    get_order,
    get_product,
    cancel_order,
    exchange_item,
    change_address,
    refund,
    transfer_to_human,
)


def _load_order_in_status(book: Book, order_id: str, status: str) -> dict[str, Any]:
    order = database.order(order_id, book.entries())
    if order["status"] != status:
        raise ValueError(f"order {order_id} is {order['status']}; this needs an order that is {status}")
    return order


def _price_difference(item_id: str, new_item_id: str) -> int:
    """In cents: what the customer pays on top, below zero what comes back."""
    product = database.product_of_item(item_id)
    variants = {variant["item_id"]: variant for variant in product["variants"]}
    if new_item_id not in variants or new_item_id == item_id:
        others = ", ".join(sorted(variants.keys() - {item_id}))
        raise ValueError(f"{item_id} can be exchanged for {others}, not for {new_item_id}")
    if not variants[new_item_id]["in_stock"]:
        raise ValueError(f"{new_item_id} is out of stock")
    return int(variants[new_item_id]["price_cents"]) - int(variants[item_id]["price_cents"])
