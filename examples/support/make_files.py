"""Draw order-label.png and invoice.pdf from the database, so that what they say is what the tools answer.

Run it after a change of database.json and commit what it writes. It needs two packages that
nothing else here uses:

    uv run --no-project --with pillow --with reportlab python -m examples.support.make_files
"""

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from reportlab.graphics.barcode.code128 import Code128
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table

from examples.support import database

FOLDER = Path(__file__).parent
#: The parcel whose label a customer photographed, and the order whose invoice another one attached.
LABEL_ORDER = "FH-20427"
INVOICE_ORDER = "FH-20418"

#: Pixels: a 100 x 150 mm label at about 150 dots an inch.
LABEL_SIZE = (600, 900)
MARGIN = 36


def main() -> None:
    draw_label(FOLDER / "order-label.png")
    write_invoice(FOLDER / "invoice.pdf")
    for name in ("order-label.png", "invoice.pdf"):
        print(name, (FOLDER / name).stat().st_size, "bytes")


def draw_label(path: Path) -> None:
    """A shipping label: sender, addressee, a real Code 128 of the tracking number."""
    order = database.order(LABEL_ORDER)
    image = Image.new("L", LABEL_SIZE, 255)
    draw = ImageDraw.Draw(image)
    width, height = LABEL_SIZE
    draw.rectangle((12, 12, width - 12, height - 12), outline=0, width=4)
    _draw_lines(draw, 40, 24, "FROM", *_address_lines(database.shop()))
    draw.line((12, 240, width - 12, 240), fill=0, width=4)
    _draw_lines(draw, 264, 28, "TO", *_addressee_lines(order))
    draw.line((12, 500, width - 12, 500), fill=0, width=4)
    _draw_lines(draw, 524, 26, f"ORDER  {order['order_id']}", f"TRACKING  {order['tracking']}")
    _draw_bars(draw, order["tracking"].replace(" ", ""), top=640, bottom=850)
    metadata = PngInfo()
    metadata.add_text("Description", f"Shipping label: order {order['order_id']}, tracking {order['tracking']}")
    # Sixteen shades are enough for black text with smooth edges.
    image.quantize(16).save(path, optimize=True, pnginfo=metadata)


def write_invoice(path: Path) -> None:
    """A page of text, not a picture of one: whoever extracts it finds every number."""
    order = database.order(INVOICE_ORDER)
    styles = getSampleStyleSheet()
    story = [
        Paragraph(f"Invoice for order {order['order_id']}", styles["Title"]),
        Paragraph("<br/>".join(_address_lines(database.shop())), styles["Normal"]),
        Spacer(0, 8 * mm),
        Paragraph("<b>Billed to</b><br/>" + "<br/>".join(_addressee_lines(order)), styles["Normal"]),
        Spacer(0, 4 * mm),
        Paragraph(f"Date: {order['placed_on']}<br/>Tracking: {order['tracking']}", styles["Normal"]),
        Spacer(0, 8 * mm),
        _items_table(order),
        Spacer(0, 8 * mm),
        Paragraph("Paid by card. Returns within 60 days; keep this page.", styles["Normal"]),
    ]
    SimpleDocTemplate(
        str(path), pagesize=A4, title=f"Invoice {order['order_id']}", author="Fernhollow Outfitters", invariant=1
    ).build(story)


def _items_table(order: dict[str, Any]) -> Table:
    rows = [["Item", "", "Quantity", "Price", "Amount"]]
    for item in order["items"]:
        name = database.product_of_item(item["item_id"])["name"]
        price = item["price_cents"]
        rows.append([item["item_id"], name, str(item["quantity"]), _euros(price), _euros(price * item["quantity"])])
    rows.append(["", "Shipping", "", "", _euros(order["shipping_cents"])])
    rows.append(["", "Total", "", "", _euros(order["total_cents"])])
    style = [
        ("ALIGN", (2, 0), (-1, -1), "RIGHT"),
        ("LINEBELOW", (0, 0), (-1, 0), 1, colors.black),
        ("LINEABOVE", (0, -1), (-1, -1), 1, colors.black),
        ("FONTNAME", (0, -1), (-1, -1), "Helvetica-Bold"),
    ]
    return Table(rows, colWidths=[28 * mm, 62 * mm, 22 * mm, 28 * mm, 28 * mm], style=style)


def _draw_lines(draw: ImageDraw.ImageDraw, top: int, size: int, *lines: str) -> None:
    font = ImageFont.load_default(size)
    for number, line in enumerate(lines):
        draw.text((MARGIN, top + number * (size + 12)), line, font=font, fill=0)


def _draw_bars(draw: ImageDraw.ImageDraw, text: str, *, top: int, bottom: int) -> None:
    """Draw what reportlab encodes: a letter is as wide as its place in the alphabet, a bar if upper case."""
    code = Code128(text)
    code.validate()
    code.encode()
    code.decompose()
    widths = [(ord(mark.lower()) - ord("a") + 1, mark.isupper()) for mark in code.decomposed]
    module = (LABEL_SIZE[0] - 2 * MARGIN) // sum(width for width, _ in widths)
    left = (LABEL_SIZE[0] - module * sum(width for width, _ in widths)) // 2
    for width, is_bar in widths:
        if is_bar:
            draw.rectangle((left, top, left + width * module - 1, bottom), fill=0)
        left += width * module


def _address_lines(address: dict[str, str]) -> list[str]:
    return [address["name"], address["street"], f"{address['postcode']} {address['city']}"]


def _addressee_lines(order: dict[str, Any]) -> list[str]:
    name = database.customer(order["customer_id"])["name"]
    return _address_lines({"name": name, **order["ship_to"]})


def _euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d} EUR"


if __name__ == "__main__":
    main()
