"""Answers of the gateway to requests that are done once: who works at one, and what came of it.

What stays true: of one request under one key, one run at a time has the claim; a run that died leaves its claim to
expire, and the next one makes what it makes under the same id, so that nothing is made twice. An answer is kept for
a while and then forgotten, with its key.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, select, update

from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.tables import idempotent_answers as answers

#: Rows of one statement that forgets expired ones.
BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceRequest:
    """A request that is to be done once."""

    tenant: str
    #: The hash of whose it is, its route and its key.
    id: str
    #: The hash of what it asks for.
    digest: str
    #: The id of this run of it.
    claim: str
    #: The id of what it makes, if this is its first run.
    made_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The caller is to run the request."""

    made_id: str
    #: An earlier run broke off, and may have made it.
    is_repeat: bool


@dataclass(frozen=True, slots=True)
class InFlight:
    """Another run has the claim."""


@dataclass(frozen=True, slots=True)
class AnotherRequest:
    """The key was used with another request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The request was done; this came of it."""

    status: int
    headers: dict[str, str]
    body: str


ClaimOutcome = Claimed | InFlight | AnotherRequest | StoredAnswer


def claim(connection: Connection, request: OnceRequest, *, lease_seconds: float, keep_seconds: float) -> ClaimOutcome:
    """Claim a request for one run, or find what became of it."""
    new_row = {
        "request_digest": request.digest,
        "claim": request.claim,
        "claimed_until": clock(plus_seconds=lease_seconds),
        "made_id": request.made_id,
        "is_repeat": False,
        "status": None,
        "headers": None,
        "body": None,
        "expires_at": clock(plus_seconds=keep_seconds),
    }
    insert = insert_for(connection, answers).values(tenant=request.tenant, id=request.id, **new_row)
    # What has expired counts as forgotten, whether the job was there or not.
    upsert = insert.on_conflict_do_update(
        index_elements=[answers.c.tenant, answers.c.id], set_=new_row, where=answers.c.expires_at <= clock()
    )
    if connection.execute(upsert.returning(answers.c.id)).one_or_none() is not None:
        return Claimed(made_id=request.made_id, is_repeat=False)
    is_free = (answers.c.claimed_until <= clock()).label("is_free")
    row = connection.execute(select(answers, is_free).where(_is(request)).with_for_update()).one_or_none()
    # Without a row: it expired in between, and was forgotten.
    return InFlight() if row is None else _look_at(connection, request, row, lease_seconds)


def _look_at(connection: Connection, request: OnceRequest, row: AnyRow, lease_seconds: float) -> ClaimOutcome:
    if row.request_digest != request.digest:
        return AnotherRequest()
    if row.status is not None:
        return StoredAnswer(status=row.status, headers=row.headers, body=row.body)
    if row.claim == request.claim:  # the commit of this very claim was answered by silence
        return Claimed(made_id=row.made_id, is_repeat=row.is_repeat)
    if not row.is_free:
        return InFlight()
    next_claim = {"claim": request.claim, "claimed_until": clock(plus_seconds=lease_seconds), "is_repeat": True}
    connection.execute(update(answers).where(_is(request)).values(next_claim))
    return Claimed(made_id=row.made_id, is_repeat=True)


def store(connection: Connection, request: OnceRequest, answer: StoredAnswer) -> None:
    """Store the answer to a request, if the caller's run still has the claim."""
    values: dict[str, Any] = {"status": answer.status, "headers": answer.headers, "body": answer.body}
    connection.execute(update(answers).where(_is_claimed_by(request)).values(values))


def release(connection: Connection, request: OnceRequest, *, did_nothing: bool) -> None:
    """Give the claim of the caller's run up; with it the key, where no run of the request did anything."""
    if did_nothing:
        connection.execute(delete(answers).where(_is_claimed_by(request), answers.c.is_repeat.is_(False)))
    connection.execute(update(answers).where(_is_claimed_by(request)).values(claimed_until=clock()))


def forget_expired(connection: Connection) -> int:
    """Forget answers that have expired, a bounded number of them; returns how many."""
    expired = select(answers.c.tenant, answers.c.id).where(answers.c.expires_at <= clock()).limit(BATCH).subquery()
    is_expired = and_(answers.c.tenant == expired.c.tenant, answers.c.id == expired.c.id)
    return connection.execute(delete(answers).where(select(expired.c.id).where(is_expired).exists())).rowcount


def _is(request: OnceRequest) -> Any:
    return and_(answers.c.tenant == request.tenant, answers.c.id == request.id)


def _is_claimed_by(request: OnceRequest) -> Any:
    return and_(_is(request), answers.c.claim == request.claim, answers.c.status.is_(None))
