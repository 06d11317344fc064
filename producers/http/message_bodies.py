"""The body of a send: JSON, or a form whose fields are named alike and whose files are attached."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from producers.http.forms import check_is_json, invalid_field, is_form, read_form, split_form
from producers.http.request_shapes import NewMessage
from store.settings import Settings

#: Fields of a form that are text; the others are JSON.
_TEXT_FIELDS = ("content", "agent", "user", "not_before", "deadline", "when_busy")
_JSON_FIELDS = ("attachments", "metadata", "priority", "merge_window")
_FILES = "files"
#: What names a branch of a union in the place of an error, and no field.
_BRANCHES = frozenset({"text", "parts", "image_url", "file"})


@dataclass(frozen=True, slots=True)
class MessageBody:
    """The message of a request, and the files that it brings."""

    message: NewMessage
    files: Sequence[UploadFile] = ()


@asynccontextmanager
async def read_message(request: Request, settings: Settings) -> AsyncIterator[MessageBody]:
    """Read the body; its files are there inside of the block. Raises `RequestValidationError`, and `Problem`."""
    if not is_form(request):
        check_is_json(request)
        yield MessageBody(_validate_json(await request.body()))
        return
    # One more, so that too many are refused in the same words as everywhere.
    async with read_form(request, max_files=settings.attachments_max_count + 1) as form:
        texts, files = split_form(form, file_field=_FILES, fields=(*_TEXT_FIELDS, *_JSON_FIELDS))
        yield MessageBody(_validate({name: _read_field(name, text) for name, text in texts.items()}), files)


def _validate_json(body: bytes) -> NewMessage:
    try:
        return NewMessage.model_validate_json(body)
    except ValidationError as error:
        raise _request_error(error) from None


def _validate(values: dict[str, Any]) -> NewMessage:
    try:
        return NewMessage.model_validate(values)
    except ValidationError as error:
        raise _request_error(error) from None


def _read_field(name: str, text: str) -> Any:
    if name in _TEXT_FIELDS:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise invalid_field(name, "no_json", "is no JSON") from None


def _request_error(error: ValidationError) -> RequestValidationError:
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    return RequestValidationError([each | {"loc": ("body", *_place(each["loc"]))} for each in errors])


def _place(loc: Sequence[int | str]) -> list[int | str]:
    """The fields that lead to an error, without the branches of unions on the way."""
    place: list[int | str] = []
    for before, part in zip(("", *loc), loc, strict=False):
        if part not in _BRANCHES or not (isinstance(before, int) or before == "content"):
            place.append(part)
    return place


_FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in _TEXT_FIELDS},
        **{name: {"type": "string", "description": "As JSON."} for name in _JSON_FIELDS},
        _FILES: {"type": "array", "items": {"type": "string", "format": "binary"}},
    },
    "additionalProperties": False,
}


def _inline_definitions(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without references: where it stands in an OpenAPI document, they would lead nowhere."""
    definitions = schema.pop("$defs", {})

    def resolve(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return resolve(definitions[value["$ref"].rpartition("/")[2]])
            return {name: resolve(each) for name, each in value.items() if name != "discriminator"}
        return [resolve(each) for each in value] if isinstance(value, list) else value

    resolved: dict[str, Any] = resolve(schema)
    return resolved


#: The body, as the OpenAPI document has it.
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": _inline_definitions(NewMessage.model_json_schema())},
        "multipart/form-data": {"schema": _FORM_SCHEMA},
    },
}
