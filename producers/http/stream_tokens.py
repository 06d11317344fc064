"""Tokens for one thread's stream: for `EventSource`, which can send no header, and so has to show them in the address.

What stays true: a token is good for a few minutes, for reading the events of one thread, as one user, and for nothing
else; it is signed by the installation, so that each of its gateways takes it and none keeps it. Addresses end up in
logs of proxies and in histories: that is why it is no API key that stands there.
"""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from producers.http.dependencies import GatewayOf, Reader
from producers.http.principal import Principal
from producers.http.visibility import visible_thread
from store.database.engine import Database
from store.installation import read_signing_key

#: The beginning of every token, for people and for scanners of secrets.
PREFIX = "tms_"
#: What a token is good for. Another purpose is another key: no signature of one is good for the other.
PURPOSE = "threadmill.stream-token.v1"
#: Characters of a token, at most: an id may have 255 characters of four bytes.
TOKEN_MAX_CHARS = 8_192

router = APIRouter(tags=["events"])


class StreamToken(BaseModel):
    """A token for the events of one thread."""

    #: A secret, which begins with `tms_`.
    token: str
    expires_at: datetime


@router.post("/threads/{thread_id}/stream-tokens", status_code=201)
async def create_stream_token(gateway: GatewayOf, principal: Reader, thread_id: str, response: Response) -> StreamToken:
    """Make a token that reads the events of this thread for a few minutes, as `?token=` in their address."""
    await visible_thread(gateway, principal, thread_id)
    seconds = gateway.settings.gateway_stream_token_seconds
    response.headers["Cache-Control"] = "no-store"
    return await StreamTokens(gateway.producer.database).issue(principal, thread_id, seconds=seconds)


class StreamTokens:
    """Makes and reads the tokens of one installation."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._key: bytes | None = None

    async def issue(self, principal: Principal, thread_id: str, *, seconds: float) -> StreamToken:
        """Make a token for a bearer who may read the thread."""
        expires = int(time.time() + seconds)
        claims = {
            "tenant": principal.tenant,
            "user": principal.user,
            "thread": thread_id,
            "credential": principal.credential,
            "exp": expires,
        }
        body = _encode(json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode())
        token = f"{PREFIX}{body}.{_sign(await self._load_key(), body)}"
        return StreamToken(token=token, expires_at=datetime.fromtimestamp(expires, UTC))

    async def read(self, token: str) -> Principal | None:
        """The bearer of a token; None for one that is not ours, or over. Raises `DatabaseUnavailable`."""
        body, _, signature = token.removeprefix(PREFIX).partition(".")
        if len(token) > TOKEN_MAX_CHARS or not token.isascii():
            return None
        if not hmac.compare_digest(signature, _sign(await self._load_key(), body)):
            return None
        # Signed by us: what stands in it is what `issue` wrote.
        claims: dict[str, Any] = json.loads(_decode(body))
        if claims["exp"] <= time.time():
            return None
        return Principal(
            tenant=claims["tenant"],
            user=claims["user"],
            scopes=frozenset({"read"}),
            thread_id=claims["thread"],
            credential=claims["credential"],
        )

    async def _load_key(self) -> bytes:
        if self._key is None:
            signing_key = await self._database.run_async(read_signing_key)
            self._key = hmac.digest(signing_key, PURPOSE.encode(), hashlib.sha256)
        return self._key


def _sign(key: bytes, body: str) -> str:
    return _encode(hmac.digest(key, body.encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
