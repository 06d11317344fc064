"""The authenticator: the credential of a request, and the bearer that it names.

What stays true: a request has one credential, or none that counts; a kind of credential is known by its beginning and
stands where that kind may; what is wrong with it is not told to its bearer, and nothing of it stands in a log.
"""

from collections.abc import Mapping

from producers.http.credentials import Credential, read_credential
from producers.http.jwt_access import JwtAccess, takes_jwts
from producers.http.key_access import KeyAccess
from producers.http.principal import Principal
from producers.http.stream_tokens import PREFIX as STREAM_TOKEN_PREFIX
from producers.http.stream_tokens import StreamTokens
from producers.producer import Producer
from store.keys.key_text import PREFIX as API_KEY_PREFIX
from store.keys.key_text import read_key


class CredentialAuthenticator:
    """Reads API keys, stream tokens and, where the settings name an issuer, JWTs."""

    def __init__(self, producer: Producer) -> None:
        """Raises `InvalidSettings` where those of JWTs do not fit together."""
        settings = producer.settings
        self._keys = KeyAccess(producer.database, cache_seconds=settings.gateway_credential_cache_seconds)
        self._stream_tokens = StreamTokens(producer.database)
        self._jwts = JwtAccess(settings) if takes_jwts(settings) else None

    async def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Principal | None:
        """The bearer; None where there are no credentials, or none that hold.

        Raises `DatabaseUnavailable`, and `Problem` where the issuer's keys are not known and away.
        """
        credential = read_credential(headers, query)
        return None if credential is None else await self._find_bearer(credential)

    async def _find_bearer(self, credential: Credential) -> Principal | None:
        text = credential.text
        if text.startswith(STREAM_TOKEN_PREFIX):
            return await self._stream_tokens.read(text) if credential.place != "x-api-key" else None
        if credential.place == "query":
            return None
        if text.startswith(API_KEY_PREFIX):
            key = read_key(text)
            return None if key is None else await self._keys.find(key)
        if credential.place == "authorization" and self._jwts is not None:
            return await self._jwts.find(text)
        return None

    async def close(self) -> None:
        """Write the uses of keys that are not written yet."""
        await self._keys.close()
