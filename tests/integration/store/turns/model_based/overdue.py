"""The sweep's own ends, said twice: of turns that must end, whatever workers there are."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from conversation.turn import Failed
from store.turns import unserved
from tests.integration.store.turns.model_based import children
from tests.integration.store.turns.model_based.operations import TENANT
from tests.integration.store.turns.model_based.reference import Mailbox
from tests.integration.store.turns.model_based.values import Claimed, End, Process

LIMIT = 500


@dataclass(frozen=True)
class EndOverdue:
    """End the head of a thread, if it must end."""

    thread: str
    #: Under which the sweep claims it.
    sweeper: str

    def on_store(self, connection: Connection) -> Any:
        ended = unserved.end_overdue(connection, TENANT, self.thread, sweeper=self.sweeper)
        if ended is None:
            return None
        return ended.id, ended.ending.error.kind if isinstance(ended.ending, Failed) else None

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return end_overdue(mailbox, self.thread, self.sweeper)


@dataclass(frozen=True)
class ListOverdue:
    """List the threads whose heads must end, and are held by nobody who lives."""

    def on_store(self, connection: Connection) -> Any:
        return sorted(thread for _, thread in unserved.list_overdue(connection, limit=LIMIT))

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return sorted(threads_overdue(mailbox))


def threads_overdue(mailbox: Mailbox) -> list[str]:
    heads = {name: mailbox.head(name) for name in mailbox.threads}
    return [
        name
        for name, head in heads.items()
        if head is not None
        and mailbox.must_end(head)
        and (head.runner is None or mailbox.is_abandoned(head))
        and not mailbox.is_alive(mailbox.threads[name].owner)
    ]


def end_overdue(mailbox: Mailbox, thread: str, sweeper: str) -> tuple[str, str | None] | None:
    who = Process(id=sweeper, agents=(), runs_quarantine=True)
    job = mailbox.claim(who, thread, None)
    if not isinstance(job, Claimed):
        return None
    turn = mailbox.turns[job.turn]
    kind = "failed" if job.refused else "cancelled"
    end = End(kind=kind, error=job.refused, read=turn.read)
    mailbox.settle(job, end, release=True)
    if job.may_have_children:
        children.stop(mailbox, turn.id)
    if job.parent is not None:
        # The sweep publishes what goes on with it.
        children.tell(mailbox, turn, is_published=False)
    return turn.id, job.refused
