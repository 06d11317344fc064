"""Signatures of webhooks that come in: the schemes of well-known senders, and plain HMAC-SHA256.

What stays true: a signature is over the very bytes that came, compared in constant time, and checked before a byte is
parsed; where the scheme has a time in it, a request that is older or younger than five minutes is a replay.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum

#: Seconds that a signed time may be off.
TOLERANCE_SECONDS = 300
#: Signatures of one request that are compared, at most.
SIGNATURES_MAX = 10
#: The beginning of a Standard Webhooks key, which is base64.
WHSEC = "whsec_"
#: Digits of a number of seconds: those of any time to come.
_SECONDS_MAX_CHARS = 12

Headers = Mapping[str, str]


class Scheme(StrEnum):
    """How a sender signs."""

    #: `webhook-id`, `webhook-timestamp`, `webhook-signature`: https://www.standardwebhooks.com
    STANDARD_WEBHOOKS = "standard-webhooks"
    #: HMAC-SHA256 of the body, in hex or base64, in a header of the sender's, perhaps after `sha256=`.
    HMAC_SHA256 = "hmac-sha256"
    #: `X-Hub-Signature-256`.
    GITHUB = "github"
    #: `Stripe-Signature`.
    STRIPE = "stripe"
    #: The secret itself, in a header of the sender's.
    TOKEN = "token"  # noqa: S105 - says what it is


#: The headers of the schemes that say it themselves.
FIXED_HEADERS = {Scheme.GITHUB: "x-hub-signature-256", Scheme.STRIPE: "stripe-signature"}
#: The schemes whose sender chooses a header.
WITH_HEADER = (Scheme.HMAC_SHA256, Scheme.TOKEN)


def verify(
    scheme: Scheme, secrets: Sequence[str], header: str | None, headers: Headers, body: bytes, *, now: float
) -> bool:
    """Whether one of the secrets signed a request; `headers` are by their names in lower case, `now` in seconds."""
    claims = list(_CLAIMS[scheme](FIXED_HEADERS.get(scheme, header or ""), headers, body, now))
    matches = [
        hmac.compare_digest(claimed, expect(secret.encode()))
        for claimed, expect in claims[:SIGNATURES_MAX]
        for secret in secrets
    ]
    # All are compared, whichever matches.
    return any(matches)


#: A signature that a request claims, and what it has to be by a secret.
_Claim = tuple[bytes, Callable[[bytes], bytes]]


def _standard(_: str, headers: Headers, body: bytes, now: float) -> Iterator[_Claim]:
    delivery_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not delivery_id or not _is_recent(timestamp, now):
        return
    signed = f"{delivery_id}.{timestamp}.".encode("utf-8", "surrogatepass") + body
    for each in headers.get("webhook-signature", "").split()[:SIGNATURES_MAX]:
        version, _comma, signature = each.partition(",")
        if version == "v1":
            yield _decode_base64(signature), lambda secret: _hmac(whsec_key(secret.decode()), signed)


def _plain(header: str, headers: Headers, body: bytes, _: float) -> Iterator[_Claim]:
    signature = headers.get(header.lower(), "").strip().removeprefix("sha256=")
    if signature:
        claimed = _decode_hex(signature) or _decode_base64(signature)
        yield claimed, lambda secret: _hmac(secret, body)


def _stripe(header: str, headers: Headers, body: bytes, now: float) -> Iterator[_Claim]:
    pairs = [part.partition("=")[::2] for part in headers.get(header, "").split(",")[: 2 * SIGNATURES_MAX]]
    timestamp = next((value for name, value in pairs if name.strip() == "t"), "")
    if not _is_recent(timestamp, now):
        return
    signed = f"{timestamp}.".encode() + body
    for name, value in pairs:
        if name.strip() == "v1":
            yield _decode_hex(value.strip()), lambda secret: _hmac(secret, signed)


def _token(header: str, headers: Headers, _: bytes, __: float) -> Iterator[_Claim]:
    token = headers.get(header.lower(), "").strip().removeprefix("Bearer ")
    if token:
        # Both are hashed, so that they have one length.
        yield _digest(token.encode("utf-8", "surrogatepass")), _digest


_CLAIMS: Mapping[Scheme, Callable[[str, Headers, bytes, float], Iterator[_Claim]]] = {
    Scheme.STANDARD_WEBHOOKS: _standard,
    Scheme.HMAC_SHA256: _plain,
    Scheme.GITHUB: _plain,
    Scheme.STRIPE: _stripe,
    Scheme.TOKEN: _token,
}


def _is_recent(timestamp: str, now: float) -> bool:
    is_number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _SECONDS_MAX_CHARS
    return is_number and abs(now - int(timestamp)) <= TOLERANCE_SECONDS


def whsec_key(secret: str) -> bytes:
    """The key of a secret as Standard Webhooks writes it; empty where it is none."""
    return _decode_base64(secret.removeprefix(WHSEC)) if secret.startswith(WHSEC) else secret.encode()


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _decode_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if text.isascii() else b""
    except ValueError:
        return b""


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _digest(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()
