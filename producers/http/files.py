"""Files over HTTP: put them, past the gateway or through it, and fetch those of a thread."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from conversation.errors import FileNotStored
from conversation.ids import new_id
from producers.http.answer_shapes import StoredFile, Upload
from producers.http.dependencies import GatewayOf, Reader, Writer
from producers.http.downloads import answer_file
from producers.http.forms import invalid_field, is_form, read_form, split_form
from producers.http.problems import Problem
from producers.http.request_shapes import NewUpload
from producers.http.sending import examine_files, store_files
from producers.http.visibility import database_of
from store.files.thread_files import find_download, find_thumbnail
from store.files.uploads import enter_complete

router = APIRouter(tags=["files"])

_FORM: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
                "additionalProperties": False,
            }
        }
    },
}
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes.", "content": {"application/octet-stream": {}}},
    302: {"description": "They are at this address, for a few minutes."},
    304: {"description": "The client has them: their hash is their `ETag`."},
}


@router.post("/uploads", operation_id="create_upload", status_code=201)
async def create_upload(gateway: GatewayOf, principal: Writer, body: NewUpload) -> Upload:
    """Ask for an address to put a file at, past the gateway."""
    uploads = await asyncio.to_thread(lambda: gateway.producer.uploads)
    upload = await asyncio.to_thread(
        uploads.create,
        body.filename,
        body.media_type,
        body.size,
        body.sha256,
        tenant=principal.tenant,
        user=principal.user,
    )
    return Upload.of(upload)


@router.post("/uploads/{upload_id}/complete", operation_id="complete_upload")
async def complete_upload(gateway: GatewayOf, principal: Writer, upload_id: str) -> StoredFile:
    """Say that a file was put: from now on its hash can be attached, for an hour at least."""
    uploads = await asyncio.to_thread(lambda: gateway.producer.uploads)
    file = await asyncio.to_thread(uploads.complete, upload_id, tenant=principal.tenant, user=principal.user)
    return StoredFile.of(file)


@router.post("/files", operation_id="create_file", status_code=201, openapi_extra={"requestBody": _FORM})
async def create(gateway: GatewayOf, principal: Writer, request: Request) -> StoredFile:
    """Put a small file: from now on its hash can be attached, for an hour at least."""
    if not is_form(request):
        raise Problem(415, "Unsupported Media Type", "send multipart/form-data with the field `file`")
    async with read_form(request, max_files=2) as form:
        _, files = split_form(form, file_field="file", fields=())
        if len(files) != 1:
            raise invalid_field("file", "missing" if not files else "repeated", "One file is required")
        received_files = await examine_files(files, gateway.settings)
        await store_files(gateway, principal, received_files)
    (received,) = received_files
    await database_of(gateway, principal).run_async(
        enter_complete,
        new_id(),
        principal.tenant,
        received.attachment,
        expires_seconds=gateway.settings.upload_max_age_seconds,
        owner=principal.user,
    )
    return StoredFile.of(received.attachment)


@router.get("/threads/{thread_id}/files/{sha256}", operation_id="read_file", response_class=Response, responses=_BYTES)
async def download(gateway: GatewayOf, principal: Reader, thread_id: str, sha256: str, request: Request) -> Response:
    """Fetch a file of a thread, to be saved."""
    scans = bool(gateway.settings.scanner_url)
    file = await database_of(gateway, principal).run_async(
        find_download, principal.tenant, thread_id, sha256, user=principal.user, scans=scans
    )
    return await answer_file(gateway, principal.tenant, file, request)


@router.get(
    "/threads/{thread_id}/files/{sha256}/thumbnail",
    operation_id="read_thumbnail",
    response_class=Response,
    responses=_BYTES,
)
async def download_thumbnail(
    gateway: GatewayOf, principal: Reader, thread_id: str, sha256: str, request: Request
) -> Response:
    """Fetch the small picture of an image; there is none before a worker has prepared it."""
    scans = bool(gateway.settings.scanner_url)
    file = await database_of(gateway, principal).run_async(
        find_thumbnail, principal.tenant, thread_id, sha256, user=principal.user, scans=scans
    )
    if file is None:
        raise FileNotStored("sha256: this file has no thumbnail, or none yet")
    return await answer_file(gateway, principal.tenant, file, request, inline=True)
