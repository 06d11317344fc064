"""Erasure, said twice: as the store runs it, and as the model's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from store.blobs.memory import MemoryBlobs
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
        _erase(connection, Subject(tenant=TENANT, thread_id=self.thread))

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        erasures.erase_thread(mailbox, self.thread)


@dataclass(frozen=True)
class EraseUser:
    """Erase the threads of a user, and what the user said in those of others."""

    user: str

    def on_store(self, connection: Connection) -> Any:
        _erase(connection, Subject(tenant=TENANT, user=self.user))

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        erasures.erase_user(mailbox, self.user)


def _erase(connection: Connection, subject: Subject) -> None:
    run_erasure(_OneTransaction(connection), MemoryBlobs(), subject)
