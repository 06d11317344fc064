"""Decisions on what turns wait for, said twice: as the store's functions, and as the model's."""

import threading
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from conversation.pending_call import Decision, DecisionKind, digest_of
from store.turns import decisions
from tests.integration.store.turns.model_based import waits
from tests.integration.store.turns.model_based.conversions import ARGUMENTS, TOOL
from tests.integration.store.turns.model_based.operations import TENANT
from tests.integration.store.turns.model_based.reference import Mailbox
from tests.integration.store.turns.model_based.values import Decided, Turn


class _Ids(threading.local):
    """The id that this thread's operation gives to the turn that it makes."""

    next = ""


ids = _Ids()


def next_id() -> str:
    """Stands for what makes up ids in the store."""
    return ids.next


@dataclass(frozen=True)
class Decide:
    turn: str
    call: str
    decided: Decided
    #: Whether it passes the digest of what was asked, or another one; None is none.
    knows_digest: bool | None = None
    #: The id of the turn that takes the call up, where its own went on without it.
    new_turn: str = ""

    def on_store(self, connection: Connection) -> Any:
        decision = Decision(kind=DecisionKind(self.decided.kind), value=self.decided.value, reason=self.decided.reason)
        digest = None if self.knows_digest is None else digest_of(TOOL, ARGUMENTS if self.knows_digest else "other")
        by = self.decided.by
        ids.next = self.new_turn
        return decisions.decide(connection, self.turn, self.call, decision, by=by, digest=digest).is_new

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        its = mailbox.turns.get(self.turn)
        taken_up = Turn(self.new_turn, "", position, "", 0)
        if its is not None:
            taken_up = replace(
                taken_up, thread=its.thread, agent=its.agent, priority=its.priority, notified_at=mailbox.now,
                requeued_from=its.id, sent_at=mailbox.now, sender=its.sender,
            )  # fmt: skip
        call = (self.turn, self.call)
        return waits.decide(mailbox, call, self.decided, knows_digest=self.knows_digest, taken_up=taken_up)


@dataclass(frozen=True)
class Adopt:
    """A library process goes on with a turn whose wait is over."""

    turn: str
    process: str

    def on_store(self, connection: Connection) -> Any:
        return decisions.adopt(connection, self.turn, TENANT, self.process)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return waits.adopt(mailbox, self.turn, self.process)
