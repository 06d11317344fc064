"""The customers: they send their tickets in order, each until it is accepted, and never twice.

What stays true: a message counts as accepted when its call returned; the next one of its thread is sent
after that, so the order of a thread is the order of its plan.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from conversation.errors import BranchInUse, MessageNotFound, OperatorError, ThreadBusy
from producers import Producer
from tests.chaos.customer import Customer
from tests.chaos.gateway_client import GatewayAway, GatewayClient
from tests.chaos.picture import Accepted
from tests.chaos.regrets import Regrets
from tests.chaos.tickets import Ticket

#: Customers who send at the same time; each has threads of its own.
SENDERS = 8
#: Seconds until one that was not accepted is sent again, and one that was refused because its thread is busy.
AGAIN_SECONDS, BUSY_SECONDS = 0.2, 0.7
#: Refusals after which a customer waits in the queue instead, and after which one gives up another answer.
QUEUE_AFTER, GIVE_UP_AFTER = 10, 20


class Load:
    """All customers together."""

    def __init__(
        self,
        producer: Producer,
        gateway: GatewayClient,
        tickets: Sequence[Ticket],
        regrets: Regrets,
        *,
        per_second: float,
    ) -> None:
        #: By the ticket's reference.
        self.accepted: dict[str, Accepted] = {}
        #: What became of calls that were not accepted, or whose answer was lost.
        self.refused: Counter[str] = Counter()
        #: Branches that were in use for too long: nothing was asked.
        self.given_up: set[str] = set()
        self.broken: list[BaseException] = []
        self._customer = Customer(producer, gateway)
        self._regrets = regrets
        self._per_second = per_second
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
        began = time.monotonic()
        try:
            for ticket in tickets:
                time.sleep(max(0.0, began + ticket.at / self._per_second - time.monotonic()))
                self._send(ticket)
        except BaseException as error:  # noqa: BLE001 - `join` raises it
            self.broken.append(error)

    def _send(self, ticket: Ticket) -> None:
        """Send a ticket until it is accepted: the same key again where nobody knows."""
        attempt = self._customer.begin(ticket)
        for _ in range(QUEUE_AFTER if attempt.can_queue else GIVE_UP_AFTER):
            accepted = self._until_known(attempt.run)
            if accepted is not None:
                self._note(ticket, accepted)
                return
            time.sleep(BUSY_SECONDS)
        if attempt.can_queue:
            queued = self._until_known(attempt.queue)
            assert queued is not None
            self._note(ticket, queued)
            return
        self.given_up.add(ticket.ref)

    def _note(self, ticket: Ticket, accepted: Accepted) -> None:
        self.accepted[ticket.ref] = accepted
        self._regrets.note(ticket, accepted.turn_id)

    def _until_known(self, call: Callable[[], Accepted]) -> Accepted | None:
        """What a call comes to; None where it was refused because something else goes on."""
        while True:
            try:
                return call()
            except (OperatorError, GatewayAway):
                self.refused["away"] += 1
                time.sleep(AGAIN_SECONDS)
            except (ThreadBusy, BranchInUse, MessageNotFound) as refusal:
                self.refused[type(refusal).__name__] += 1
                return None
