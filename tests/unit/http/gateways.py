"""Gateways without servers, and with routes of the tests' own under `/v1/try`."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from producers.http.app import create_gateway
from producers.http.dependencies import Reader, Writer, path_of
from producers.http.idempotency import is_repeat, made_id_of
from producers.http.principal import SCOPES, Principal
from store.settings import Settings, load

#: A port that nobody listens on.
NOWHERE = "127.0.0.1:9"
SECRET = "the-secret-of-a-user"


class NameAuthenticator:
    """Takes `Bearer tenant/user` as it is; without a user it is good for the whole tenant."""

    async def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Principal | None:
        scheme, _, name = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not name:
            return None
        tenant, _, user = name.partition("/")
        return Principal(tenant=tenant, user=user or None, scopes=frozenset(SCOPES), credential=f"key-{name}")


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    number: int = 0


def make_settings(**values: Any) -> Settings:
    """Settings of a database and a broker that are not there."""
    return load(
        **{
            "database_url": f"postgresql://nobody:{SECRET}@{NOWHERE}/none",
            "broker_url": f"redis://:{SECRET}@{NOWHERE}/0",
            **values,
        }
    )


def make_gateway(settings: Settings | None = None, *, on_call: Callable[[], Any] = lambda: None) -> FastAPI:
    """A gateway with routes to try: what `on_call` raises, the route raises."""
    app = create_gateway(settings or make_settings(), authenticator=NameAuthenticator())
    router = APIRouter(prefix="/v1/try", tags=["try"])

    @router.get("")
    async def look(_: Reader, limit: int = 1) -> dict[str, Any]:
        return {"limit": limit, "outcome": on_call()}

    @router.post("", status_code=201)
    async def make(_: Writer, body: Body, request: Request) -> dict[str, Any]:
        outcome = on_call()
        if asyncio.iscoroutine(outcome):
            await outcome
        return {"id": made_id_of(request), "is_repeat": is_repeat(request), "text": body.text}

    @router.get("/slow/{seconds}")
    async def wait(_: Reader, seconds: float) -> dict[str, Any]:
        await asyncio.sleep(seconds)
        return {}

    @router.get("/stream")
    async def stream(_: Reader) -> StreamingResponse:
        async def pieces() -> AsyncIterator[str]:
            for number in range(3):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.1)
            on_call()

        return StreamingResponse(pieces(), media_type="text/event-stream")

    @router.get("/place/{name}")
    async def place(_: Reader, name: str, request: Request) -> dict[str, str]:
        return {"location": path_of(request, f"/v1/try/place/{name}")}

    app.include_router(router)
    return app


def client_of(app: Any, *, name: str | None = "acme", prefix: str = "") -> httpx.AsyncClient:
    """A client that calls an app in this process."""
    headers = {} if name is None else {"Authorization": f"Bearer {name}"}
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url=f"http://gateway.example{prefix}", headers=headers)


def show(answer: httpx.Response) -> str:
    """All of an answer, to search in."""
    return json.dumps([answer.status_code, dict(answer.headers), answer.text])
