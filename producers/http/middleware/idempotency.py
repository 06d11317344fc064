"""`Idempotency-Key`: a request that is sent again is done once, and answered as before.

What stays true: a key is one credential's, one user's and one route's. A request that broke off is run again, and
makes what it makes under the same id; where its answer is stored, it is not run again. Sends of messages are no part
of this: their key goes into the transaction of the send.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conversation.errors import ThreadmillError
from conversation.ids import new_id
from producers.http.dependencies import Gateway, authenticate, gateway_of
from producers.http.idempotency import KEY_HEADER, MAKES_SECRET_ENDS, read_key, scope_of
from producers.http.problems import Problem, key_conflict
from producers.http.request_record import path_in_app, record_of
from store import idempotent_answers
from store.idempotent_answers import AnotherRequest, Claimed, InFlight, OnceRequest, StoredAnswer

#: Seconds beyond the time limit of requests after which a run that has not answered counts as dead.
LEASE_MARGIN_SECONDS = 15.0
#: Ends of paths whose keys go elsewhere, and of those that make a secret, which is new each time and stored nowhere.
_EXEMPT_ENDS = ("/messages", *MAKES_SECRET_ENDS)
#: Beginnings of paths whose senders show no credential: their events have ids of their own.
_OPEN_PATHS = ("/v1/inbound/",)
#: Statuses of requests that did nothing: under the same key, a mended one may follow.
_DID_NOTHING = frozenset({400, 401, 403, 404, 405, 406, 408, 413, 415, 429})
#: Headers of an answer that are stored with it.
_STORED_HEADERS = frozenset({"content-type", "location", "etag"})

log = structlog.get_logger(__name__)


class Idempotency:
    """Does a `POST` that has a key once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_concerned(scope):
            await self._app(scope, receive, send)
            return
        key = read_key(Headers(scope=scope))
        request = Request(scope, receive)
        principal = await authenticate(request)
        body = await request.body()
        path = path_in_app(scope)
        once = OnceRequest(
            tenant=principal.tenant,
            id=_hash(scope_of(principal), path, key),
            digest=_digest(request, body),
            claim=new_id(),
            made_id=new_id(),
        )
        await _Run(self._app, gateway_of(request), once).answer(scope, _replay(body, receive), send)


@dataclass(slots=True)
class _Run:
    """One run of a request that is to be done once."""

    app: ASGIApp
    gateway: Gateway
    request: OnceRequest
    _messages: list[Message] = field(default_factory=list)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request, or answer as it was answered before. Raises `Problem`."""
        settings = self.gateway.settings
        outcome = await self.gateway.producer.database.run_async(
            idempotent_answers.claim,
            self.request,
            lease_seconds=settings.gateway_request_timeout_seconds + LEASE_MARGIN_SECONDS,
            keep_seconds=settings.gateway_idempotency_seconds,
        )
        match outcome:
            case InFlight():
                detail = "a request with this key is being worked on; send this one again in a moment"
                raise Problem(409, "Request in flight", detail, headers={"Retry-After": "1"}, retryable=True)
            case AnotherRequest():
                raise key_conflict()
            case StoredAnswer():
                await _send_stored(outcome, send)
            case Claimed():
                record = record_of(scope)
                record.made_id, record.is_repeat = outcome.made_id, outcome.is_repeat
                await self._run(scope, receive)
                for message in self._messages:
                    await send(message)

    async def _run(self, scope: Scope, receive: Receive) -> None:
        try:
            await self.app(scope, receive, self._keep)
        except BaseException:
            # Given up or broken: what it did is unknown. Another run may begin at once.
            await asyncio.shield(self._finish(None))
            raise
        await asyncio.shield(self._finish(self._answer_of_run()))

    async def _keep(self, message: Message) -> None:
        self._messages.append(message)

    def _answer_of_run(self) -> StoredAnswer:
        start, *bodies = self._messages
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        return StoredAnswer(
            status=start["status"],
            headers={name: value for name, value in headers.items() if name in _STORED_HEADERS},
            body=b"".join(message.get("body", b"") for message in bodies).decode(),
        )

    async def _finish(self, answer: StoredAnswer | None) -> None:
        """Store an answer, or give the claim up. What was done is done, whether this can be written or not."""
        database = self.gateway.producer.database
        try:
            if answer is None or answer.status >= 500 or answer.status in _DID_NOTHING:
                did_nothing = answer is not None and answer.status in _DID_NOTHING
                await database.run_async(idempotent_answers.release, self.request, did_nothing=did_nothing)
            else:
                await database.run_async(idempotent_answers.store, self.request, answer)
        except ThreadmillError as error:
            log.warning("idempotent_answer_not_stored", error=type(error).__name__)


def _is_concerned(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST" or KEY_HEADER not in Headers(scope=scope):
        return False
    path = path_in_app(scope)
    return path.startswith("/v1/") and not path.endswith(_EXEMPT_ENDS) and not path.startswith(_OPEN_PATHS)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A source of messages that begins with a body that was read already."""
    is_read = False

    async def receive_again() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def _send_stored(answer: StoredAnswer, send: Send) -> None:
    body = answer.body.encode()
    headers = answer.headers | {"content-length": str(len(body)), "idempotent-replayed": "true"}
    raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw_headers})
    await send({"type": "http.response.body", "body": body})


def _digest(request: Request, body: bytes) -> str:
    """The hash of what a request asks for."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower().startswith("multipart/") and "boundary=" in parameters:
        # A client that builds its form anew chooses another boundary.
        boundary = parameters.partition("boundary=")[2].partition(";")[0].strip().strip('"')
        body = body.replace(boundary.encode("latin-1"), b"") if boundary else body
    return _hash(kind.strip().lower(), request.url.query, hashlib.sha256(body).hexdigest())


def _hash(*parts: str) -> str:
    # Each part with its length: no two lists of parts are the same text.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
