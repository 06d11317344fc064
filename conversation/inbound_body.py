"""The body of a webhook that comes in, read as what anybody may have written there.

What stays true: nothing is parsed before its signature was verified; what is nested too deep, repeats a key, or holds a
number that no float has, is refused by its field, and no parser gives up on it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from conversation.errors import InvalidInput
from conversation.inbound_mapping import InboundBody
from conversation.validation import check_json_shape

_FIX = "send one JSON document in UTF-8"


def read_inbound_body(body: bytes, headers: Mapping[str, str]) -> InboundBody:
    """Parse a body; headers are by their names in lower case. Raises `InvalidInput`."""
    try:
        # A mark at its beginning is no part of it.
        document = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse, object_pairs_hook=_without_repeats)
    except InvalidInput:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidInput("body", f"is no JSON ({type(error).__name__})", _FIX) from None
    check_json_shape("body", document, max(len(body), 1))
    return InboundBody(document=document, headers=headers, sha256=hashlib.sha256(body).hexdigest())


def _refuse(constant: str) -> Any:
    raise InvalidInput("body", f"holds {constant}", _FIX)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two values of one key, parsers choose differently: what was verified would not be what is read.
    document = dict(pairs)
    if len(document) != len(pairs):
        raise InvalidInput("body", "has a key twice in one object", _FIX)
    return document
