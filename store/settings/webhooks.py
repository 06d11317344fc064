"""The settings of webhooks: the keys that encrypt theirs, where they may lead, and how long they are tried."""

import base64
import binascii

from pydantic import BaseModel, Field, SecretStr, field_validator

from store.settings.units import Days, Networks, Seconds

#: Bytes of a key that encrypts.
KEY_BYTES = 32


class WebhookSettings(BaseModel):
    """How events are sent to webhooks: with which keys, to which networks, how often and for how long."""

    #: Keys that encrypt the signing keys of webhooks where they are stored, comma-separated: each 32 bytes in base64.
    #: The first encrypts, all decrypt; empty: no webhook can be made.
    webhook_encryption_keys: SecretStr = SecretStr("")
    #: Networks in which webhooks may be beside public addresses, comma-separated: `10.1.0.0/16`. With one, any port is
    #: sent to.
    webhook_allow_networks: Networks = ()
    #: Seconds between two looks for deliveries that are due.
    webhook_interval_seconds: Seconds = 2
    #: Seconds that one attempt may take, at most.
    webhook_timeout_seconds: Seconds = 15
    #: Attempts that are made at once: to one webhook, each for another thread.
    webhook_concurrency: int = Field(16, ge=1, le=256)
    #: Seconds for which a delivery is tried before it is dead.
    webhook_retry_max_seconds: float = Field(3 * 86_400, ge=0, le=30 * 86_400, allow_inf_nan=False)
    #: Days after which a delivery that was made, or is dead, is deleted; 0 means never.
    webhook_retention_days: Days = 14

    @field_validator("webhook_encryption_keys")
    @classmethod
    def _check_keys(cls, value: SecretStr) -> SecretStr:
        for key in split_keys(value):
            try:
                size = len(base64.urlsafe_b64decode(key))
            except (binascii.Error, ValueError):
                size = 0
            if size != KEY_BYTES:
                raise ValueError("write 32 bytes in base64, as `openssl rand -base64 32` does")
        return value


def split_keys(value: SecretStr) -> list[str]:
    """The keys of a setting, in their order."""
    return [key.strip() for key in value.get_secret_value().split(",") if key.strip()]
