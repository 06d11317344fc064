"""The settings of an agent in Slack: whom the gateway hears, in which workspaces, and at which pace it speaks."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator

from conversation.validation import check_tenant_of_user
from store.settings.units import CommaSeparated, Seconds

_TEAM = re.compile(r"[A-Z][A-Z0-9]{1,31}")


class SlackSettings(BaseModel):
    """Where an agent answers in Slack. Without a signing secret: nowhere."""

    #: The signing secret of the Slack app: the gateway serves `/slack/events` and `/slack/interactivity` with it.
    slack_signing_secret: SecretStr = SecretStr("")
    #: The bot token of each workspace that has the app, comma-separated: `T0123ABCD=xoxb-…`. `…_TOKENS_FILE` names a
    #: file.
    slack_bot_tokens: SecretStr = SecretStr("")
    #: The tenant of each workspace, comma-separated: `T0123ABCD=acme`. One that is not named has its own id.
    slack_tenants: CommaSeparated = ()
    #: The agent that answers; empty means `default_agent`.
    slack_agent: str = ""
    #: Ids of the people who may approve what waits for it, comma-separated; empty means all who see it.
    slack_approvers: CommaSeparated = ()
    #: Seconds between two edits of messages in one workspace: Slack takes some 50 a minute.
    slack_edit_interval_seconds: Annotated[Seconds, Field(le=60)] = 1.2
    #: The address of Slack's API.
    slack_api_url: str = "https://slack.com/api/"

    @field_validator("slack_bot_tokens")
    @classmethod
    def _check_bot_tokens(cls, value: SecretStr) -> SecretStr:
        pairs = [pair.strip().partition("=") for pair in value.get_secret_value().split(",") if pair.strip()]
        if not all(_TEAM.fullmatch(team_id) and token for team_id, _, token in pairs):
            raise ValueError("write each workspace with its token: T0123ABCD=xoxb-…")
        _check_named_once([team_id for team_id, _, _ in pairs])
        return value

    @field_validator("slack_tenants")
    @classmethod
    def _check_tenants(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pair in value:
            team_id, _, tenant = pair.partition("=")
            if not (_TEAM.fullmatch(team_id) and tenant):
                raise ValueError(f"{pair!r} is no workspace with its tenant; write T0123ABCD=acme")
            check_tenant_of_user(tenant)
        _check_named_once([pair.partition("=")[0] for pair in value])
        return value

    @field_validator("slack_api_url")
    @classmethod
    def _check_api_url(cls, value: str) -> str:
        address = urlsplit(value)
        if address.scheme != "https" and address.hostname not in ("127.0.0.1", "localhost"):
            raise ValueError("is no https:// address; http:// is taken of this machine alone")
        return value if value.endswith("/") else value + "/"


def _check_named_once(team_ids: Sequence[str]) -> None:
    for team_id, count in Counter(team_ids).items():
        if count > 1:
            raise ValueError(f"{team_id} is named twice; leave out all but one")
