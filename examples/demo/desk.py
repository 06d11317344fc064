"""What the backend and those who check on it agree about: tickets, files, threads, lines."""

from pathlib import Path

from examples.support.tickets import FOLDER, Ticket

#: Answered at once, all together.
TICKETS = ("fernhollow-01", "fernhollow-02", "fernhollow-06", "fernhollow-07", "fernhollow-08")
#: The customer of this one sends two files: a picture and a document.
WITH_FILES = "fernhollow-07"
FILES = (FOLDER / "order-label.png", FOLDER / "invoice.pdf")
#: Two look-ups, a refund, a new address: the worker dies behind the first of them.
INTERRUPTED = "fernhollow-09"


def thread_of(run: str, ticket: str) -> str:
    """The id of a ticket's thread: the backend chooses it."""
    return f"{run}-{ticket}"


def files_of(ticket: Ticket) -> tuple[Path, ...]:
    """What is attached to a ticket."""
    return FILES if ticket.ticket == WITH_FILES else ticket.attachments


def shortened(text: str, most: int) -> str:
    """Any text as one line of so many characters, at most."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
