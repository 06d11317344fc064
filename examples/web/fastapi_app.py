"""FastAPI: `uvicorn examples.web.fastapi_app:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, FastAPI, Header, Request
from fastapi.responses import JSONResponse

from conversation.errors import TurnNotFound, UserError
from producers import default_producer, find_turn_async, send_message_async, warm_up_async


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await warm_up_async()
    yield
    await default_producer().close_async()


app = FastAPI(lifespan=lifespan)


@app.post("/threads/{thread_id}/messages", status_code=202)
async def send(
    thread_id: str, content: Annotated[str, Body(embed=True)], idempotency_key: Annotated[str | None, Header()] = None
) -> dict[str, str]:
    turn = await send_message_async(thread_id, content, idempotency_key=idempotency_key)
    return {"turn": turn.id}


@app.get("/turns/{turn_id}")
async def read(turn_id: str) -> dict[str, str | None]:
    turn = await find_turn_async(turn_id)
    result = await turn.result()
    return {"state": await turn.state(), "content": result.content if result else None}


@app.exception_handler(UserError)
async def refuse(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=404 if isinstance(error, TurnNotFound) else 400)
