"""Webhooks that come in: `POST /v1/inbound/{source_id}`, verified by its source and made a message of.

What stays true: no more of a body is read than its source takes, and none is parsed before its signature was verified;
the same event, however often and over whichever gateway it comes, is one turn.
"""

import time

import structlog
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from conversation.errors import IdempotencyConflict
from conversation.inbound_body import read_inbound_body
from conversation.inbound_signature import verify
from conversation.inbound_source import is_source_id
from producers.http.answer_shapes import TURN_ID
from producers.http.dependencies import Gateway, GatewayOf
from producers.http.forms import check_is_json
from producers.http.middleware.body_limit import BodyTooLarge
from producers.http.openapi import check_parameters
from producers.http.principal import Principal
from producers.http.problems import Problem
from producers.http.request_record import record_of
from producers.inbound_message import build_inbound_request
from producers.send_request import limits_of
from producers.turn import AsyncTurn
from store.inbound.sources import FoundSource, find_source
from store.turns import inbox
from store.turns.records import find_by_key
from store.turns.send_request import AcceptedTurn, SendRequest
from store.webhooks.sealed_secrets import SealedSecrets

router = APIRouter(tags=["inbound webhooks"])
log = structlog.get_logger(__name__)


class ReceivedEvent(BaseModel):
    """The outcome of an event."""

    turn_id: str | None = Field(
        description="The turn that answers it; null of an event that its source leaves out.", examples=[TURN_ID]
    )
    is_new: bool = Field(description="False of an event that came before.")


@router.post(
    "/inbound/{source_id}",
    operation_id="receive_event",
    status_code=202,
    response_model=ReceivedEvent,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object", "properties": {}}}},
        }
    },
)
async def receive(gateway: GatewayOf, source_id: str, request: Request) -> Response:
    """Take a webhook of a source, signed as the source says."""
    check_parameters(request)
    source = await _find_source(gateway, source_id)
    body = await _read_body(request, source.record.max_bytes)
    headers = _read_headers(request)
    if not _is_signed(gateway, source, headers, body):
        log.info("inbound_refused", source=source_id, scheme=source.record.scheme.value)
        raise Problem(401, "Unauthorized", "no signature that this source takes came with the request")
    await _count(gateway, request, source)
    check_is_json(request)
    # Of a few megabytes: too long for an event loop.
    parsed = await run_in_threadpool(read_inbound_body, body, headers)
    send = await run_in_threadpool(build_inbound_request, source.record, parsed, gateway.settings)
    if send is None:
        return JSONResponse({"turn_id": None, "is_new": False}, 202)
    accepted = await _accept(gateway, send)
    if accepted.needs_wake_up:
        await _handle_of(gateway, send, accepted).notify()
    return JSONResponse({"turn_id": accepted.turn_id, "is_new": accepted.is_new}, 202)


async def _find_source(gateway: Gateway, source_id: str) -> FoundSource:
    source = None
    if is_source_id(source_id):
        source = await gateway.producer.database.run_async(find_source, source_id)
    if source is None:
        raise Problem(404, "Not Found", "no source takes webhooks here")
    return source


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """Read a body, up to as many bytes as its source takes. Raises `BodyTooLarge`."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > max_bytes):
        raise BodyTooLarge(max_bytes, request.scope)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(max_bytes, request.scope)
        chunks.append(chunk)
    return b"".join(chunks)


def _read_headers(request: Request) -> dict[str, str]:
    """The headers by their names; of one that comes twice, all values: a signature in one of them is none."""
    names = {name.lower() for name in request.headers}
    return {name: ", ".join(request.headers.getlist(name)) for name in names}


def _is_signed(gateway: Gateway, source: FoundSource, headers: dict[str, str], body: bytes) -> bool:
    sealed_secrets = SealedSecrets(gateway.settings)
    secrets = [sealed_secrets.unseal(source.record.id, sealed) for sealed in source.secrets]
    record = source.record
    return verify(record.scheme, secrets, record.header, headers, body, now=time.time())


async def _count(gateway: Gateway, request: Request, source: FoundSource) -> None:
    """Count a request that is its sender's, as those of a credential. Raises `Problem` 429."""
    principal = Principal(tenant=source.record.tenant, credential=f"inbound:{source.record.id}")
    record = record_of(request)
    record.principal = principal
    record.headers |= await gateway.rate_limiter.check(principal)


async def _accept(gateway: Gateway, send: SendRequest) -> AcceptedTurn:
    database = gateway.producer.database
    try:
        return await inbox.accept_alone_async(database, send, limits_of(gateway.settings))
    except IdempotencyConflict:
        # The same event, in other words: senders write the body of a delivery that they repeat anew.
        runner = database.acting_for(send.tenant)
        turn_id = await runner.run_async(find_by_key, send.tenant, str(send.idempotency_key))
        if turn_id is None:
            raise
        return AcceptedTurn(turn_id, send.thread_id, is_new=False)


def _handle_of(gateway: Gateway, send: SendRequest, accepted: AcceptedTurn) -> AsyncTurn:
    return AsyncTurn(
        id=accepted.turn_id,
        tenant=send.tenant,
        address=accepted.address,
        is_new=accepted.is_new,
        connections=gateway.producer.connections,
        priority=send.priority,
        interrupts=accepted.interrupts,
    )
