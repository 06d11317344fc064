"""The functions of this package, on the producer of this process, created with the first message."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from datetime import datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack

from conversation.attachment import Attachment
from conversation.events import ThreadEvent
from conversation.parts import Content
from conversation.thread import Thread
from conversation.turn import TurnState
from conversation.validation import check_tenant
from producers.producer import Producer
from producers.requeue_report import RequeueReport
from producers.send_options import SendKeywords
from producers.turn import AsyncTurn, Turn
from store.turns import pending_listing
from store.turns.bulk_requeue import RequeueFilter
from store.turns.pending_listing import PendingPage

if TYPE_CHECKING:
    from producers.caller_transaction import AsyncCallerConnection
    from producers.uploads import Upload
    from store.database.caller_connection import CallerConnection
    from store.turns.thread_turns import TurnPage

P = ParamSpec("P")
T = TypeVar("T")

_default: Producer | None = None
_default_lock = threading.Lock()


def move_to_thread(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make the twin of a function for an event loop: it runs in another thread."""

    @wraps(function)
    async def run_in_thread(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    return run_in_thread


def warm_up() -> None:
    """Connect to the database and the broker before the first message: when a backend starts.

    A server that is away is no error here: it is connected to when it is needed.
    """
    default_producer().warm_up()


async def warm_up_async() -> None:
    """As `warm_up`, on the event loop: in a lifespan hook."""
    await default_producer().warm_up_async()


def send_message(
    thread_id: str, content: Content, *, connection: "CallerConnection | None" = None, **options: Unpack[SendKeywords]
) -> Turn:
    """Store what a user wrote, with the turn that answers it, and notify a worker.

    When this returns, both are committed. With `connection` (a Core connection, an ORM session, a
    raw psycopg connection) both are part of the caller's transaction instead, and no wake-up
    goes out: call `turn.notify()` after the commit, use `producers.sqlalchemy_orm` or `producers.django`, or
    leave it to the sweep.

    `options` are the fields of `SendOptions`.

    Raises `InvalidInput`, `FileRejected`, `UnknownAgent`, `BranchNotFound`, `ThreadBusy` (by the policy `reject`),
    `IdempotencyConflict` and `LimitReached` for what the caller can fix, `DatabaseUnavailable` and
    `FileStoreUnavailable` where nothing was accepted. A broker that is away raises nothing: the sweep notifies later.
    """
    return default_producer().send(thread_id, content, connection=connection, **options)


async def send_message_async(
    thread_id: str,
    content: Content,
    *,
    connection: "AsyncCallerConnection | None" = None,
    **options: Unpack[SendKeywords],
) -> AsyncTurn:
    """As `send_message`; `connection` is an `AsyncConnection` or an `AsyncSession`."""
    return await default_producer().send_async(thread_id, content, connection=connection, **options)


def find_turn(turn_id: str, *, tenant: str | None = "default") -> Turn:
    """The handle of a turn that was sent before, perhaps by another process. Raises `TurnNotFound`.

    A turn of another tenant than `tenant` is not there. With None, turns of all tenants are found: compare
    `turn.tenant` before you show it to a user.
    """
    return default_producer().find_turn(turn_id, tenant=tenant)


async def find_turn_async(turn_id: str, *, tenant: str | None = "default") -> AsyncTurn:
    """As `find_turn`, on the event loop."""
    return await default_producer().find_turn_async(turn_id, tenant=tenant)


def list_turns(thread_id: str, *, tenant: str = "default", limit: int = 50, cursor: str | None = None) -> "TurnPage":
    """The turns of a thread, the newest first: a page of at most `limit`, and `next_cursor` for the next one.

    Raises `ThreadNotFound`, `InvalidInput` and `DatabaseUnavailable`.
    """
    return default_producer().list_turns(thread_id, tenant=tenant, limit=limit, cursor=cursor)


async def list_turns_async(
    thread_id: str, *, tenant: str = "default", limit: int = 50, cursor: str | None = None
) -> "TurnPage":
    """As `list_turns`, on the event loop."""
    return await default_producer().list_turns_async(thread_id, tenant=tenant, limit=limit, cursor=cursor)


def read_thread(thread_id: str, *, branch: str | None = None, tenant: str = "default", last: int | None = 50) -> Thread:
    """A thread to show to its users: its `last` messages, or all with None, and those that are `pending`.

    Of the branch that is chosen, or of `branch`. Raises `ThreadNotFound`, `BranchNotFound`, `InvalidInput` and
    `DatabaseUnavailable`.
    """
    return default_producer().read_thread(thread_id, branch=branch, tenant=tenant, last=last)


async def read_thread_async(
    thread_id: str, *, branch: str | None = None, tenant: str = "default", last: int | None = 50
) -> Thread:
    """As `read_thread`, on the event loop."""
    return await default_producer().read_thread_async(thread_id, branch=branch, tenant=tenant, last=last)


def thread_events(
    thread_id: str, *, branch: str | None = None, tenant: str = "default", after: int = 0
) -> Iterator[ThreadEvent]:
    """The events of a thread, as they happen, without end: what was said and is said, and how its turns go.

    Each event that is kept has a number; `after` is the number of the last one that was seen, or 0 for all: nothing
    is left out then, and nothing comes twice. A `MessageDelta` is a preview of the `MessageDone` that follows;
    after a `MessageRestarted`, and a `TurnStarted` of a later attempt, the preview begins anew. Without the broker
    there are no previews, and events come up to two seconds later; a database that is away is waited for. They are
    those of the branch that is chosen, whichever that is, or of `branch` alone.

    Raises `ThreadNotFound`, `BranchNotFound` and `InvalidInput`. Close the iterator, or leave its loop, to stop.
    """
    return default_producer().thread_events(thread_id, branch=branch, tenant=tenant, after=after)


def thread_events_async(
    thread_id: str, *, branch: str | None = None, tenant: str = "default", after: int = 0
) -> AsyncIterator[ThreadEvent]:
    """As `thread_events`, on the event loop."""
    return default_producer().thread_events_async(thread_id, branch=branch, tenant=tenant, after=after)


def user_events(user: str, *, tenant: str = "default", cursor: str | None = None) -> Iterator[tuple[str, ThreadEvent]]:
    """The events of all threads of a user, as they happen: those of `thread_events`, each with a cursor.

    From `cursor` on, which came with the last event that was seen; without one from now on, and turns that run are
    shown from their beginning. Raises `InvalidInput`.
    """
    return default_producer().user_events(user, tenant=tenant, cursor=cursor)


def user_events_async(
    user: str, *, tenant: str = "default", cursor: str | None = None
) -> AsyncIterator[tuple[str, ThreadEvent]]:
    """As `user_events`, on the event loop."""
    return default_producer().user_events_async(user, tenant=tenant, cursor=cursor)


def list_pending(
    *, tenant: str = "default", user: str | None = None, limit: int = 50, cursor: str | None = None
) -> PendingPage:
    """The pending calls of a tenant's turns, the oldest first: a page of at most `limit`, with its `next_cursor`.

    They are approvals, questions, tools of the client, and agents in threads of their own: `kind` says which. With
    `user`, only of turns in which this user asks. Each call is decided by its turn:
    `find_turn(call.turn_id, tenant=tenant).approve(call.call_id, by=…)`.

    Raises `InvalidInput` and `DatabaseUnavailable`.
    """
    runner = default_producer().database.acting_for(check_tenant(tenant))
    return runner.run(pending_listing.list_pending, tenant, user=user, limit=limit, cursor=cursor)


async def list_pending_async(
    *, tenant: str = "default", user: str | None = None, limit: int = 50, cursor: str | None = None
) -> PendingPage:
    """As `list_pending`, on the event loop."""
    runner = default_producer().database.acting_for(check_tenant(tenant))
    return await runner.run_async(pending_listing.list_pending, tenant, user=user, limit=limit, cursor=cursor)


def cancel_turn(turn_id: str, *, by: str | None = None, tenant: str | None = "default") -> TurnState:
    """Ask a turn to stop; returns its state now. What was said so far is kept. Raises `TurnNotFound`.

    `by` is who asks, for `threadmill turns show`. A turn of another tenant than `tenant` is not there; see `find_turn`.
    """
    return find_turn(turn_id, tenant=tenant).cancel(by=by)


async def cancel_turn_async(turn_id: str, *, by: str | None = None, tenant: str | None = "default") -> TurnState:
    """As `cancel_turn`, on the event loop."""
    return await (await find_turn_async(turn_id, tenant=tenant)).cancel(by=by)


def requeue_turn(turn_id: str, *, agent: str | None = None, tenant: str | None = "default") -> Turn:
    """Queue a turn again that failed or was cancelled, and notify a worker.

    With `agent`, that one answers; a turn that still waits, for an agent that nobody serves, is given to it.

    Where nothing was said since its question, the turn itself goes on from its journal: what
    finished is not run again. Else its question is asked anew, as a new turn at the thread's end.
    A turn of another tenant than `tenant` is not there; see `find_turn`.

    Raises `TurnNotFound`, `TurnNotRequeueable`, `UnknownAgent` and `DatabaseUnavailable`.
    """
    return default_producer().requeue(turn_id, agent=agent, tenant=tenant)


async def requeue_turn_async(turn_id: str, *, agent: str | None = None, tenant: str | None = "default") -> AsyncTurn:
    """As `requeue_turn`, on the event loop."""
    return await default_producer().requeue_async(turn_id, agent=agent, tenant=tenant)


def requeue_turns(
    *,
    state: str = "failed",
    kinds: Collection[str] = (),
    agent: str | None = None,
    tenant: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    by: str | None = None,
    limit: int | None = None,
    dry_run: bool = False,
) -> RequeueReport:
    """Queue again all turns that failed, or were cancelled, and meet every condition; workers find them soon.

    `kinds` are kinds of a turn's error (`deadline`), or of a model's (`unavailable`); `since` and `until` bound when
    a turn ended; without `tenant` it is those of all. `by` names the agent that shall answer in place of each turn's
    own, `limit` how many turns to come to. One that cannot be requeued is reported, and the others follow. A turn
    that goes on, or was asked anew, is passed over, so it may run again at any time. With `dry_run` it all happens
    but the commit.

    Raises `InvalidInput`, `UnknownAgent` and `DatabaseUnavailable`.
    """
    filters = RequeueFilter(state=state, kinds=kinds, agent=agent, tenant=tenant, since=since, until=until)
    return RequeueReport(tuple(default_producer().requeue_turns(filters, by=by, limit=limit, dry_run=dry_run)))


requeue_turns_async = move_to_thread(requeue_turns)


def create_upload(filename: str, media_type: str, size: int, sha256: str, *, tenant: str = "default") -> "Upload":
    """Let a client put a file into the store by itself: an address for one PUT of these very bytes.

    `size` is in bytes, `sha256` in lower-case hex: the client computes both. The address is good for
    `THREADMILL_UPLOAD_MAX_AGE_SECONDS`. Raises `InvalidInput`, `FileRejected` (too large), `LimitReached`,
    `UploadsNotSupported` (the file store is no S3), `DatabaseUnavailable` and `FileStoreUnavailable`.
    """
    return default_producer().uploads.create(filename, media_type, size, sha256, tenant=tenant)


create_upload_async = move_to_thread(create_upload)


def complete_upload(upload_id: str, *, tenant: str = "default") -> Attachment:
    """Examine the bytes that a client has put, and store them as a file for messages. May be called again.

    Reads them from end to end, twice. Raises `UploadNotFound` (expired), `UploadIncomplete` (nothing was
    put, or other bytes than promised), `FileRejected` (a type that is not accepted, or that the bytes
    are not), `DatabaseUnavailable` and `FileStoreUnavailable`.
    """
    return default_producer().uploads.complete(upload_id, tenant=tenant)


complete_upload_async = move_to_thread(complete_upload)


def find_file(thread_id: str, sha256: str, *, tenant: str = "default") -> Attachment:
    """A file of a thread by its SHA-256, without its bytes: of its history, or of a message that is pending.

    Who asks for a file of their own thread gets it so, and none of another's. Raises `FileNotStored`,
    `InvalidInput` and `DatabaseUnavailable`.
    """
    return default_producer().uploads.find(thread_id, sha256, tenant=tenant)


find_file_async = move_to_thread(find_file)


def read_file(file: Attachment, *, tenant: str = "default") -> bytes:
    """The bytes of a file of a message, where no client can fetch them by itself. Raises as `file_url`."""
    return default_producer().uploads.read(file, tenant=tenant)


read_file_async = move_to_thread(read_file)


def file_url(
    file: Attachment, *, tenant: str = "default", expires: timedelta = timedelta(minutes=15), inline: bool = False
) -> str:
    """An address at which a client can fetch a file of a message, under its name, until it expires.

    As a download; `inline` lets a browser show an image in its page. Make sure that the user may see the
    message: the address asks nobody. Raises `FileNotStored`, `FileNotReady` (not scanned yet),
    `FileRejected` (infected), `DatabaseUnavailable`.
    """
    return default_producer().uploads.url(file, tenant=tenant, expires=expires, inline=inline)


file_url_async = move_to_thread(file_url)


def thumbnail_url(
    file: Attachment, *, tenant: str = "default", expires: timedelta = timedelta(minutes=15)
) -> str | None:
    """An address of a small picture of an image, for a client; None where there is none, or none yet."""
    return default_producer().uploads.thumbnail_url(file, tenant=tenant, expires=expires)


thumbnail_url_async = move_to_thread(thumbnail_url)


def default_producer() -> Producer:
    """The producer of this process, by the settings of its environment. Close it where a server stops."""
    global _default  # noqa: PLW0603 - one a process: callers are functions, and pools are shared
    if _default is None:
        with _default_lock:
            if _default is None:
                _default = Producer()
    return _default
