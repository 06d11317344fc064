"""The way of one message: from Slack to its turn, and of the turn's answer back to Slack.

What stays true: wherever the way breaks off, another process goes on from what is stored, and the person sees one
answer: a message has one turn by its idempotency key, and what was posted for it is found at Slack by what the post
carries before anything is posted again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog

from conversation.backoff import add_jitter, backoff_seconds
from conversation.errors import IdempotencyConflict, ThreadBusy, TurnNotFound, UserError
from conversation.pending_call import PendingCall
from conversation.turn import TurnState
from producers.slack.answer_text import AnswerText
from producers.slack.api import SlackRefused
from producers.slack.desk import Desk, LostClaim
from producers.slack.file_api import FileApi
from producers.slack.files import FileFetcher
from producers.slack.mrkdwn import escape
from producers.slack.posts import Posts
from producers.slack.shared_files import SharedFiles
from producers.slack.workspace import SlackWorkspace
from producers.turn import AsyncTurn
from store import slack_messages
from store.slack_messages import SlackMessage

#: Claims of a message after which it is given up.
ATTEMPTS_MAX = 50
#: Seconds until the next attempt, doubled up to the maximum.
RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS = 2.0, 600.0

#: Seconds after which a message whose turn waits is looked at, though no decision brought it back.
LOOK_SECONDS = 3600.0
#: Seconds after the end of a wait by which its turn has been ended.
EXPIRY_SECONDS = 10.0

_AT_WORK = (TurnState.QUEUED, TurnState.RUNNING)

log = structlog.get_logger(__name__)


class _Interrupted(Exception):
    """The events ended before the turn did: this process ends."""


class Delivery:
    """The work at one message that this process has claimed."""

    def __init__(
        self, desk: Desk, message: SlackMessage, workspace: SlackWorkspace, on_sent: Callable[[], None]
    ) -> None:
        """`on_sent` is called when the message has its turn: the next one of its thread may be taken up."""
        self._desk = desk
        self._on_sent = on_sent
        self._message = message
        self._workspace = workspace
        self._posts = Posts(desk, message, workspace)

    async def run(self) -> None:
        """Bring the message to its turn and the answer to Slack, as far as this process comes."""
        try:
            turn_id = self._message.turn_id or await self._send()
            if turn_id is not None:
                await self._answer(turn_id)
        except LostClaim:
            log.info("slack_claim_lost", **self._ids())
        except SlackRefused as error:
            await self._finish(error=error.code)
        except Exception as error:  # noqa: BLE001 - whatever it is, the person shall get an answer
            await self._retry_later(error)

    async def _send(self) -> str | None:
        """Send the message; returns its turn, None where it was refused and the person was told."""
        turn_id = await self._find_turn() if self._message.attempts > 1 else None
        if turn_id is None:
            try:
                turn_id = await self._send_new()
            except IdempotencyConflict:
                # The attempt of another process came first, with other files.
                turn_id = await self._find_turn()
            except UserError as error:
                if error.retryable and not isinstance(error, ThreadBusy):
                    raise
                await self._refuse(error)
                return None
        if turn_id is not None and not await self._write(slack_messages.mark_sent, turn_id):
            raise LostClaim
        self._on_sent()
        return turn_id

    async def _send_new(self) -> str:
        message = self._message
        content, attachments = message.content or "", None
        if message.files:
            fetcher = FileFetcher(
                FileApi(self._desk.api), self._workspace.bot_token, message.team_id, self._desk.settings
            )
            async with self._desk.downloads:
                files = await fetcher.fetch(message.files)
            attachments = files.attachments or None
            content = "\n\n".join(piece for piece in (content, *files.notes) if piece)
        source = {"team": message.team_id, "channel": message.channel_id, "ts": message.ts, "user": message.user_id}
        sending = self._desk.producer.send_async(
            message.thread_id,
            content,
            attachments=attachments,
            agent=self._workspace.agent,
            tenant=message.tenant,
            user=message.user_id,
            metadata={"slack": source},
            idempotency_key=self._idempotency_key,
            # It waits for its worker, as it would for a busy one.
            allow_unknown_agent=True,
        )
        return (await self._desk.complete(sending)).id

    @property
    def _idempotency_key(self) -> str:
        """The key of the message's turn: the same in each delivery, in each process."""
        return f"slack-{self._message.team_id}-{self._message.channel_id}-{self._message.ts}"

    async def _find_turn(self) -> str | None:
        """The turn that an earlier attempt sent."""
        tenant = self._message.tenant
        return await self._desk.run(tenant, slack_messages.find_turn, tenant, self._idempotency_key)

    async def _refuse(self, error: UserError) -> None:
        text = f":warning: _Your message was not taken: {escape(str(error))}_"
        await self._posts.show([text], is_final=True)
        await self._finish(error=type(error).__name__)

    async def _answer(self, turn_id: str) -> None:
        """Write the answer of a turn, as it comes."""
        try:
            finding = self._desk.producer.find_turn_async(turn_id, tenant=self._message.tenant)
            turn = await self._desk.complete(finding)
            await self._close_asked(turn_id)
            text = await self._follow(turn)
            if text.is_over:
                await self._show_end(turn, text)
            else:
                await self._wait(turn, text.waits_for)
        except TurnNotFound:
            await self._finish(error="turn_not_found")

    async def _show_end(self, turn: AsyncTurn, text: AnswerText) -> None:
        """Show what became of a turn; one that another turn answers has nothing of its own to show."""
        await self._close_asked(turn.id)
        record = None if text.is_deleted else await self._desk.complete(turn.record())
        texts, files = text.parts(), list(text.files.values())
        if record is not None and record.merged_into is not None:
            texts, files = [], []
        elif record is not None and record.rolled_back:
            texts, files = ["_Taken back for the next message._"], []
        await self._posts.show(texts, is_final=True)
        await SharedFiles(self._desk, self._posts).share(files)
        # What it left open when it went on may still be decided: a turn of its own takes it up.
        now = datetime.now(UTC)
        pending = () if record is None else await self._desk.complete(turn.pending())
        if left_open := [call for call in pending if call.expires_at > now]:
            await self._wait(turn, left_open)
        else:
            await self._finish()

    async def _wait(self, turn: AsyncTurn, calls: Sequence[PendingCall]) -> None:
        """Ask for what waits to be decided, and hold nothing meanwhile: the decision brings the message back."""
        if not calls:
            raise _Interrupted
        await self._posts.ask(calls)
        earliest = min(call.expires_at for call in calls)
        seconds = min(max((earliest - datetime.now(UTC)).total_seconds(), 0) + EXPIRY_SECONDS, LOOK_SECONDS)
        if not await self._write(slack_messages.postpone, seconds=seconds, is_waiting=True):
            raise LostClaim
        # It may have been decided, or given up, before there was anything to wake.
        open_ids = {call.call_id for call in await self._desk.complete(turn.pending())}
        if any(call.call_id not in open_ids for call in calls):
            await self._desk.run(self._message.tenant, slack_messages.wake, self._message.tenant, turn.id)
            self._on_sent()

    async def _close_asked(self, turn_id: str) -> None:
        if self._posts.has_asked:
            await self._posts.close_asked(
                await self._desk.run(self._message.tenant, slack_messages.load_decisions, turn_id)
            )

    async def _follow(self, turn: AsyncTurn) -> AnswerText:
        """Show what a turn says until it has ended, or waits for a person."""
        text, changed = AnswerText(), asyncio.Event()
        # What is shown of it already stays until there is something newer: it is read from its beginning.
        is_shown = bool(self._posts.posted) and await self._desk.complete(turn.state()) not in _AT_WORK

        async def read() -> None:
            async for event in turn.events():
                text.take(event)
                changed.set()

        reader = asyncio.create_task(read(), name="threadmill-slack-reader")
        reader.add_done_callback(lambda _: changed.set())
        try:
            while not (reader.done() or text.is_over):
                changed.clear()
                if not is_shown or text.waits_for:
                    await self._posts.show_running(text.parts, turn.id)
                if text.waits_for and not changed.is_set():
                    return text
                await changed.wait()
            if not text.is_over:
                await reader
                raise _Interrupted
            return text
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reader

    async def _retry_later(self, error: Exception) -> None:
        if self._message.attempts >= ATTEMPTS_MAX:
            await self._finish(error=type(error).__name__)
            return
        pause = backoff_seconds(self._message.attempts - 1, first=RETRY_FIRST_SECONDS, maximum=RETRY_MAX_SECONDS)
        log.warning("slack_answer_postponed", error=type(error).__name__, seconds=round(pause), **self._ids())
        await self._write(slack_messages.postpone, seconds=add_jitter(pause))

    async def _finish(self, *, error: str | None = None) -> None:
        if error is not None:
            log.warning("slack_answer_failed", error=error, **self._ids())
        await self._write(slack_messages.finish, error=error)

    async def _write(self, operation: Callable[..., bool], *args: Any, **kwargs: Any) -> bool:
        """Run a write of the store that this process's claim allows."""
        return await self._desk.run(
            self._message.tenant, operation, self._message, self._desk.process_id, *args, **kwargs
        )

    def _ids(self) -> Mapping[str, str]:
        message = self._message
        return {"tenant": message.tenant, "team": message.team_id, "channel": message.channel_id, "ts": message.ts}
