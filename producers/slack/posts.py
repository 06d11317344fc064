"""The messages of one answer in Slack: posted once, edited while the answer comes, as many as it needs.

What stays true: what was posted is noted before anything else is; where that may have been missed, what stands at
Slack is looked up before anything is posted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from conversation.pending_call import DecisionKind, PendingCall
from producers.slack.api import Arguments, Place, SlackAway, SlackRefused
from producers.slack.desk import Desk, LostClaim
from producers.slack.prompts import show_call, show_decision, show_elsewhere
from producers.slack.workspace import SlackWorkspace
from store import slack_messages
from store.slack_messages import CallDecision, SlackMessage

#: The action of the button that stops a turn.
STOP_ACTION = "threadmill_stop"
#: Tries of a post of which Slack did not say whether it made it.
POST_TRIES_MAX = 3
#: Why a message cannot be edited any more, though it stands there.
_UNEDITABLE = frozenset({"edit_window_closed", "cant_update_message", "is_inactive"})
_GONE = "message_not_found"
#: Why a message is not taken as it is, whatever our own limits let through.
_UNSHOWABLE = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"})
#: The beginnings of the parts that ask for decisions, and of those that did.
_CALL, _DECIDED = "call:", "decided:"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedFile:
    """A file below an answer, as far as it is shared."""

    #: Slack's id of its upload; None before there is one.
    id: str | None = None
    #: It is shared, or named with the reason why it is not.
    is_over: bool = False


class Posts:
    """The messages that show one answer."""

    def __init__(self, desk: Desk, message: SlackMessage, workspace: SlackWorkspace) -> None:
        self._desk = desk
        self._message = message
        self.token = workspace.bot_token
        self.place = Place(
            team_id=message.team_id,
            channel_id=message.channel_id,
            reply_to=message.reply_to,
            message_ts=message.ts,
            further_turn_id=message.turn_id if message.follows else None,
        )
        answer = message.answer or {}
        #: The times of what was posted, by part: `0`, `1`, and what waits for a person, by its call.
        self.posted: dict[str, str] = dict(answer.get("posts") or {})
        #: Its files, by their SHA-256.
        self.files = {sha256: PostedFile(**file) for sha256, file in (answer.get("files") or {}).items()}
        #: What each shows, as far as this process knows.
        self._shown: dict[str, Arguments] = {}
        #: Something may be posted that is not noted.
        self._is_unsure = message.attempts > 1

    @property
    def tenant(self) -> str:
        """The tenant of the message."""
        return self._message.tenant

    @property
    def has_asked(self) -> bool:
        """Whether people were asked for something that was not decided when it was looked at last."""
        return any(part.startswith(_CALL) for part in self.posted)

    async def show_running(self, parts: Callable[[], list[str]], turn_id: str) -> None:
        """Show what there is of an answer that is being written, with a button that stops it."""
        for index in range(len(parts())):

            def render(index: int = index) -> Arguments | None:
                texts = parts()
                is_last = index >= len(texts) - 1
                text = texts[min(index, len(texts) - 1)]
                return _running_body(text, turn_id) if is_last else _body(text)

            await self.put(str(index), render, is_urgent=False)

    async def show(self, texts: list[str], *, is_final: bool) -> None:
        """Show an answer that does not change any more; what was posted beyond it is deleted."""
        for index, text in enumerate(texts):
            body = _body(text)
            await self.put(str(index), lambda body=body: body, is_urgent=is_final)  # type: ignore[misc]
        for part in [part for part in self.posted if part.isdigit() and int(part) >= len(texts)]:
            self._desk.check_claim()
            await self._desk.api.delete(self.token, self.place, self.posted.pop(part))
            await self._note()

    async def ask(self, calls: Sequence[PendingCall]) -> None:
        """Ask people for the decisions that a turn waits for, each in a message of its own."""
        for call in calls:
            body = show_call(call)
            if body is None:
                continue
            try:
                await self._show_call(call, body)
            except SlackRefused as error:
                if error.code not in _UNSHOWABLE:
                    raise
                await self._show_call(call, show_elsewhere(call))

    async def _show_call(self, call: PendingCall, body: Arguments) -> None:
        await self.put(_CALL + call.call_id, lambda: body, is_urgent=True)

    async def close_asked(self, decisions: Mapping[str, CallDecision]) -> None:
        """Take the buttons from what was asked and is decided."""
        for part in [part for part in self.posted if part.startswith(_CALL)]:
            decision = decisions.get(part.removeprefix(_CALL))
            if decision is None:
                continue
            body = show_decision(decision.name, DecisionKind(decision.kind), decision.by)
            await self.put(part, lambda body=body: body, is_urgent=True)  # type: ignore[misc]
            self.posted[_DECIDED + part] = self.posted.pop(part)
            await self._note()

    async def show_note(self, part: str, text: str) -> None:
        """Show something about an answer, in a message of its own."""
        await self.put(part, lambda: _body(text), is_urgent=True)

    async def note_file(self, sha256: str, file: PostedFile) -> None:
        """Note how far a file is shared. Raises `LostClaim`."""
        self.files[sha256] = file
        await self._note()

    async def put(self, part: str, render: Callable[[], Arguments | None], *, is_urgent: bool) -> None:
        """Post a part, or edit it. Raises `SlackRefused`, `SlackAway` and `LostClaim`."""
        if part not in self.posted and self._is_unsure:
            await self._find()
        if part not in self.posted:
            await self._post(part, render)
            return
        try:
            await self._edit(part, render, is_urgent=is_urgent)
        except SlackRefused as error:
            if error.code in _UNEDITABLE and is_urgent:
                await self._post(part, render)
            elif error.code != _GONE and error.code not in _UNEDITABLE:
                raise

    async def _edit(self, part: str, render: Callable[[], Arguments | None], *, is_urgent: bool) -> None:
        if render() == self._shown.get(part):
            return
        sent: list[Arguments] = []

        def render_now() -> Arguments | None:
            self._desk.check_claim()
            body = render()
            if body is None or body == self._shown.get(part):
                return None
            sent[:] = [body]
            return body

        ts = self.posted[part]
        await self._desk.api.edit(self.token, self.place, ts, part, render_now, is_urgent=is_urgent)
        if sent:
            self._shown[part] = sent[0]

    async def _post(self, part: str, render: Callable[[], Arguments | None]) -> None:
        for number in range(1, POST_TRIES_MAX + 1):
            body = render() or {}
            try:
                ts = await self._desk.api.post(self.token, self.place, part, self._guard(body))
                break
            except SlackAway:
                if number == POST_TRIES_MAX:
                    raise
                earlier = self.posted.get(part)
                await self._find()
                if self.posted.get(part) not in (None, earlier):
                    return
        self.posted[part], self._shown[part] = ts, body
        await self._note()

    def _guard(self, body: Arguments) -> Callable[[], Arguments]:
        def check_and_give() -> Arguments:
            self._desk.check_claim()
            return body

        return check_and_give

    async def _find(self) -> None:
        """Look at Slack for what was posted and not noted."""
        posts = await self._desk.api.find_posts(self.token, self.place)
        self._is_unsure = False
        if not posts.keys() <= {part.removeprefix(_DECIDED) for part in self.posted}:
            asked = {part.removeprefix(_DECIDED) for part in self.posted}
            self.posted = {part: ts for part, ts in posts.items() if part not in asked} | self.posted
            await self._note()

    async def _note(self) -> None:
        message, process_id = self._message, self._desk.process_id
        answer: dict[str, Any] = {"posts": self.posted}
        if self.files:
            answer["files"] = {sha256: asdict(file) for sha256, file in self.files.items()}
        if not await self._desk.run(message.tenant, slack_messages.note_answer, message, process_id, answer):
            raise LostClaim


def _body(text: str) -> Arguments:
    return {"text": text, "blocks": []}


def _running_body(text: str, turn_id: str) -> Arguments:
    button = {"type": "button", "action_id": STOP_ACTION, "value": turn_id, "text": _plain("Stop")}
    return {
        "text": text,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": text}},
            {"type": "actions", "elements": [button]},
        ],
    }


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}
