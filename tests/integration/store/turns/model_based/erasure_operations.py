"""Erasure, said twice: as the store runs it, and as the model's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from store.blobs.memory import MemoryBlobs
from store.erasure import steps
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from tests.integration.store.turns.model_based import erasures
from tests.integration.store.turns.model_based.operations import TENANT
from tests.integration.store.turns.model_based.reference import Mailbox

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class _OneTransaction:
    """Runs each step of an erasure on one connection: who races it meets any of its statements."""

    connection: Connection

    def run(self, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return operation(self.connection, *args, **kwargs)


@dataclass(frozen=True)
class EraseThread:
    """Erase a thread, with all its branches, and the threads in which agents answered what was asked in it."""

    thread: str

    def on_store(self, connection: Connection) -> Any:
        subject = Subject(tenant=TENANT, thread_id=self.thread)
        run_erasure(_OneTransaction(connection), MemoryBlobs(), subject)
        assert not steps.is_stored(connection, subject), "something of it is left"

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        erasures.erase(mailbox, erasures.rows_of_thread(mailbox, self.thread))
