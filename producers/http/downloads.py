"""The bytes of a file as an answer: a redirect to where they are, or themselves where only the gateway reaches them.

What stays true: a browser saves them, or shows a picture that holds no program, and runs nothing of them; they are
handed out in pieces and are never in memory as a whole.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import timedelta

from fastapi import Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from conversation.attachment import Attachment
from conversation.media_types import UNKNOWN_TYPE
from producers.http.dependencies import Gateway
from producers.http.entity_tags import read_etags, write_etag
from store.blobs import BlobStore
from store.blobs.download_headers import content_disposition, served_type

#: How long the address of a redirect is good.
ADDRESS_MAX_AGE = timedelta(minutes=5)


async def answer_file(
    gateway: Gateway, tenant: str, file: Attachment, request: Request, *, inline: bool = False
) -> Response:
    """The answer with a file that its asker may have. Raises `FileNotStored` and `FileStoreUnavailable`."""
    etag = write_etag(str(file.sha256))
    known_versions = read_etags(request.headers.get("if-none-match"), is_weak=True)
    # The bytes of a hash never change.
    caching = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if "if-none-match" in request.headers and (known_versions is None or file.sha256 in known_versions):
        return Response(status_code=304, headers=caching)
    blobs = await asyncio.to_thread(lambda: gateway.producer.blobs)
    address = await asyncio.to_thread(
        blobs.url,
        tenant,
        str(file.sha256),
        expires=ADDRESS_MAX_AGE,
        filename=file.filename,
        media_type=file.media_type or UNKNOWN_TYPE,
        inline=inline,
    )
    if address.startswith(("https:", "http:")):
        # Whoever has the address has the file: it is in no cache.
        return RedirectResponse(address, 302, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    return await _answer_bytes(blobs, tenant, file, caching, inline=inline)


async def _answer_bytes(
    blobs: BlobStore, tenant: str, file: Attachment, caching: dict[str, str], *, inline: bool
) -> Response:
    media_type = file.media_type or UNKNOWN_TYPE
    opened = ExitStack()
    pieces = await asyncio.to_thread(opened.enter_context, blobs.open(tenant, str(file.sha256)))
    headers = caching | {
        "Content-Disposition": content_disposition(file.filename, media_type, inline=inline),
        "Content-Length": str(file.size),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-site",
        "Accept-Ranges": "none",
    }
    return StreamingResponse(_read(pieces, opened), media_type=served_type(media_type), headers=headers)


async def _read(pieces: Iterator[bytes], opened: ExitStack) -> AsyncIterator[bytes]:
    try:
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece
    finally:
        await asyncio.to_thread(opened.close)
