"""FastAPI: `uvicorn examples.web.fastapi_app:app`.

Who may use which thread, and see which turn, is for your backend to check before each of these.
`X-User` stands for whom your login found.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.datastructures import UploadFile

import threadmill
from examples.web.problems import MEDIA_TYPE, describe_problem
from examples.web.shapes import read_body, read_number, read_text, read_uploads, show_thread, show_turn, show_turns
from threadmill import (
    Attachment,
    default_producer,
    find_turn_async,
    requeue_turn_async,
    send_message_async,
    warm_up_async,
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await warm_up_async()
    yield
    await default_producer().close_async()


app = FastAPI(lifespan=lifespan)


@app.post("/threads/{thread_id}/messages", status_code=202)
async def send(
    thread_id: str,
    request: Request,
    idempotency_key: Annotated[str | None, Header()] = None,
    x_user: Annotated[str | None, Header()] = None,
) -> dict[str, str]:
    content, files = await read_message(request)
    turn = await send_message_async(thread_id, content, user=x_user, attachments=files, idempotency_key=idempotency_key)
    return {"turn": turn.id}


@app.get("/turns/{turn_id}")
async def read(turn_id: str) -> dict[str, Any]:
    turn = await find_turn_async(turn_id, tenant="default")
    record = await turn.record()
    return show_turn(record, await turn.result() if record.state.is_final else None)


@app.post("/turns/{turn_id}/cancel", status_code=202)
async def cancel(turn_id: str, x_user: Annotated[str | None, Header()] = None) -> dict[str, str]:
    return {"turn": turn_id, "state": await threadmill.cancel_turn_async(turn_id, by=x_user, tenant="default")}


@app.post("/turns/{turn_id}/retry", status_code=202)
async def retry(turn_id: str) -> dict[str, str]:
    return {"turn": (await requeue_turn_async(turn_id, tenant="default")).id}


@app.get("/threads/{thread_id}")
async def read_thread(thread_id: str, last: str = "50") -> dict[str, Any]:
    return show_thread(await threadmill.read_thread_async(thread_id, last=read_number("last", last)))


@app.get("/threads/{thread_id}/turns")
async def list_turns(thread_id: str, limit: str = "50", cursor: str | None = None) -> dict[str, Any]:
    return show_turns(await threadmill.list_turns_async(thread_id, limit=read_number("limit", limit), cursor=cursor))


@app.get("/threads/{thread_id}/files/{sha256}")
async def download(thread_id: str, sha256: str) -> Response:
    file = await threadmill.find_file_async(thread_id, sha256)
    url = await threadmill.file_url_async(file)
    if url.startswith("http"):
        return RedirectResponse(url)
    content = await threadmill.read_file_async(file)
    disposition = f"attachment; filename*=UTF-8''{quote(file.download_name)}"
    return Response(content, media_type=file.media_type, headers={"Content-Disposition": disposition})


@app.exception_handler(threadmill.ThreadmillError)
async def refuse(_: Request, error: threadmill.ThreadmillError) -> JSONResponse:
    body, status, headers = describe_problem(error)
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


async def read_message(request: Request) -> tuple[str, list[Attachment]]:
    """Read a message: JSON, or a form with files."""
    if not request.headers.get("Content-Type", "").startswith("multipart/"):
        return read_text(read_body(await request.body()), "content"), []
    async with request.form() as form:
        uploads = [(part.filename, await part.read()) for part in form.getlist("files") if isinstance(part, UploadFile)]
        return str(form.get("content", "")), read_uploads(uploads)
