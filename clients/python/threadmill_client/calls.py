"""The verbs of the gateway, each written once: the requests that it makes, and what it reads in the answers.

What stays true: a verb that changes something is done once, however often its requests are sent; where an answer was
lost, the refusal of the repetition that it explains is none.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from threadmill_client.answers import delete, read_thread, read_turn, take
from threadmill_client.decoding import read_model, read_models
from threadmill_client.errors import PreconditionFailed, TurnNotOver
from threadmill_client.models import ContextEntry, File, StreamToken, Summary, Thread, Turn, UsageRow
from threadmill_client.unset import UNSET, Unset, drop_unset
from threadmill_client.wire import Pause, Plan, Request, drop_nones, idempotency, json_request, path, write_moment

Content = str | Sequence[Mapping[str, Any]]
#: Seconds that one request for a turn waits, at most: less than what proxies take for silence.
LOOK_SECONDS = 25
#: Between the beginnings of two such requests.
LEAST_LOOK_SECONDS = 1


# Threads


def create_thread(
    thread_id: str | None = None,
    *,
    title: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    user: str | None = None,
    idempotency_key: str | None = None,
) -> Plan[Thread]:
    """Create a thread, with an id of your own or one that is made. Raises `Conflict` where the id exists."""
    values = drop_nones(id=thread_id, title=title, metadata=metadata, user=user)
    answer = yield json_request("POST", path("threads"), values, headers=idempotency(idempotency_key))
    return read_thread(answer)


def get_thread(thread_id: str) -> Plan[Thread]:
    """Read a thread, with the ETag that `update_thread` takes. Raises `NotFound`."""
    return read_thread((yield Request(method="GET", path=path("threads", thread_id))))


def update_thread(
    thread_id: str,
    *,
    title: str | Unset | None = UNSET,
    metadata: Mapping[str, Any] | Unset = UNSET,
    agent: str | Unset | None = UNSET,
    when_busy: str | Unset | None = UNSET,
    etag: str | None = None,
) -> Plan[Thread]:
    """Change a thread's title, its metadata, the agent that it is handed over to, or its policy `when_busy`.

    None takes a title, an agent or a policy away. With the `etag` of the thread that you read, only if nobody else
    changed it.

    Raises `PreconditionFailed` if somebody did.
    """
    values = drop_unset(title=title, metadata=metadata, agent=agent, when_busy=when_busy)
    where = path("threads", thread_id)
    try:
        answer = yield json_request("PATCH", where, values, headers=drop_nones(**{"If-Match": etag}))
    except PreconditionFailed as error:
        if error.attempts == 1:
            raise
        # The answer to an earlier try was lost: perhaps this is the change that it made.
        answer = yield Request(method="GET", path=where)
        if not _holds(answer.json(), values):
            raise
    return read_thread(answer)


def fork_thread(
    thread_id: str, new_id: str | None = None, *, at: int | None = None, idempotency_key: str | None = None
) -> Plan[Thread]:
    """Make a thread that begins as this one, up to the message with the `seq` of `at`, or as far as it has come."""
    where = path("threads", thread_id, "fork")
    answer = yield json_request("POST", where, drop_nones(id=new_id, at=at), headers=idempotency(idempotency_key))
    return read_thread(answer)


def delete_thread(thread_id: str) -> Plan[None]:
    """Delete a thread with all that is in it. Raises `NotFound`."""
    yield from delete(path("threads", thread_id))


def create_stream_token(thread_id: str) -> Plan[StreamToken]:
    """Make a token with which a browser's `EventSource` may read this thread's events, for a short time."""
    where = path("threads", thread_id, "stream-tokens")
    answer = yield Request(method="POST", path=where, headers=idempotency())
    return read_model(StreamToken, answer.json())


def _holds(stored: Any, changes: Mapping[str, Any]) -> bool:
    """Whether a thread is as these changes make it."""
    kept = stored.get("metadata") or {}
    is_same = all(stored.get(name) == value for name, value in changes.items() if name != "metadata")
    return is_same and all(kept.get(name) == value for name, value in changes.get("metadata", {}).items())


# Messages and turns


def send_message(
    thread_id: str,
    content: Content,
    *,
    attachments: Iterable[File] = (),
    agent: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    user: str | None = None,
    priority: int | None = None,
    not_before: datetime | None = None,
    deadline: datetime | None = None,
    create: bool = False,
    when_busy: str | None = None,
    merge_window: float | None = None,
    branch: str | None = None,
    idempotency_key: str | None = None,
) -> Plan[Turn]:
    """Send a user's message; an agent answers in the turn that is returned. Files are those that were uploaded.

    `when_busy` is what becomes of it while its thread has an unfinished turn: `enqueue`, `reject`, which raises
    `Conflict`, `interrupt`, `rollback`, `merge`, which waits for more `merge_window` seconds, or `steer`. It goes to
    the branch that is chosen, or to `branch`.

    With `create`, the thread is made if there is none of this id; else that raises `NotFound`. One call makes one
    turn, whatever the network does. With an `idempotency_key` of your own, as the id of what causes the message, so
    do all calls with that key.
    """
    values = drop_nones(
        content=write_content(content),
        attachments=write_files(attachments) or None,
        agent=agent,
        metadata=metadata,
        user=user,
        priority=priority,
        not_before=write_moment("not_before", not_before),
        deadline=write_moment("deadline", deadline),
        when_busy=when_busy,
        merge_window=merge_window,
    )
    where = path("threads", thread_id, "messages")
    query = {"create": "true" if create else None, "branch": branch}
    answer = yield json_request("POST", where, values, query=query, headers=idempotency(idempotency_key))
    return read_turn(answer)


def write_content(content: Content) -> Any:
    """A message's content in a request."""
    return content if isinstance(content, str) else list(content)


def write_files(files: Iterable[File]) -> list[dict[str, Any]]:
    """A message's files in a request."""
    return [drop_nones(sha256=file.sha256, filename=file.filename or None) for file in files]


def get_turn(turn_id: str) -> Plan[Turn]:
    """Read a turn, with its messages once it is over. Raises `NotFound`."""
    return read_turn((yield Request(method="GET", path=path("turns", turn_id))))


def wait_for_turn(turn_id: str, *, timeout_seconds: float | None = None) -> Plan[Turn]:
    """Wait until a turn is over, however it ends: look at its `state`. Raises `TurnNotOver` after the timeout.

    One that waits for decisions is not over; `turn_events` tells of that as well.
    """
    ends_at = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        began_at = time.monotonic()
        query = {"wait": f"{_seconds_left(ends_at, LOOK_SECONDS):.3f}"}
        where = path("turns", turn_id)
        turn = read_turn((yield Request(method="GET", path=where, query=query, extra_seconds=LOOK_SECONDS)))
        if turn.is_over:
            return turn
        if time.monotonic() >= ends_at:
            raise TurnNotOver(turn)
        # A gateway that lets nobody wait is not to be asked all the time.
        yield Pause(_seconds_left(ends_at, began_at + LEAST_LOOK_SECONDS - time.monotonic()))


def _seconds_left(ends_at: float, seconds: float) -> float:
    return max(0.0, min(seconds, ends_at - time.monotonic()))


def cancel_turn(turn_id: str) -> Plan[Turn]:
    """Ask a turn to stop. It is over when its state says so."""
    where = path("turns", turn_id, "cancel")
    return read_turn((yield Request(method="POST", path=where, headers=idempotency())))


def requeue_turn(turn_id: str, *, agent: str | None = None, idempotency_key: str | None = None) -> Plan[Turn]:
    """Ask again for a turn that failed."""
    where = path("turns", turn_id, "requeue")
    answer = yield json_request("POST", where, drop_nones(agent=agent), headers=idempotency(idempotency_key))
    return read_turn(answer)


# What the agent is told, and what was used


def read_context(thread_id: str) -> Plan[dict[str, ContextEntry]]:
    """Read what the agent is told in each turn of a thread, by its keys."""
    answer = yield Request(method="GET", path=path("threads", thread_id, "context"))
    entries = read_models(ContextEntry, take(answer, "context"))
    return {entry.key: entry for entry in entries}


def write_context(thread_id: str, key: str, content: str) -> Plan[None]:
    """Say what the agent is told under a key in each turn of a thread, in place of what it was before."""
    yield json_request("PUT", path("threads", thread_id, "context", key), {"content": content})


def delete_context(thread_id: str, key: str) -> Plan[None]:
    """Tell the agent nothing more under a key. Raises `NotFound`."""
    yield from delete(path("threads", thread_id, "context", key))


def list_summaries(thread_id: str) -> Plan[tuple[Summary, ...]]:
    """Read the texts that stand for older messages of a thread."""
    answer = yield Request(method="GET", path=path("threads", thread_id, "summaries"))
    return read_models(Summary, take(answer, "summaries"))


def read_usage(
    *, since: datetime | None = None, until: datetime | None = None, by: str | None = None
) -> Plan[tuple[UsageRow, ...]]:
    """Read what was used, by `day`, `agent` or `user`."""
    query = drop_nones(since=write_moment("since", since), until=write_moment("until", until), by=by)
    answer = yield Request(method="GET", path=path("usage"), query=query)
    return read_models(UsageRow, take(answer, "usage"))
