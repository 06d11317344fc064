"""Sources of inbound webhooks over HTTP: make, list, disable and delete them, and give them new secrets.

What stays true: a source sends to any thread of its tenant: a credential of one user sees none. A secret is shown by
the request that makes or stores it; no answer with one is stored.
"""

import asyncio
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from conversation.inbound_source import InboundSourceRecord
from producers.http.dependencies import Gateway, GatewayOf, Operator, path_of
from producers.http.inbound_source_shapes import (
    InboundSource,
    InboundSourceChanges,
    InboundSourceList,
    InboundSourceSecret,
    NewInboundRotation,
    NewInboundSource,
)
from producers.http.principal import Principal
from producers.http.problems import Problem

router = APIRouter(tags=["inbound webhooks"])


@router.post("/inbound-sources", operation_id="create_inbound_source", status_code=201)
async def create(
    gateway: GatewayOf, principal: Operator, body: NewInboundSource, request: Request, response: Response
) -> InboundSourceSecret:
    """Make a source: an address to which another program posts its webhooks, and the secret that it signs them with."""
    values = body.model_dump() | {"mapping": body.mapping.model_dump(exclude_none=True)}
    made = await _call(gateway, principal, "create", **values)
    response.headers["Location"] = path_of(request, f"/v1/inbound-sources/{made.source.id}")
    response.headers["Cache-Control"] = "no-store"
    return InboundSourceSecret.of(made, path_of(request, made.source.path))


@router.get("/inbound-sources", operation_id="list_inbound_sources")
async def list_all(gateway: GatewayOf, principal: Operator, request: Request) -> InboundSourceList:
    """List the sources of the tenant, the oldest first."""
    return InboundSourceList(sources=[_shape(request, each) for each in await _call(gateway, principal, "list")])


@router.get("/inbound-sources/{source_id}", operation_id="read_inbound_source")
async def read(gateway: GatewayOf, principal: Operator, source_id: str, request: Request) -> InboundSource:
    """Read a source."""
    return _shape(request, await _call(gateway, principal, "find", source_id))


@router.patch("/inbound-sources/{source_id}", operation_id="change_inbound_source")
async def change(
    gateway: GatewayOf, principal: Operator, source_id: str, body: InboundSourceChanges, request: Request
) -> InboundSource:
    """Have a source take what comes, or refuse it as if it were not there."""
    return _shape(request, await _call(gateway, principal, "enable", source_id, enabled=body.enabled))


@router.delete(
    "/inbound-sources/{source_id}", operation_id="delete_inbound_source", status_code=204, response_class=Response
)
async def delete(gateway: GatewayOf, principal: Operator, source_id: str) -> None:
    """Delete a source; the turns of what came stay."""
    await _call(gateway, principal, "delete", source_id)


@router.post("/inbound-sources/{source_id}/rotate-secret", operation_id="rotate_inbound_source_secret")
async def rotate_secret(
    *,
    gateway: GatewayOf,
    principal: Operator,
    source_id: str,
    body: NewInboundRotation,
    request: Request,
    response: Response,
) -> InboundSourceSecret:
    """Give a source a new secret; the one before is good as well for a while."""
    grace = timedelta(seconds=body.grace_seconds)
    made = await _call(gateway, principal, "rotate_secret", source_id, secret=body.secret, grace=grace)
    response.headers["Cache-Control"] = "no-store"
    return InboundSourceSecret.of(made, path_of(request, made.source.path))


def _shape(request: Request, record: InboundSourceRecord) -> InboundSource:
    return InboundSource.of(record, path_of(request, record.path))


async def _call(gateway: Gateway, principal: Principal, verb: str, *args: Any, **options: Any) -> Any:
    """Call a verb of the producer's inbound sources for the principal's tenant, off the loop."""
    if principal.user is not None:
        raise Problem(403, "Forbidden", "the credential is one user's; a source sends to all threads of a tenant")
    call = getattr(gateway.producer.inbound_sources, verb)
    return await asyncio.to_thread(call, *args, tenant=principal.tenant, **options)
