"""Every setting of Threadmill: its variable, default and unit, in groups by what is set.

A variable is named `THREADMILL_` and the field's name in capitals; one that is empty counts as not
set; with `_FILE` at its end it names the file that holds the value. A wrong value is one clear line,
and so is a variable that is nearly the name of a setting: otherwise a default would be used without
notice. Passwords and keys never appear in an error, a `repr` or a log.
`docs/reference/make_settings.py` writes the groups for people.
"""

import os
from functools import lru_cache
from typing import Any

from pydantic import ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from conversation.errors import InvalidSettings
from store.settings.connections import BrokerSettings, DatabaseSettings
from store.settings.files import AttachmentSettings, FileStoreSettings, PreparationSettings
from store.settings.gateway import GatewaySettings
from store.settings.gateway_access import GatewayKeySettings, GatewayTokenSettings
from store.settings.logs import LogSettings
from store.settings.retention import RetentionSettings
from store.settings.secret_files import read_settings_files
from store.settings.slack import SlackSettings
from store.settings.streams import StreamSettings
from store.settings.summaries import SummarySettings
from store.settings.turns import AgentSettings, WorkerSettings
from store.settings.variables import PREFIX, list_misspelled, name_in_use, variable
from store.settings.webhooks import WebhookSettings


class Settings(
    # The last one's fields come first: so pydantic collects those of several bases.
    SlackSettings,
    WebhookSettings,
    StreamSettings,
    GatewayTokenSettings,
    GatewayKeySettings,
    LogSettings,
    GatewaySettings,
    RetentionSettings,
    SummarySettings,
    WorkerSettings,
    AgentSettings,
    PreparationSettings,
    AttachmentSettings,
    FileStoreSettings,
    BrokerSettings,
    DatabaseSettings,
    BaseSettings,
):
    """The configuration of one process, read from its environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        validate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        """White space around a value is never meant: files and copied lines bring it along."""
        return value.strip() if isinstance(value, str) else value


def load(**values: Any) -> Settings:
    """Read the settings. Raises `InvalidSettings` with one line a wrong value, secrets masked."""
    file_values, file_complaints = read_settings_files(Settings.model_fields, variable)
    complaints = list_misspelled(os.environ, Settings.model_fields) + file_complaints
    try:
        settings = Settings(**{**file_values, **values})
    except ValidationError as error:
        raise InvalidSettings(
            "\n".join(complaints + [_error_line(item) for item in error.errors(include_url=False)])
        ) from None
    if complaints:
        raise InvalidSettings("\n".join(complaints))
    return settings


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once. Tests build their own with `load`."""
    return load()


def _error_line(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return message
    # Where it came from decides whether the field or its alias is named.
    field = str(error["loc"][0]).lower().removeprefix(PREFIX.lower())
    return f"{name_in_use(field)}{_masked_value(field, error['input'])}: {message}"


def _masked_value(field: str, value: object) -> str:
    if isinstance(value, dict):
        return ""
    if any(word in field for word in ("url", "secret", "key", "password", "bot_token")):
        return "=***"
    return f"={value!r}"
