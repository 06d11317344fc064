"""A page at the root of the gateway: one HTML file that brings its styles and scripts, as `examples/web/chat/` does.

What stays true: of styles and scripts only those that stand in the file have an effect, which their hashes see to;
the page asks its own gateway and the file store alone; no other page frames it.
"""

import base64
import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from conversation.errors import InvalidInput
from store.settings import Settings
from store.settings.variables import variable

#: Elements whose text a policy names by its hash.
_ELEMENT = r"<{tag}\b[^>]*>(.*?)</{tag}>"


def page_route(path: Path, settings: Settings) -> Route:
    """The route of a page at `/`. Raises `InvalidInput` where the file cannot be read."""
    try:
        html = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            variable("gateway_page"), f"{path} cannot be read: {error}", "name an HTML file, or leave it empty"
        ) from error
    headers = {
        "Content-Security-Policy": build_policy(html, storage_origin(settings)),
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    async def show_page(_: Request) -> Response:
        return Response(html, media_type="text/html; charset=utf-8", headers=headers)

    return Route("/", show_page, methods=["GET"], include_in_schema=False)


def build_policy(html: str, storage: str = "") -> str:
    """The Content-Security-Policy of a page: nothing but what stands in it, its own gateway and this file store."""
    own = " ".join(filter(None, ("'self'", storage)))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_list_hashes(html, 'script')}",
            f"style-src {_list_hashes(html, 'style')}",
            f"connect-src {own}",
            "img-src 'self' blob: data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def storage_origin(settings: Settings) -> str:
    """The origin of presigned addresses, which browsers put files to and get them from; "" where there are none."""
    if not settings.file_store_url.startswith("s3:"):
        return ""
    if not settings.s3_endpoint_url:
        return "https://*.amazonaws.com"
    address = urlsplit(settings.s3_endpoint_url)
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}"


def _list_hashes(html: str, tag: str) -> str:
    texts = re.findall(_ELEMENT.format(tag=tag), html, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
