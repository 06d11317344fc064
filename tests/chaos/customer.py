"""What a customer does with a ticket: sends it, puts it in the place of another one, asks again, goes elsewhere.

What stays true: what was asked once is asked again in the same words under the same key, whatever became of the answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from conversation.attachment import Attachment
from conversation.branch_address import MAIN
from conversation.errors import InvalidInput, MessageNotFound
from producers import Producer
from producers.turn import Turn
from store.threads import forks
from tests.chaos.gateway_client import GatewayClient
from tests.chaos.picture import Accepted
from tests.chaos.tickets import Ticket, Verb, references

TENANT = "default"


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer's ways to the installation."""

    producer: Producer
    gateway: GatewayClient

    def begin(self, ticket: Ticket) -> "Attempt":
        return Attempt(self, ticket)


@dataclass(slots=True)
class Attempt:
    """The attempts at one ticket. What was chosen for one is kept for the next."""

    customer: Customer
    ticket: Ticket
    #: The message in whose place the ticket is put, once it was chosen.
    edited_id: str | None = None
    #: The thread that it goes to, once that is there.
    thread: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def can_queue(self) -> bool:
        """Whether it can wait in the queue, where its thread is busy for too long."""
        return self.ticket.verb not in (Verb.REGENERATE, Verb.EDIT)

    def queue(self) -> Accepted:
        """Send it to wait in the queue. It was refused before: nothing of it is stored."""
        self.ticket = replace(self.ticket, when_busy="enqueue")
        return self.run()

    def run(self) -> Accepted:
        """Try once. Raises what the installation says."""
        turn_id = self._VERBS[self.ticket.verb](self)
        has_message = self.ticket.verb is not Verb.REGENERATE
        return Accepted(
            turn_id,
            self.ticket.tools,
            self.ticket.files,
            when_busy=self.ticket.when_busy,
            has_message=has_message,
            agent=self.ticket.agent,
            hands_over_to=self.ticket.hands_over_to,
        )

    def _send(self) -> str:
        return self._send_to(self.ticket.thread)

    def _fork(self) -> str:
        """Go on in a thread of its own, from somewhere in the history."""
        if self.thread is None:
            new_id = f"{self.ticket.thread}-{self.ticket.ref}"
            self._fork_to(new_id)
            self.thread = new_id
        return self._send_to(self.thread)

    def _fork_to(self, new_id: str) -> None:
        database, origin = self.customer.producer.database, self.ticket.thread
        messages = self.customer.producer.read_thread(origin, last=20).messages
        # Where a turn began, in most cases: the last question there has its answer in the old thread alone.
        places = [message.seq for message in messages if message.role == "user"]
        try:
            database.run(forks.fork, TENANT, origin, new_id, at=places[-1] if places else None)
        except InvalidInput as error:
            # The answer to an earlier attempt was lost.
            if error.field != "new_thread_id":
                raise

    def _return(self) -> str:
        """Go back to a branch, the first one or another, and send there."""
        if self.thread is None:
            others = [each.id for each in self.customer.producer.branches.list(self.ticket.thread)]
            self.customer.producer.branches.choose(self.ticket.thread, others[len(others) // 2] if others else MAIN)
            self.thread = self.ticket.thread
        return self._send_to(self.thread)

    def _regenerate(self) -> str:
        if self.ticket.over_http:
            return self.customer.gateway.regenerate(self.ticket)
        return self.customer.producer.branches.regenerate(self.ticket.thread, idempotency_key=self.ticket.ref).id

    def _edit(self) -> str:
        if self.edited_id is None:
            self.edited_id = self._choose_message()
        edit = partial(self.customer.producer.branches.edit_message, self.ticket.thread, self.edited_id)
        try:
            turn: Turn = edit(self.ticket.text, **self._options())
        except MessageNotFound:
            # It was taken out of view in the meantime.
            self.edited_id = None
            raise
        return turn.id

    def _choose_message(self) -> str:
        messages = self.customer.producer.read_thread(self.ticket.thread, last=20).messages
        asked = [message for message in messages if message.role == "user" and references(message.content)]
        if not asked:
            raise MessageNotFound("nothing was asked yet")
        return asked[len(asked) // 2].id

    def _send_to(self, thread: str) -> str:
        if self.ticket.over_http:
            return self.customer.gateway.send(thread, self.ticket)
        options = self._options() | {"when_busy": self.ticket.when_busy, "merge_window": self.ticket.merge_window}
        return self.customer.producer.send(thread, self.ticket.text, **options).id

    def _options(self) -> dict[str, Any]:
        ticket = self.ticket
        files = [Attachment(filename="notes.txt", content=ticket.file.encode())] if ticket.file else None
        return {"agent": ticket.agent, "attachments": files, "idempotency_key": ticket.ref}

    _VERBS: ClassVar[Mapping[Verb, Callable[["Attempt"], str]]] = {
        Verb.SEND: _send,
        Verb.REGENERATE: _regenerate,
        Verb.EDIT: _edit,
        Verb.FORK: _fork,
        Verb.RETURN: _return,
    }
