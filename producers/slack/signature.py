"""Slack's signature of a request: who does not have the app's signing secret is not heard.

What stays true: the signature is over the very bytes of the body; one that is older than five minutes, or from the
future, is none, so that a request that somebody recorded cannot be sent again later.
"""

import hashlib
import hmac
from collections.abc import Mapping

#: Seconds between a request's signature and its arrival, at most, either way.
REPLAY_WINDOW_SECONDS = 300
TIMESTAMP_HEADER = "x-slack-request-timestamp"
SIGNATURE_HEADER = "x-slack-signature"
#: Digits of a time in seconds, at most.
_TIMESTAMP_MAX_DIGITS = 12


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature of a body, as it stands in its header."""
    signed = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def is_signed(secret: str, headers: Mapping[str, str], body: bytes, *, now: float) -> bool:
    """Whether a request is Slack's: `headers` by their names in lower case, `now` in seconds since 1970."""
    timestamp, signature = headers.get(TIMESTAMP_HEADER, ""), headers.get(SIGNATURE_HEADER, "")
    if not secret or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _TIMESTAMP_MAX_DIGITS):
        return False
    if abs(now - int(timestamp)) > REPLAY_WINDOW_SECONDS:
        return False
    return hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode("utf-8", "replace"))
