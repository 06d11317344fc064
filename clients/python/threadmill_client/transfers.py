"""Files to the gateway and back.

What stays true: a small file goes through the gateway, a large one straight to the file store, at an address that is
good for that alone. What comes back is compared with its hash. The key goes to the gateway only.
"""

import hashlib
import mimetypes
import os
import secrets
from pathlib import Path
from urllib.parse import urljoin

from threadmill_client.decoding import read_model
from threadmill_client.errors import Problem, UnexpectedAnswer
from threadmill_client.file_source import FileContent, FileSink, FileSource
from threadmill_client.models import File, Upload
from threadmill_client.wire import Answer, Plan, Request, Work, idempotency, json_request, path

#: Bytes up to which a file goes through the gateway.
SMALL_FILE_BYTES = 1024 * 1024
#: How long a file store may take to say that all has come.
_STORE_SECONDS = 120
_NOT_SUPPORTED = "urn:threadmill:problem:uploads-not-supported"


def upload_file(content: FileContent, *, filename: str | None = None, media_type: str | None = None) -> Plan[File]:
    """Upload a file: bytes, a path, or an open file that can seek. Pass what is returned to `send_message`."""
    source = FileSource(content)
    name = filename or source.name
    if not name:
        raise ValueError("filename is missing: bytes have none of their own")
    kind = media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
    size = yield Work(source.size)
    if size > SMALL_FILE_BYTES:
        sha256 = yield Work(source.sha256)
        try:
            return (yield from _put(source, filename=name, media_type=kind, size=size, sha256=sha256))
        except Problem as error:
            # A store without presigned addresses, as a folder.
            if error.fields.get("type") != _NOT_SUPPORTED:
                raise
    data = yield Work(source.read)
    return read_model(File, (yield _multipart_request(name, kind, data)).json())


def _put(source: FileSource, **declared: str | int) -> Plan[File]:
    answer = yield json_request("POST", path("uploads"), declared, headers=idempotency())
    upload = read_model(Upload, answer.json())
    yield Request(
        method=upload.method,
        address=upload.url,
        headers={**upload.headers, "Content-Length": str(declared["size"])},
        body=source,
        extra_seconds=_STORE_SECONDS,
    )
    where = path("uploads", upload.id, "complete")
    answer = yield Request(method="POST", path=where, headers=idempotency(), extra_seconds=_STORE_SECONDS)
    return read_model(File, answer.json())


def _multipart_request(filename: str, media_type: str, data: bytes) -> Request:
    boundary = secrets.token_hex(16)
    escaped = filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", **idempotency()}
    return Request(method="POST", path=path("files"), headers=headers, body=body)


def download_file(thread_id: str, sha256: str) -> Plan[bytes]:
    """Read a file of a thread into memory. Raises `NotFound`."""
    answer = yield from _fetch(path("threads", thread_id, "files", sha256))
    if hashlib.sha256(answer.body).hexdigest() != sha256:
        raise UnexpectedAnswer(f"the file that came is not {sha256}")
    return answer.body


def save_file(thread_id: str, sha256: str, target: str | os.PathLike[str]) -> Plan[Path]:
    """Save a file of a thread, however large, under a path; what stood there is replaced. Raises `NotFound`."""
    sink = FileSink(target)
    try:
        yield from _fetch(path("threads", thread_id, "files", sha256), sink)
        if sink.sha256 != sha256:
            raise UnexpectedAnswer(f"the file that came is not {sha256}")
        yield Work(sink.commit)
    finally:
        sink.drop()
    return sink.target


def download_thumbnail(thread_id: str, sha256: str) -> Plan[bytes]:
    """Read a small picture of a file of a thread. Raises `NotFound` where there is none."""
    return (yield from _fetch(path("threads", thread_id, "files", sha256, "thumbnail"))).body


def _fetch(where: str, sink: FileSink | None = None) -> Plan[Answer]:
    answer: Answer = yield Request(method="GET", path=where, sink=sink, may_redirect=True)
    if 300 <= answer.status < 400:
        address = urljoin(answer.address, answer.headers.get("location", ""))
        answer = yield Request(method="GET", address=address, sink=sink, extra_seconds=_STORE_SECONDS)
    return answer
