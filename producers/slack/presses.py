"""Presses of buttons under an agent's messages: the one that stops an answer.

What stays true: who may press is in the workspace's channel, since Slack says who pressed what there; a button works
for the turn whose answer stands in that very channel, and for no other.
"""

from collections.abc import Mapping

import structlog

from conversation.errors import TurnNotFound
from conversation.ids import is_our_id
from producers.slack.desk import Desk
from producers.slack.payloads import Press
from producers.slack.posts import STOP_ACTION
from producers.slack.workspace import SlackWorkspace
from store import slack_messages
from store.slack_messages import SlackMessage

log = structlog.get_logger(__name__)


class Presses:
    """Does what people press."""

    def __init__(self, desk: Desk, workspaces: Mapping[str, SlackWorkspace]) -> None:
        self._desk = desk
        self._workspaces = workspaces

    async def handle(self, press: Press) -> None:
        """Do what was pressed; what is not ours, or not there any more, is passed over."""
        workspace = self._workspaces.get(press.team_id)
        if workspace is not None and press.action_id == STOP_ACTION:
            message = await self._find(press, workspace, press.value)
            if message is not None and message.turn_id is not None:
                await self._stop(press, workspace, message.turn_id)

    async def _find(self, press: Press, workspace: SlackWorkspace, turn_id: str) -> SlackMessage | None:
        """The message that a turn answers in the channel in which was pressed."""
        if not is_our_id(turn_id):
            return None
        operation = slack_messages.find_of_turn
        message = await self._desk.run(workspace.tenant, operation, workspace.tenant, turn_id, press.team_id)
        return message if message is not None and message.channel_id == press.channel_id else None

    async def _stop(self, press: Press, workspace: SlackWorkspace, turn_id: str) -> None:
        try:
            turn = await self._desk.producer.find_turn_async(turn_id, tenant=workspace.tenant)
            await turn.cancel(by=press.user_id)
        except TurnNotFound:
            log.info("slack_press_too_late", tenant=workspace.tenant, turn=turn_id)
