"""Slack's API of files: fetching what people sent, and sharing what an agent made.

What stays true: a token goes to Slack alone, and so do an agent's files; an upload that is not shared is nothing that
anybody sees, and Slack shares an upload once: so a share that may have been made is asked for again, and never doubled.
"""

import asyncio
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from producers.slack.api import Place, SlackApi, SlackAway, SlackRefused

#: Seconds that a file may take.
FILE_TIMEOUT_SECONDS = 60.0
#: Hosts of files: nothing else gets the token, or a file.
FILE_HOST_SUFFIX = ".slack.com"
#: The lists of channels that Slack's description of a file has.
_CHANNEL_LISTS = ("channels", "groups", "ims")
#: Slack's words for a file that it does not have.
_GONE = frozenset({"file_not_found", "file_deleted"})


class UploadState(Enum):
    """The state of an upload at Slack."""

    SHARED = "shared"
    #: In the channel of the answer it is not seen yet.
    THERE = "there"
    GONE = "gone"


class FileRefused(Exception):
    """A file cannot be had; the text says why, for the person who sent it."""


class FileApi:
    """Slack's API of files, for all workspaces of a process."""

    def __init__(self, api: SlackApi) -> None:
        self._api = api

    async def info(self, token: str, file_id: str, team_id: str) -> Mapping[str, Any]:
        """A file as Slack describes it now. Raises `SlackRefused` and `SlackAway`."""
        answer = await self._api.call(token, team_id, "files.info", {"file": file_id})
        info = answer.get("file")
        return info if isinstance(info, dict) else {}

    async def download(self, token: str, url: str, *, max_bytes: int) -> tuple[bytes, str]:
        """Fetch a file; returns its bytes and the media type that came with them.

        Raises `FileRefused`, and `SlackAway`.
        """
        import httpx

        if not self._is_slacks(url):
            raise FileRefused("it is not stored at Slack")
        headers, client = {"Authorization": f"Bearer {token}"}, self._api.client
        try:
            async with asyncio.timeout(FILE_TIMEOUT_SECONDS), client.stream("GET", url, headers=headers) as answer:
                if answer.status_code >= 500 or answer.status_code == 429:
                    raise SlackAway(str(answer.status_code))
                if answer.status_code != 200:
                    raise FileRefused("Slack does not give it out: the app needs the scope files:read")
                chunks, size = [], 0
                async for chunk in answer.aiter_bytes():
                    size += len(chunk)
                    if size > max_bytes:
                        raise FileRefused(f"it has more than {max_bytes} bytes")
                    chunks.append(chunk)
                return b"".join(chunks), answer.headers.get("content-type", "").partition(";")[0].strip()
        except (httpx.HTTPError, TimeoutError) as error:
            raise SlackAway(type(error).__name__) from None

    async def upload(self, token: str, team_id: str, filename: str, content: bytes) -> str:
        """Put a file where Slack keeps it until it is shared; returns Slack's id of it.

        Raises `SlackRefused` and `SlackAway`.
        """
        import httpx

        declared = {"filename": filename, "length": len(content)}
        answer = await self._api.call(token, team_id, "files.getUploadURLExternal", declared)
        url, file_id = str(answer.get("upload_url")), str(answer.get("file_id"))
        if not self._is_slacks(url):
            raise SlackRefused("upload_url_not_slacks")
        headers = {"Content-Type": "application/octet-stream"}
        try:
            async with asyncio.timeout(FILE_TIMEOUT_SECONDS):
                # The address is a secret by itself: it gets no token.
                outcome = await self._api.client.post(
                    url, content=content, headers=headers, timeout=FILE_TIMEOUT_SECONDS
                )
        except (httpx.HTTPError, TimeoutError) as error:
            raise SlackAway(type(error).__name__) from None
        if outcome.status_code != 200:
            raise SlackAway(str(outcome.status_code))
        return file_id

    async def share(self, token: str, place: Place, file_id: str, title: str) -> None:
        """Share an upload where an answer stands: Slack does that once for each upload.

        Raises `SlackRefused`, and `SlackAway` where it may be shared or not.
        """
        arguments = {"files": json.dumps([{"id": file_id, "title": title}]), "channel_id": place.channel_id}
        arguments |= {"thread_ts": place.reply_to} if place.reply_to else {}
        await self._api.call(token, place.team_id, "files.completeUploadExternal", arguments)

    async def find_upload(self, token: str, place: Place, file_id: str) -> UploadState:
        """The state of an upload; one that the app may not look at counts as there. Raises `SlackAway`."""
        try:
            info = await self.info(token, file_id, place.team_id)
        except SlackRefused as error:
            return UploadState.GONE if error.code in _GONE else UploadState.THERE
        shares = info.get("shares")
        by_kind = shares.values() if isinstance(shares, dict) else ()
        lists = [info.get(name) for name in _CHANNEL_LISTS]
        is_shared = any(isinstance(each, dict | list) and place.channel_id in each for each in (*by_kind, *lists))
        return UploadState.SHARED if is_shared else UploadState.THERE

    def _is_slacks(self, url: str) -> bool:
        """Whether an address is Slack's: else a token, or a file of somebody's, would go elsewhere."""
        address, own = urlsplit(url), urlsplit(self._api.base_url)
        host = address.hostname or ""
        is_slack = address.scheme == "https" and host.endswith(FILE_HOST_SUFFIX) and address.port in (None, 443)
        is_own = (address.scheme, address.hostname, address.port) == (own.scheme, own.hostname, own.port)
        return (is_slack or is_own) and address.username is None
