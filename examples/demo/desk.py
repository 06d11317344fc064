"""The facts that the backend and the checks share: tickets, files, threads, lines."""

from pathlib import Path

from examples.support.tickets import FOLDER, Ticket

#: Tickets that are sent at once, all together.
TICKETS = ("fernhollow-01", "fernhollow-02", "fernhollow-06", "fernhollow-07", "fernhollow-08")
#: The customer of this one sends two files: a picture and a document.
TICKET_WITH_FILES = "fernhollow-07"
FILES = (FOLDER / "order-label.png", FOLDER / "invoice.pdf")
#: Sent over HTTP, and watched.
STREAMED_TICKET = "fernhollow-03"
#: Two look-ups, a refund, a new address: the worker dies behind the first of them.
INTERRUPTED_TICKET = "fernhollow-09"


def thread_id_of(run: str, ticket: str) -> str:
    """The id of a ticket's thread: the backend chooses it."""
    return f"{run}-{ticket}"


def files_of(ticket: Ticket) -> tuple[Path, ...]:
    """The files that are attached to a ticket."""
    return FILES if ticket.ticket == TICKET_WITH_FILES else ticket.attachments


def shorten(text: str, max_chars: int) -> str:
    """Any text as one line of so many characters, at most."""
    line = " ".join(text.split())
    return line if len(line) <= max_chars else f"{line[: max_chars - 3]}..."
