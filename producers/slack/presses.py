"""Presses of buttons under an agent's messages: the one that stops an answer, and those that decide what it waits for.

What stays true: a button works for the turn whose answer stands in the channel in which it was pressed, and for no
other; who decides is whom Slack names; what comes too late, or from somebody who may not decide, changes nothing, and
they are told so.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import structlog

from conversation.errors import UserError
from conversation.ids import is_our_id
from conversation.pending_call import PendingCall
from producers.slack.api import SlackAway, SlackRefused
from producers.slack.desk import Desk
from producers.slack.mrkdwn import escape
from producers.slack.payloads import Press
from producers.slack.posts import STOP_ACTION
from producers.slack.prompts import ANSWER_ACTION, APPROVE_ACTION, DENY_ACTION, CallReference, read_reference
from producers.slack.workspace import SlackWorkspace
from producers.turn import AsyncTurn
from store import slack_messages
from store.slack_messages import SlackMessage

_NOT_ALLOWED = "You may not decide this."
_DECIDED = "This is decided, or waits no longer."
_GONE = "This is not there any more."

log = structlog.get_logger(__name__)


class Presses:
    """Does what people press."""

    def __init__(self, desk: Desk, workspaces: Mapping[str, SlackWorkspace]) -> None:
        self._desk = desk
        self._workspaces = workspaces
        #: Words to people that are on their way.
        self._words: set[asyncio.Task[None]] = set()

    async def handle(self, press: Press) -> None:
        """Do what was pressed; what is not ours, or not there any more, is passed over."""
        workspace = self._workspaces.get(press.team_id)
        if workspace is None:
            return
        reference = read_reference(press.value)
        turn_id = press.value if press.action_id == STOP_ACTION else reference.turn_id if reference else ""
        message = await self._find(press, workspace, turn_id)
        if message is None:
            if is_our_id(turn_id):
                # Its thread was deleted, or its row forgotten.
                self._tell(press, workspace, _GONE)
            return
        try:
            turn = await self._desk.producer.find_turn_async(turn_id, tenant=workspace.tenant)
            if press.action_id == STOP_ACTION:
                await turn.cancel(by=press.user_id)
            elif reference is not None:
                await self._decide(press, workspace, turn, reference)
        except UserError as error:
            log.info("slack_press_refused", error=type(error).__name__, tenant=workspace.tenant, turn=turn_id)
            self._tell(press, workspace, str(error))

    async def close(self) -> None:
        """Wait for words that are on their way."""
        if self._words:
            await asyncio.wait(set(self._words))

    async def _find(self, press: Press, workspace: SlackWorkspace, turn_id: str) -> SlackMessage | None:
        """The message that a turn answers in the channel in which was pressed."""
        if not is_our_id(turn_id):
            return None
        operation = slack_messages.find_of_turn
        message = await self._desk.run(workspace.tenant, operation, workspace.tenant, turn_id, press.team_id)
        return message if message is not None and message.channel_id == press.channel_id else None

    async def _decide(self, press: Press, workspace: SlackWorkspace, turn: AsyncTurn, reference: CallReference) -> None:
        if workspace.approvers and press.user_id not in workspace.approvers:
            log.info("slack_press_refused", error="not_an_approver", tenant=workspace.tenant, turn=turn.id)
            self._tell(press, workspace, _NOT_ALLOWED)
            return
        call_id, by = reference.call_id, press.user_id
        if press.action_id == APPROVE_ACTION:
            # Without the digest nobody says what was seen.
            await turn.approve(call_id, by=by, digest=reference.digest or "")
        elif press.action_id == DENY_ACTION:
            await turn.deny(call_id, by=by)
        elif press.action_id.startswith(ANSWER_ACTION):
            call = next((each for each in await turn.pending() if each.call_id == call_id), None)
            if call is None:
                self._tell(press, workspace, _DECIDED)
            else:
                await turn.answer(call_id, _read_answer(call, press, reference), by=by)

    def _tell(self, press: Press, workspace: SlackWorkspace, words: str) -> None:
        """Tell whoever pressed, and nobody else, without having them wait for it."""
        task = asyncio.create_task(self._post_words(press, workspace, words))
        self._words.add(task)
        task.add_done_callback(self._words.discard)

    async def _post_words(self, press: Press, workspace: SlackWorkspace, words: str) -> None:
        try:
            await self._desk.api.whisper(
                workspace.bot_token,
                press.team_id,
                channel_id=press.channel_id,
                user_id=press.user_id,
                reply_to=press.thread_ts,
                text=escape(words),
            )
        except (SlackRefused, SlackAway) as error:
            log.info("slack_words_not_posted", error=type(error).__name__, tenant=workspace.tenant)


def _read_answer(call: PendingCall, press: Press, reference: CallReference) -> Any:
    """The answer that was chosen or typed, in the type that was asked for."""
    place = reference.choice
    if place is None and call.choices is not None and press.input is not None and press.input.isdecimal():
        place = int(press.input[:4])
    if place is not None:
        return call.choices[place] if call.choices is not None and 0 <= place < len(call.choices) else None
    text = press.input or ""
    if call.schema is None or call.schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
