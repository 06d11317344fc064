"""Workspaces of Slack in which the app is installed: whose they are, and the token with which it speaks there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from conversation.arguments import check_items
from conversation.errors import InvalidInput
from conversation.validation import check_id, check_tenant_of_user, check_text
from store.settings import Settings

#: Characters of a token, at most.
TOKEN_MAX_CHARS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackWorkspace:
    """A workspace in which the app is installed."""

    #: The tenant that has its threads: those of two workspaces never meet, unless they have the same.
    tenant: str
    #: The bot's token: `xoxb-…`.
    bot_token: str = field(repr=False)
    #: The agent that answers; None for the setting THREADMILL_DEFAULT_AGENT.
    agent: str | None = None
    #: Ids of the people who may decide what waits for approval; empty for all who see it.
    approvers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the fields. Raises `InvalidInput`."""
        check_tenant_of_user(self.tenant)
        if not check_text("bot_token", self.bot_token, max_chars=TOKEN_MAX_CHARS).strip():
            raise InvalidInput("bot_token", "is empty", "pass the token that Slack shows under OAuth & Permissions")
        if self.agent is not None:
            check_id("agent", self.agent)
        approvers = check_items("approvers", self.approvers, str)
        # Also a list that somebody changes later.
        object.__setattr__(self, "approvers", tuple(check_text("approvers", each, max_chars=64) for each in approvers))


def workspaces_of(settings: Settings) -> Mapping[str, SlackWorkspace]:
    """The workspaces that the settings name, by their ids. One without a tenant has its id as the tenant."""
    tenants = dict(pair.split("=", 1) for pair in settings.slack_tenants)
    tokens = dict(pair.split("=", 1) for pair in _list_pairs(settings.slack_bot_tokens.get_secret_value()))
    return {
        team_id: SlackWorkspace(
            tenant=tenants.get(team_id, team_id),
            bot_token=token,
            agent=settings.slack_agent or None,
            approvers=settings.slack_approvers,
        )
        for team_id, token in tokens.items()
    }


def _list_pairs(text: str) -> list[str]:
    return [pair.strip() for pair in text.split(",") if pair.strip()]
