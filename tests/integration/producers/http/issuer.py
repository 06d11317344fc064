"""An issuer of JWTs for tests: its keys, tokens of any form, and a server of its JWKS that can be away."""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NAME, AUDIENCE = "https://issuer.example", "threadmill"


@cache
def ec_key(_number: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk_of(key: Any, **values: Any) -> dict[str, Any]:
    algorithm: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **values}


def pem_of(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def claims(**values: Any) -> dict[str, Any]:
    """Claims that hold, with changes; None leaves one out."""
    now = int(time.time())
    given = {
        "iss": NAME, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 600,
        "sub": "ann", "tenant": "acme", "scope": "openid read write",
    }  # fmt: skip
    return {name: value for name, value in {**given, **values}.items() if value is not None}


def token(key: Any = None, *, header: dict[str, Any] | None = None, payload: object = None, **values: Any) -> str:
    """A token signed by the issuer, with any header and any claims."""
    key = key or ec_key()
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    given = {"alg": algorithm, "typ": "JWT", **(header or {})}
    return sign(given, claims(**values) if payload is None else payload, key)


def sign(header: object, payload: object, key: Any, *, algorithm: str | None = None) -> str:
    """A token of these parts, whatever they are; signed by the algorithm of its key, or another."""
    name = algorithm or ("RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256")
    method = jwt.get_algorithm_by_name(name)
    body = f"{encode(header)}.{encode(payload)}"
    return f"{body}.{encode(method.sign(body.encode(), method.prepare_key(key)))}"


def encode(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class KeyServer:
    """Serves what it is told to; counts who asks."""

    def __init__(self) -> None:
        self.requests = 0
        self.status = 200
        self.content = b"{}"
        self.delay_seconds = 0.0
        self.url = ""
        self._answers: set[asyncio.Task[None]] = set()

    def serve(self, *keys: dict[str, Any]) -> None:
        self.status, self.content = 200, json.dumps({"keys": keys}).encode()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["KeyServer"]:
        async with await asyncio.start_server(self._answer, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
            yield self
            for answer in self._answers:
                answer.cancel()
            await asyncio.gather(*self._answers, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = asyncio.create_task(self._write_answer(reader, writer))
        self._answers.add(answer)
        with suppress(asyncio.CancelledError):
            await answer
        writer.close()

    async def _write_answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        await asyncio.sleep(self.delay_seconds)
        head = f"HTTP/1.1 {self.status} X\r\nLocation: {self.url}x\r\nContent-Length: {len(self.content)}\r\n\r\n"
        writer.write(head.encode() + self.content)
        with suppress(ConnectionError):
            await writer.drain()
