"""Decisions on what turns wait for, said twice: as the store's functions, and as the model's."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from conversation.pending_call import Decision, DecisionKind, digest_of
from store.turns import decisions
from tests.integration.store.turns.model_based import waits
from tests.integration.store.turns.model_based.conversions import ARGUMENTS, TOOL
from tests.integration.store.turns.model_based.operations import TENANT
from tests.integration.store.turns.model_based.reference import Mailbox
from tests.integration.store.turns.model_based.values import Decided


@dataclass(frozen=True)
class Decide:
    turn: str
    call: str
    decided: Decided
    #: Whether it passes the digest of what was asked, or another one; None is none.
    knows_digest: bool | None = None

    def on_store(self, connection: Connection) -> Any:
        decision = Decision(kind=DecisionKind(self.decided.kind), value=self.decided.value, reason=self.decided.reason)
        digest = None if self.knows_digest is None else digest_of(TOOL, ARGUMENTS if self.knows_digest else "other")
        by = self.decided.by
        return decisions.decide(connection, self.turn, self.call, decision, by=by, digest=digest).is_new

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return waits.decide(mailbox, self.turn, self.call, self.decided, knows_digest=self.knows_digest)


@dataclass(frozen=True)
class Adopt:
    """A library process goes on with a turn whose wait is over."""

    turn: str
    process: str

    def on_store(self, connection: Connection) -> Any:
        return decisions.adopt(connection, self.turn, TENANT, self.process)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return waits.adopt(mailbox, self.turn, self.process)
