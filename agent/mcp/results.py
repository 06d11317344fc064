"""The result of an MCP tool as a tool's return value: JSON, texts, and files for pictures, sound and blobs.

What stays true: what a server says is wrong with a call is raised, for the model to read; what is in a result and of no
kind that is known here is named, not dropped.
"""

import base64
import binascii
import json
import mimetypes
from typing import Any
from urllib.parse import unquote, urlsplit

from agent.tools.produced_file import ProducedFile
from agent.web.filename import clean_file_name
from conversation.media_types import UNKNOWN_TYPE


class McpToolError(Exception):
    """The server says that the call failed, and why. For the model."""


def convert_result(result: Any, *, tool: str) -> object:
    """Convert a `CallToolResult`. Raises `McpToolError`."""
    blocks = [_convert_block(block, f"{tool}-{number}") for number, block in enumerate(result.content, start=1)]
    if result.is_error:
        reasons = [block for block in blocks if isinstance(block, str)]
        if not reasons and result.structured_content is not None:
            reasons = [json.dumps(result.structured_content, ensure_ascii=False)]
        raise McpToolError("\n".join(reasons) or "no reason was given")
    others = [block for block in blocks if not isinstance(block, str)]
    if result.structured_content is not None:
        # A server says the same in texts, for clients that do not read it.
        return [result.structured_content, *others] if others else result.structured_content
    return blocks[0] if len(blocks) == 1 else blocks


def _convert_block(block: Any, name: str) -> object:
    match block.type:
        case "text":
            return str(block.text)
        case "image" | "audio":
            return _file(name, block.data, block.mime_type)
        case "resource":
            return _convert_resource(block.resource, name)
        case "resource_link":
            fields = {"uri": block.uri, "name": block.name, "description": block.description, "type": block.mime_type}
            return {"resource": {key: value for key, value in fields.items() if value}}
        case _:
            return {"unknown_content": str(block.type)}


def _convert_resource(resource: Any, name: str) -> object:
    if hasattr(resource, "text"):
        return {"uri": resource.uri, "text": resource.text}
    return _file(name, resource.blob, resource.mime_type, uri=resource.uri)


def _file(name: str, data: str, media_type: str | None, *, uri: str = "") -> object:
    """The file of base64 text: by the last word of its address, else by the tool's name and a number."""
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return {"unreadable_file": media_type or UNKNOWN_TYPE}
    kind = media_type or UNKNOWN_TYPE
    return ProducedFile(_last_word(uri) or f"{name}{mimetypes.guess_extension(kind) or ''}", content, kind)


def _last_word(uri: str) -> str:
    """The name of a file at the end of an address; "" where there is none."""
    try:
        return clean_file_name(unquote(urlsplit(uri).path))
    except ValueError:
        return ""
