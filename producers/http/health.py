"""Health: whether the process lives, and whether it can serve.

What stays true: a gateway without its broker serves, since nothing is lost with that; one without its database or
with an older schema does not. Neither answer has a word of where these are.
"""

import asyncio
from typing import Literal

import structlog
from fastapi import APIRouter
from pydantic import BaseModel
from redis.asyncio import Redis

from conversation.errors import OperatorError, ThreadmillError
from producers.http.dependencies import Gateway, GatewayOf
from producers.http.problems import Problem
from store import migrations
from store.settings import Settings

router = APIRouter(prefix="/health", tags=["health"])

log = structlog.get_logger(__name__)


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """The gateway serves; without its broker, events and wake-ups come later."""

    status: Literal["ok"] = "ok"
    database: Literal["ok"] = "ok"
    broker: Literal["ok", "away"]


@router.get("/live", operation_id="check_live")
async def check_live() -> Liveness:
    """Say that the process answers."""
    return Liveness()


@router.get("/ready", operation_id="check_ready")
async def check_ready(gateway: GatewayOf) -> Readiness:
    """Say whether the database is there, with the schema that this release needs; and whether the broker is."""
    await _check_database(gateway)
    return Readiness(broker="ok" if await _ask_broker(gateway.settings) else "away")


async def _check_database(gateway: Gateway) -> None:
    try:
        async with asyncio.timeout(gateway.settings.db_connect_timeout_seconds):
            await gateway.producer.database.run_async(migrations.check)
    except (ThreadmillError, TimeoutError) as error:
        reason = str(error) if isinstance(error, OperatorError) else None
        log.warning("gateway_not_ready", error=type(error).__name__, reason=reason)
        raise Problem(503, "Not ready", "the database is away, or has another schema; see the log") from error


async def _ask_broker(settings: Settings) -> bool:
    try:
        async with asyncio.timeout(settings.notify_timeout_seconds):
            async with Redis.from_url(settings.broker_url.get_secret_value()) as client:
                await client.ping()
    except Exception:  # noqa: BLE001 - whatever its client raises: it is not there
        return False
    return True
