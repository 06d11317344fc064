"""Forms with files: read while they come, their files on the disk.

What stays true: no file is in memory as a whole; what a form may hold is bounded in number and in size.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from producers.http.problems import Problem

#: Bytes of a field that is no file: those of the longest message.
FIELD_MAX_BYTES = 8 * 1024 * 1024
#: Fields of a form that are no files.
FIELDS_MAX = 20


def is_form(request: Request) -> bool:
    """Whether a request brings a form with files."""
    return _media_type(request) == "multipart/form-data"


def check_is_json(request: Request) -> None:
    """Refuse a body of another type. Raises `Problem`."""
    media_type = _media_type(request)
    if media_type not in ("", "application/json") and not media_type.endswith("+json"):
        raise Problem(415, "Unsupported Media Type", "send application/json, or multipart/form-data with files")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@asynccontextmanager
async def read_form(request: Request, *, max_files: int) -> AsyncIterator[FormData]:
    """Read a form, and remove its files at the end. Raises `Problem` for one that cannot be read."""
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=max_files, max_fields=FIELDS_MAX, max_part_size=FIELD_MAX_BYTES
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        # A header without a boundary has no such key.
        problem = error.message if isinstance(error, MultiPartException) else "the form has no boundary"
        raise Problem(400, "Invalid input", f"body: {problem}", field="body", problem=problem) from None
    try:
        yield form
    finally:
        await form.close()


def split_form(form: FormData, *, file_field: str, fields: Iterable[str]) -> tuple[dict[str, str], list[UploadFile]]:
    """The text fields of a form by name, and its files. Raises `RequestValidationError` for others."""
    texts: dict[str, str] = {}
    files: list[UploadFile] = []
    known_names = set(fields)
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != file_field:
                raise invalid_field(name, "extra_forbidden", f"is a file; files come as {file_field}")
            # A browser sends an empty one where none was chosen.
            if value.filename or value.size:
                files.append(value)
        elif name == file_field:
            raise invalid_field(name, "no_file", "is no file")
        elif name in texts:
            raise invalid_field(name, "repeated", "Comes more than once")
        elif name not in known_names:
            raise invalid_field(name, "extra_forbidden", "Extra inputs are not permitted")
        else:
            texts[name] = value
    return texts, files


def invalid_field(name: str, kind: str, message: str) -> RequestValidationError:
    """The error for a field of a body."""
    error: dict[str, Any] = {"type": kind, "loc": ("body", name), "msg": message, "input": None}
    return RequestValidationError([error])
