"""Slack's API, as far as an answer needs it: posting, editing and finding messages.

What stays true: a token goes to Slack alone; a call is made at Slack's pace, and again when Slack says so; whether a
post that broke off was made is never guessed: `find_posts` says it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conversation.backoff import add_jitter, backoff_seconds
from producers.slack.pace import Pace, Paces

if TYPE_CHECKING:
    import httpx

#: Seconds that one call may take.
CALL_TIMEOUT_SECONDS = 10.0
#: Seconds between two posts in one channel: Slack takes one in a second.
POST_INTERVAL_SECONDS = 1.0
#: Seconds to wait where Slack says that it is too much, and not how long.
RETRY_AFTER_SECONDS = 5.0
#: The longest time that is waited for Slack in one go.
RETRY_AFTER_MAX_SECONDS = 600.0
#: Tries of a call that Slack did not answer, and the seconds before the second, doubled up to the maximum.
TRIES_MAX = 4
AWAY_FIRST_SECONDS, AWAY_MAX_SECONDS = 1.0, 30.0
#: Messages of one page, and pages of a conversation that are looked through for a post.
PAGE, PAGES_MAX = 200, 10
#: The kind of what our posts carry, by which they are found again.
METADATA_TYPE = "threadmill_answer"

#: Errors of Slack's own making: the call may be made again.
_RETRYABLE = frozenset(
    {
        *("internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"),
        "file_update_failed",
    }
)

Arguments = Mapping[str, Any]


class SlackRefused(Exception):
    """Slack refused a call; `code` is its word for why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class SlackAway(Exception):
    """Slack did not answer; whether it did what was asked is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an answer stands."""

    team_id: str
    channel_id: str
    #: The message under which it stands; None for the channel itself.
    reply_to: str | None
    #: The message that it answers.
    message_ts: str
    #: The turn whose answer it is, where an earlier one had answered; None for the first answer.
    further_turn_id: str | None = None


class SlackApi:
    """Slack's API for all workspaces of a process."""

    def __init__(self, base_url: str, *, edit_interval_seconds: float) -> None:
        self._base_url = base_url
        self._edit_interval_seconds = edit_interval_seconds
        self._paces = Paces()
        self._client: httpx.AsyncClient | None = None

    @property
    def client(self) -> "httpx.AsyncClient":
        """The client of all calls: made with the first one."""
        if self._client is None:
            import httpx

            self._client = httpx.AsyncClient(timeout=CALL_TIMEOUT_SECONDS, follow_redirects=False)
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def post(self, token: str, place: Place, part: str, render: Callable[[], Arguments]) -> str:
        """Post what `render` gives; returns its time.

        Raises `SlackRefused`, and `SlackAway` where it may be posted or not.
        """
        pace = self._paces.find((place.team_id, "chat.postMessage", place.channel_id), POST_INTERVAL_SECONDS)
        common = {
            "channel": place.channel_id,
            **({"thread_ts": place.reply_to} if place.reply_to else {}),
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": _metadata(place, part),
        }
        answer = await self._call_paced(token, "chat.postMessage", pace, lambda: {**common, **render()}, tries=1)
        return str(answer["ts"])

    async def edit(
        self, token: str, place: Place, ts: str, part: str, render: Callable[[], Arguments | None], *, is_urgent: bool
    ) -> None:
        """Edit a message to what `render` gives when its time has come; None leaves it as it is.

        Raises `SlackRefused` and `SlackAway`.
        """
        pace = self._paces.find((place.team_id, "chat.update"), self._edit_interval_seconds)
        common = {"channel": place.channel_id, "ts": ts, "metadata": _metadata(place, part)}

        def arguments() -> Arguments | None:
            body = render()
            return None if body is None else {**common, **body}

        await self._call_paced(token, "chat.update", pace, arguments, is_urgent=is_urgent)

    async def delete(self, token: str, place: Place, ts: str) -> None:
        """Delete a message of ours; one that is gone already is no error."""
        pace = self._paces.find((place.team_id, "chat.delete"), self._edit_interval_seconds)
        try:
            await self._call_paced(token, "chat.delete", pace, lambda: {"channel": place.channel_id, "ts": ts})
        except SlackRefused as error:
            if error.code != "message_not_found":
                raise

    async def whisper(
        self, token: str, team_id: str, *, channel_id: str, user_id: str, reply_to: str | None, text: str
    ) -> None:
        """Show one person a text, and nobody else. Raises `SlackRefused` and `SlackAway`."""
        pace = self._paces.find((team_id, "chat.postEphemeral"), POST_INTERVAL_SECONDS)
        arguments = {"channel": channel_id, "user": user_id, "text": text}
        arguments |= {"thread_ts": reply_to} if reply_to else {}
        await self._call_paced(token, "chat.postEphemeral", pace, lambda: arguments)

    async def find_posts(self, token: str, place: Place) -> dict[str, str]:
        """The times of what was posted to answer a message, by part; empty where the app may not look.

        Raises `SlackAway`.
        """
        method = "conversations.replies" if place.reply_to else "conversations.history"
        pace = self._paces.find((place.team_id, method), self._edit_interval_seconds)
        query: dict[str, Any] = {"channel": place.channel_id, "oldest": place.message_ts, "limit": PAGE}
        query |= {"include_all_metadata": "true"} | ({"ts": place.reply_to} if place.reply_to else {})
        posts: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            arguments = dict(query)
            try:
                page = await self._call_paced(token, method, pace, lambda: arguments, is_form=True)  # noqa: B023
            except SlackRefused:
                return posts
            for message in page.get("messages") or []:
                if (part := _part_of(message, place)) is not None:
                    posts.setdefault(part, str(message["ts"]))
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
            query["cursor"] = cursor
        return posts

    @property
    def base_url(self) -> str:
        """The address of Slack's API."""
        return self._base_url

    async def call(self, token: str, team_id: str, method: str, arguments: Arguments) -> Mapping[str, Any]:
        """Make a call that may be repeated, of a limit that a workspace has for all of its channels.

        Raises `SlackRefused` and `SlackAway`.
        """
        pace = self._paces.find((team_id, method), self._edit_interval_seconds)
        return await self._call_paced(token, method, pace, lambda: arguments, is_form=True)

    async def _call_paced(
        self,
        token: str,
        method: str,
        pace: Pace,
        arguments: Callable[[], Arguments | None],
        *,
        is_urgent: bool = False,
        is_form: bool = False,
        tries: int = TRIES_MAX,
    ) -> Mapping[str, Any]:
        """Make a call at its pace, and again where Slack says that it was too much, or where it may be repeated."""
        failures = 0
        while True:
            await pace.take(is_urgent=is_urgent)
            body = arguments()
            if body is None:
                return {}
            try:
                outcome = await self._call(token, method, body, is_form=is_form)
            except SlackAway:
                failures += 1
                if failures >= tries:
                    raise
                pause = backoff_seconds(failures - 1, first=AWAY_FIRST_SECONDS, maximum=AWAY_MAX_SECONDS)
                pace.pause(add_jitter(pause))
                continue
            if not isinstance(outcome, float):
                return outcome
            pace.pause(outcome)

    async def _call(self, token: str, method: str, body: Arguments, *, is_form: bool) -> Mapping[str, Any] | float:
        """Make a call; returns Slack's answer, or the seconds after which it may be made again."""
        import httpx

        headers = {"Authorization": f"Bearer {token}"}
        content: dict[str, Any] = {"data": body} if is_form else {"json": body}
        try:
            answer = await self.client.post(self._base_url + method, headers=headers, **content)
            if answer.status_code == 429:
                return _read_retry_after(answer.headers.get("retry-after", ""))
            outcome = answer.json() if answer.status_code < 500 else None
        except (httpx.HTTPError, ValueError) as error:
            raise SlackAway(type(error).__name__) from None
        if not isinstance(outcome, dict):
            raise SlackAway(str(answer.status_code))
        if outcome.get("ok"):
            return outcome
        code = str(outcome.get("error") or answer.status_code)
        if code in ("ratelimited", "rate_limited"):
            return _read_retry_after(answer.headers.get("retry-after", ""))
        if code in _RETRYABLE:
            raise SlackAway(code)
        raise SlackRefused(code)


def _metadata(place: Place, part: str) -> dict[str, Any]:
    payload = {"message_ts": place.message_ts, "part": part}
    payload |= {"turn_id": place.further_turn_id} if place.further_turn_id else {}
    return {"event_type": METADATA_TYPE, "event_payload": payload}


def _part_of(message: Any, place: Place) -> str | None:
    """The part of an answer that a message is; None where it is none of this one's."""
    metadata = message.get("metadata") if isinstance(message, dict) else None
    payload = metadata.get("event_payload") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(payload, dict) or metadata.get("event_type") != METADATA_TYPE:
        return None
    answered = payload.get("message_ts"), payload.get("turn_id")
    return str(payload.get("part")) if answered == (place.message_ts, place.further_turn_id) else None


def _read_retry_after(value: str) -> float:
    seconds = float(value) if value.isascii() and value.isdigit() and len(value) < 6 else RETRY_AFTER_SECONDS
    return min(seconds, RETRY_AFTER_MAX_SECONDS)
