"""The keys of an issuer of JWTs: out of the settings, or read at the issuer's address, where they change.

What stays true: a key verifies the algorithms of its own kind and no other, whatever a token says of itself. Keys of
an address are public ones, read over HTTPS within bounds of size and time, by one request at a time; while the
address is away, those that were read go on.
"""

import asyncio
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

import httpx
import jwt
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from conversation.errors import InvalidSettings
from store.settings import variable

#: Bytes of an answer of the issuer, at most.
ANSWER_MAX_BYTES = 256 * 1024
#: Keys of an issuer that are looked at, at most.
MAX_KEYS = 100
#: Seconds that one request to the issuer may take, in all.
FETCH_SECONDS = 5.0
#: The algorithms of each kind of key, and of each curve.
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"P-256": frozenset({"ES256"}), "P-384": frozenset({"ES384"}), "P-521": frozenset({"ES512"})}
_CURVES_OF_PEM = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_EDWARDS = frozenset({"EdDSA"})
_SECRET = frozenset({"HS256", "HS384", "HS512"})

log = structlog.get_logger(__name__)


class IssuerAway(Exception):
    """The issuer's keys cannot be read now: nothing can be said of a token."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key that verifies signatures."""

    #: Its name in the issuer's set; None where it has none.
    kid: str | None
    algorithms: frozenset[str]
    #: As PyJWT takes it.
    key: Any


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of an issuer."""

    keys: Sequence[VerificationKey]

    def knows(self, kid: str | None) -> bool:
        """Whether a key has this name."""
        return any(key.kid == kid for key in self.keys)

    def choose(self, kid: str | None, algorithm: str) -> list[VerificationKey]:
        """The keys that may have signed a token: those of its name, and those without one."""
        named = [key for key in self.keys if kid is None or key.kid in (None, kid)]
        return [key for key in named if algorithm in key.algorithms]


class FixedKeys:
    """The keys of the settings."""

    def __init__(self, text: str, algorithms: Collection[str]) -> None:
        """Raises `InvalidSettings` where the text holds no key for one of the algorithms."""
        self._keys = _read_setting(text, frozenset(algorithms))
        if not self._keys.keys:
            name = variable("gateway_jwt_keys")
            raise InvalidSettings(f"{name}=***: holds no public key for {', '.join(algorithms)}, as PEM or JWKS")

    async def load(self) -> KeySet:
        """The keys."""
        return self._keys

    async def reload(self) -> KeySet | None:
        """None: there are no others."""
        return None


class RemoteKeys:
    """The keys at the address of an issuer."""

    def __init__(self, url: str, algorithms: Collection[str], *, cache_seconds: float, refetch_seconds: float) -> None:
        self._url = url
        # Made once: to read the certificates of all authorities takes as long as many requests.
        self._ssl_context = httpx.create_ssl_context()
        self._algorithms = frozenset(algorithms)
        self._cache_seconds = cache_seconds
        self._refetch_seconds = refetch_seconds
        self._keys: KeySet | None = None
        self._read_at = self._tried_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> KeySet:
        """The keys that were read last. Raises `IssuerAway` where none were.

        Old ones are read again meanwhile; very old ones, before: a key that the issuer took back ends.
        """
        age = time.monotonic() - self._read_at
        if age >= self._cache_seconds and self._may_fetch():
            task = self._fetch_once()
            if age >= 2 * self._cache_seconds and (self._keys is None or not self._is_failing()):
                await asyncio.shield(task)
        if self._keys is None:
            raise IssuerAway
        return self._keys

    async def reload(self) -> KeySet | None:
        """The keys read anew, for a name that is not known; None where that was done a moment ago.

        Raises `IssuerAway`: the name may be that of a new key.
        """
        if not self._may_fetch():
            if self._is_failing():
                raise IssuerAway
            return None
        await asyncio.shield(self._fetch_once())
        if self._is_failing():
            raise IssuerAway
        return self._keys

    def _is_failing(self) -> bool:
        """Whether the last try brought no keys."""
        return self._tried_at > self._read_at

    def _may_fetch(self) -> bool:
        return self._is_fetching() or time.monotonic() - self._tried_at >= self._refetch_seconds

    def _is_fetching(self) -> bool:
        task = self._task
        return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()

    def _fetch_once(self) -> asyncio.Task[None]:
        if self._task is None or not self._is_fetching():
            self._task = asyncio.create_task(self._fetch())
        return self._task

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self._keys = read_key_set(await _get(self._url, self._ssl_context), self._algorithms)
            self._read_at = self._tried_at = time.monotonic()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            self._tried_at = time.monotonic()
            log.warning("issuer_keys_not_read", reason=type(error).__name__)


def read_key_set(document: object, algorithms: frozenset[str]) -> KeySet:
    """The keys of a JWKS for these algorithms; what is for another use is passed over. Raises `ValueError`."""
    if isinstance(document, dict) and isinstance(document.get("keys"), list):
        entries = document["keys"][:MAX_KEYS]
        keys = [_read_jwk(entry, algorithms) for entry in entries]
        return KeySet([key for key in keys if key is not None])
    raise ValueError("is no JWKS: it has no list of keys")


async def _get(url: str, ssl_context: SSLContext) -> object:
    """The JSON at an address. Raises `ValueError` for an answer that is none, or too long."""
    content = b""
    async with (
        httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False, verify=ssl_context) as client,
        # Not compressed: a short answer may be long then.
        client.stream("GET", url, headers={"Accept": "application/json", "Accept-Encoding": "identity"}) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"status {response.status_code}")
        async for chunk in response.aiter_raw(16 * 1024):
            content += chunk
            if len(content) > ANSWER_MAX_BYTES:
                raise ValueError("the answer is too long")
    return _parse_json(content)


def _parse_json(content: str | bytes) -> object:
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _read_setting(text: str, algorithms: frozenset[str]) -> KeySet:
    """The keys of the settings; none where the text is neither PEM nor a JWKS."""
    if not text.lstrip().startswith("{"):
        return KeySet(_read_pem(text, algorithms))
    try:
        document = _parse_json(text)
        is_key = isinstance(document, dict) and "kty" in document
        return read_key_set({"keys": [document]} if is_key else document, algorithms)
    except ValueError:
        return KeySet([])


def _read_pem(text: str, algorithms: frozenset[str]) -> list[VerificationKey]:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        return []
    usable = _algorithms_of_pem(key) & algorithms
    return [VerificationKey(None, usable, key)] if usable else []


def _algorithms_of_pem(key: object) -> frozenset[str]:
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(_CURVES_OF_PEM.get(key.curve.name, ""), frozenset())
    return _EDWARDS if isinstance(key, ed25519.Ed25519PublicKey) else frozenset()


def _read_jwk(entry: object, algorithms: frozenset[str]) -> VerificationKey | None:
    """One key of a JWKS; None for one that verifies no signature of these algorithms."""
    if not isinstance(entry, dict) or not _is_for_signatures(entry):
        return None
    usable = _algorithms_of_jwk(entry) & algorithms
    if "alg" in entry:
        usable &= {entry["alg"]} if isinstance(entry["alg"], str) else frozenset()
    # A private key at an address is an accident: whoever reads it can sign. A secret one is never pinned there.
    if not usable or "d" in entry:
        return None
    kid = entry.get("kid")
    try:
        key = jwt.PyJWK.from_dict(entry, algorithm=min(usable)).key
    except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return VerificationKey(kid if isinstance(kid, str) else None, usable, key)


def _is_for_signatures(entry: Mapping[str, Any]) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _algorithms_of_jwk(entry: Mapping[str, Any]) -> frozenset[str]:
    match entry.get("kty"), entry.get("crv"):
        case "RSA", _:
            return _RSA
        case "EC", str(curve):
            return _CURVES.get(curve, frozenset())
        case "OKP", "Ed25519":
            return _EDWARDS
        case "oct", _:
            return _SECRET
    return frozenset()
