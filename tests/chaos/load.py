"""The users: they send their tickets in order, each until it is accepted, and never twice.

What stays true: a message counts as accepted when `send` returned; the next one of its thread is sent
after that, so the order of a thread is the order of its plan.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence

from conversation.attachment import Attachment
from conversation.errors import OperatorError
from producers import Producer
from tests.chaos.picture import Accepted
from tests.chaos.tickets import Ticket

#: Users who send at the same time; each has threads of its own.
SENDERS = 4


class Load:
    """All users together."""

    def __init__(self, producer: Producer, tickets: Sequence[Ticket], per_second: float) -> None:
        #: By the ticket's reference.
        self.accepted: dict[str, Accepted] = {}
        self.refused = 0
        self.broken: list[BaseException] = []
        self._producer = producer
        self._pause_seconds = SENDERS / per_second
        shares: dict[int, list[Ticket]] = defaultdict(list)
        for ticket in tickets:
            shares[sum(ticket.thread.encode()) % SENDERS].append(ticket)
        self._threads = [
            threading.Thread(target=self._send_all, args=(share,), daemon=True) for share in shares.values()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the end of all senders, so long at most; raises what broke one of them."""
        give_up_at = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))
        if self.broken:
            raise self.broken[0]

    def _send_all(self, tickets: Sequence[Ticket]) -> None:
        try:
            for ticket in tickets:
                self._send(ticket)
                time.sleep(self._pause_seconds)
        except BaseException as error:  # noqa: BLE001 - `join` raises it
            self.broken.append(error)

    def _send(self, ticket: Ticket) -> None:
        files = [Attachment(filename="notes.txt", content=ticket.file.encode())] if ticket.file else []
        while True:
            try:
                turn = self._producer.send(ticket.thread, ticket.text, attachments=files, idempotency_key=ticket.ref)
            except OperatorError:
                # Not accepted, or nobody knows: the same key again.
                self.refused += 1
                time.sleep(0.2)
                continue
            self.accepted[ticket.ref] = Accepted(turn.id, ticket.tools, ticket.files)
            return
