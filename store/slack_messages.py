"""Messages out of Slack: entered once, claimed by one process at a time, until their answer stands in Slack.

What stays true: a message that Slack tells of again changes nothing; of one thread, a message is taken up only when
those before it have their turns; whoever has lost their claim writes nothing. Whatever happens to a turn after its
answer, in the transaction that it happens in the message is brought back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)

from conversation.pending_call import DecisionKind
from store.database.column_types import clock, moment_ago, moment_now
from store.database.statements import convert_row, insert_for
from store.tables import pending_calls, threads, turns
from store.tables.slack import SLACK_FIRST, SLACK_UNFINISHED, slack_messages

#: Rows of one statement that forgets those that are over.
BATCH = 1000

_rows = slack_messages.c


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSlackMessage:
    """A message as Slack tells of it."""

    tenant: str
    team_id: str
    channel_id: str
    #: Its time, which names it in its channel: `1700000000.000100`.
    ts: str
    event_id: str
    #: Our thread.
    thread_id: str
    #: The message under which the answer goes; None for the channel itself.
    reply_to: str | None
    user_id: str
    content: str
    #: Files as Slack describes them.
    files: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDecision:
    """The decision on a call that a turn waited for."""

    name: str
    kind: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackMessage:
    """A message that a process has claimed."""

    key: int
    tenant: str
    team_id: str
    channel_id: str
    ts: str
    thread_id: str
    reply_to: str | None
    user_id: str
    state: str
    #: How often it was claimed, this time counted.
    attempts: int
    content: str | None
    files: Sequence[Mapping[str, Any]] | None
    turn_id: str | None
    #: The turn that answered it before this one.
    follows: str | None
    #: What was posted of its answer: `posts` and `files`; None before the first.
    answer: Mapping[str, Any] | None


def enter(connection: Connection, message: NewSlackMessage, *, only_in_known_threads: bool = False) -> bool:
    """Enter a message; False where it is entered already, or is not for the agent.

    With `only_in_known_threads`, it is for the agent only where something of its thread is stored.
    """
    if only_in_known_threads and not _is_known_thread(connection, message.tenant, message.thread_id):
        return False
    values = {name: getattr(message, name) for name in message.__slots__} | {"files": list(message.files)}
    inserting = insert_for(connection, slack_messages).values(
        **values, state="received", created_at=clock(), due_at=clock()
    )
    names = [_rows.tenant, _rows.team_id, _rows.channel_id, _rows.ts]
    statement = inserting.on_conflict_do_nothing(index_elements=names, index_where=text(SLACK_FIRST))
    return connection.execute(statement.returning(_rows.key)).one_or_none() is not None


def _is_known_thread(connection: Connection, tenant: str, thread_id: str) -> bool:
    is_stored = exists().where(threads.c.tenant == tenant, threads.c.id == thread_id)
    is_on_its_way = exists().where(_rows.tenant == tenant, _rows.thread_id == thread_id)
    return bool(connection.execute(select(or_(is_stored, is_on_its_way))).scalar_one())


def claim_due(
    connection: Connection, tenant: str, claim: str, *, lease_seconds: float, limit: int
) -> list[SlackMessage]:
    """Claim messages of a tenant that are due, those that wait longest first, for so many seconds.

    A message of which an earlier one in its thread has no turn yet is left for later: turns are sent in order.
    """
    earlier = slack_messages.alias("earlier")
    waits_for_earlier = exists().where(
        earlier.c.tenant == _rows.tenant,
        earlier.c.thread_id == _rows.thread_id,
        earlier.c.ts < _rows.ts,
        earlier.c.state == "received",
    )
    due = (
        select(_rows.key)
        .where(
            _rows.tenant == tenant,
            text(SLACK_UNFINISHED),
            _rows.due_at <= moment_now(),
            or_(_rows.state != "received", ~waits_for_earlier),
        )
        .order_by(_rows.due_at, _rows.key)
        .limit(limit)
        .with_for_update(skip_locked=True, of=slack_messages)
    )
    claiming = (
        update(slack_messages)
        .where(_rows.key.in_(due.scalar_subquery()))
        .values(claim=claim, due_at=clock(plus_seconds=lease_seconds), attempts=_rows.attempts + 1)
        .returning(*(_rows[name] for name in SlackMessage.__slots__))
    )
    rows = connection.execute(claiming).all()
    return sorted((convert_row(row, SlackMessage) for row in rows), key=lambda message: message.key)


def extend_claim(connection: Connection, tenant: str, claim: str, keys: Sequence[int], *, lease_seconds: float) -> int:
    """Go on holding messages that a process has claimed; returns how many of these are still its own."""
    is_own = and_(_rows.tenant == tenant, _rows.claim == claim, _rows.key.in_(keys), text(SLACK_UNFINISHED))
    statement = update(slack_messages).where(is_own).values(due_at=clock(plus_seconds=lease_seconds))
    return connection.execute(statement).rowcount


def find_turn(connection: Connection, tenant: str, idempotency_key: str) -> str | None:
    """The turn that was sent under a key; None where none was."""
    query = select(turns.c.id).where(turns.c.tenant == tenant, turns.c.idempotency_key == idempotency_key)
    return connection.execute(query).scalar_one_or_none()


def load_decisions(connection: Connection, turn_id: str) -> dict[str, CallDecision]:
    """The decisions on what a turn waited for, by call; one for which it is too late is closed."""
    calls = pending_calls.c
    kind = func.coalesce(calls.decision, DecisionKind.CLOSED.value)
    query = select(calls.call_id, calls.name, kind.label("kind"), calls.decided_by.label("by"))
    is_over = or_(calls.decision.is_not(None), calls.expires_at <= moment_now())
    rows = connection.execute(query.where(calls.turn_id == turn_id, is_over))
    return {row.call_id: convert_row(row, CallDecision) for row in rows}


def mark_sent(connection: Connection, message: SlackMessage, claim: str, turn_id: str) -> bool:
    """Note the turn that answers a message, which its text has gone into; False where the claim is lost."""
    of_thread = threads.c.tenant == message.tenant, threads.c.id == message.thread_id
    thread_key = select(threads.c.key).where(*of_thread).scalar_subquery()
    values = {"state": "sent", "turn_id": turn_id, "thread_key": thread_key, "content": None, "files": None}
    return _write(connection, message, claim, values)


def note_answer(connection: Connection, message: SlackMessage, claim: str, answer: Mapping[str, Any]) -> bool:
    """Note what was posted of an answer; False where the claim is lost."""
    return _write(connection, message, claim, {"answer": dict(answer)})


def postpone(
    connection: Connection, message: SlackMessage, claim: str, *, seconds: float, is_waiting: bool = False
) -> bool:
    """Give a claim up until so many seconds from now; `is_waiting` says whether the turn waits for a person."""
    values: dict[str, Any] = {"claim": None, "due_at": clock(plus_seconds=seconds)}
    if is_waiting:
        # Nothing went wrong: what follows is a first attempt again.
        values |= {"state": "waiting", "attempts": 0}
    return _write(connection, message, claim, values)


def finish(connection: Connection, message: SlackMessage, claim: str, *, error: str | None = None) -> bool:
    """End the work at a message: it is answered, or failed with an error; False where the claim is lost."""
    values = {
        "state": "failed" if error else "answered",
        "error": error,
        "claim": None,
        "content": None,
        "files": None,
        "finished_at": clock(),
    }
    return _write(connection, message, claim, values)


def wake(connection: Connection, tenant: str, turn_id: str) -> None:
    """Have a message whose turn waited for a person taken up now."""
    connection.execute(waking(tenant, turn_id))


def waking(tenant: str, turn_id: str) -> Update:
    """The statement of `wake`."""
    is_waiting = and_(_rows.tenant == tenant, _rows.turn_id == turn_id, _rows.state == "waiting")
    return update(slack_messages).where(is_waiting).values(due_at=clock())


def reopen(connection: Connection, tenant: str, turn_id: str) -> None:
    """Have a message taken up whose turn had ended, and goes on."""
    is_over = and_(_rows.tenant == tenant, _rows.turn_id == turn_id, _rows.finished_at.is_not(None))
    values = {"state": "sent", "error": None, "finished_at": None, "attempts": 0, "due_at": clock()}
    connection.execute(update(slack_messages).where(is_over).values(values))


def follow(connection: Connection, tenant: str, turn_id: str, new_turn_id: str) -> None:
    """Have the answer of a turn that follows another one stand where that one's does, if that is in Slack."""
    same = ("tenant", "team_id", "channel_id", "ts", "event_id", "thread_id", "reply_to", "user_id", "thread_key")
    new: dict[str, ColumnElement[Any]] = {
        "follows": _rows.turn_id,
        "turn_id": literal(new_turn_id, _rows.turn_id.type),
        "state": literal("sent"),
        "created_at": clock(),
        "due_at": clock(),
    }
    source = select(*(_rows[name] for name in same), *new.values())
    source = source.where(_rows.tenant == tenant, _rows.turn_id == turn_id)
    connection.execute(insert(slack_messages).from_select([*same, *new], source))


def find_of_turn(connection: Connection, tenant: str, turn_id: str, team_id: str) -> SlackMessage | None:
    """The message that a turn answers, in a workspace; None where there is none."""
    columns = (_rows[name] for name in SlackMessage.__slots__)
    query = select(*columns).where(_rows.tenant == tenant, _rows.turn_id == turn_id, _rows.team_id == team_id)
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else convert_row(row, SlackMessage)


def release(connection: Connection, tenant: str, claim: str) -> None:
    """Give all claims of a process up: it ends, and others take its messages over at once."""
    is_claimed = and_(_rows.tenant == tenant, _rows.claim == claim, text(SLACK_UNFINISHED))
    connection.execute(update(slack_messages).where(is_claimed).values(claim=None, due_at=clock()))


def forget_finished(connection: Connection, tenant: str, *, days: float) -> int:
    """Forget messages of a tenant that were over so long ago, a bounded number; returns how many."""
    is_old = and_(_rows.tenant == tenant, _rows.finished_at <= moment_ago(days=days))
    old_keys = select(_rows.key).where(is_old).limit(BATCH)
    return connection.execute(delete(slack_messages).where(_rows.key.in_(old_keys.scalar_subquery()))).rowcount


def _write(connection: Connection, message: SlackMessage, claim: str, values: Mapping[str, Any]) -> bool:
    statement = update(slack_messages).where(_is(message), _rows.claim == claim).values(**values)
    return connection.execute(statement).rowcount == 1


def _is(message: SlackMessage) -> ColumnElement[bool]:
    return and_(_rows.tenant == message.tenant, _rows.key == message.key)
