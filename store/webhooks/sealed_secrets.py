"""The keys that sign, as they are stored: encrypted by the first of the operator's keys, and read by any of them.

What stays true: a key that signs stands nowhere in the open; each is encrypted with the id of its webhook, and is
read as that webhook's alone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conversation.errors import InvalidSettings
from store.settings.settings import Settings
from store.settings.variables import variable
from store.settings.webhooks import split_keys

_SETTING = variable("webhook_encryption_keys")


class SealedSecrets:
    """The encryption of webhooks' keys, by the settings of this process."""

    def __init__(self, settings: Settings) -> None:
        self._keys = split_keys(settings.webhook_encryption_keys)

    def seal(self, webhook_id: str, secret: str) -> str:
        """Encrypt a key of a webhook. Raises `InvalidSettings` where no key is set that could."""
        text = json.dumps({"webhook": webhook_id, "secret": secret})
        token: bytes = self._open().encrypt(text.encode())
        return token.decode()

    def unseal(self, webhook_id: str, sealed: str) -> str:
        """Decrypt a key of a webhook. Raises `InvalidSettings` where none of the keys that are set did encrypt it."""
        from cryptography.fernet import InvalidToken

        try:
            content = json.loads(self._open().decrypt(sealed.encode()))
        except (InvalidToken, ValueError):
            content = {}
        if content.get("webhook") != webhook_id:
            raise InvalidSettings(f"{_SETTING}: has no key that the secret of webhook {webhook_id} was encrypted with")
        secret: str = content["secret"]
        return secret

    def _open(self) -> Any:
        if not self._keys:
            raise InvalidSettings(f"{_SETTING}: is empty; set a key that encrypts the secrets of webhooks")
        from cryptography.fernet import Fernet, MultiFernet

        return MultiFernet([Fernet(key) for key in self._keys])


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of a webhook as it is stored."""

    sealed: str
    #: When it signs no more; None for the newest.
    expires_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """The key as a row has it."""
        return {"sealed": self.sealed, "expires_at": self.expires_at.isoformat() if self.expires_at else None}

    @classmethod
    def from_json(cls, value: Any) -> "SigningKey":
        """The key of a row."""
        end = value["expires_at"]
        return cls(value["sealed"], None if end is None else datetime.fromisoformat(end))


def good_at(keys: Sequence[SigningKey], moment: datetime) -> list[SigningKey]:
    """The keys that sign at a moment, the newest first."""
    return [key for key in reversed(keys) if key.expires_at is None or key.expires_at > moment]
