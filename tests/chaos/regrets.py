"""Customers who change their minds: they cancel a turn that is queued, runs or waits, once or twice.

What stays true: who cancels tries until it is known what became of it, and what they were told is noted.
"""

import time

from conversation.errors import OperatorError
from conversation.turn import TurnState
from producers import Producer
from tests.chaos import gateway_client
from tests.chaos.gateway_client import GatewayClient
from tests.chaos.hands import Hands, try_until_known
from tests.chaos.sent import Cancelled
from tests.chaos.tickets import Regret, Ticket

#: Cancels that are under way at once.
HANDS = 8
#: Seconds for which a turn is looked at until it runs, or waits; and between two looks.
PATIENT_SECONDS, LOOK_SECONDS = 60.0, 0.2
#: The name under which customers cancel in Python.
NAME = "cora"
#: Who may have asked.
NAMES = (NAME, gateway_client.NAME)


class Regrets:
    """All cancels of a run."""

    def __init__(self, producer: Producer, gateway: GatewayClient) -> None:
        self.cancelled: list[Cancelled] = []
        self._producer, self._gateway = producer, gateway
        self._hands = Hands(HANDS)

    @property
    def is_idle(self) -> bool:
        """Whether nobody is about to cancel anything."""
        return self._hands.are_idle

    def note(self, ticket: Ticket, turn_id: str) -> None:
        """Have a ticket's turn be cancelled when its customer wants it to be."""
        if ticket.regret is not None:
            self._hands.begin(self._handle, ticket.regret, turn_id, over_http=ticket.over_http)

    def close(self) -> None:
        """Cancel nothing more; raises what broke one of them."""
        self._hands.close()

    def _handle(self, regret: Regret, turn_id: str, *, over_http: bool) -> None:
        self._wait(regret, turn_id)
        for _ in range(2 if regret is Regret.TWICE else 1):
            self.cancelled.append(
                Cancelled(turn_id, try_until_known(lambda: self._cancel(turn_id, over_http=over_http)))
            )

    def _wait(self, regret: Regret, turn_id: str) -> None:
        if regret is Regret.AT_ONCE:
            return
        moment = TurnState.WAITING if regret is Regret.WAITING else TurnState.RUNNING
        give_up_at = time.monotonic() + PATIENT_SECONDS
        while time.monotonic() < give_up_at and not self._has_come(turn_id, moment):
            time.sleep(LOOK_SECONDS)

    def _has_come(self, turn_id: str, moment: TurnState) -> bool:
        """Whether it is as it was waited for, or over: then it is cancelled all the same."""
        try:
            state = self._producer.find_turn(turn_id).state
        except OperatorError:
            return False
        return state is moment or state.is_final

    def _cancel(self, turn_id: str, *, over_http: bool) -> str:
        """Returns what the customer is told."""
        if over_http:
            return self._gateway.cancel(turn_id)
        return self._producer.find_turn(turn_id).cancel(by=NAME).value
