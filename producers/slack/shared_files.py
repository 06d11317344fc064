"""The files that a turn made, shared below its answer.

What stays true: the id of an upload is noted before it is shared, and Slack shares an upload once. So whichever process
goes on shares that very upload, and people see each file once. A file that cannot be shared takes no answer along: it
is named, with the reason.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from conversation.attachment import Attachment
from conversation.errors import FileNotStored, FileRejected
from producers.slack.api import SlackRefused
from producers.slack.desk import Desk
from producers.slack.file_api import FileApi, UploadState
from producers.slack.mrkdwn import escape
from producers.slack.posts import PostedFile, Posts

#: Files of one turn that are shared, at most; the others are named.
FILES_MAX = 20

log = structlog.get_logger(__name__)


class _Unshared(Exception):
    """A file is not shared; the text says why, for people."""


class SharedFiles:
    """The files below one answer."""

    def __init__(self, desk: Desk, posts: Posts) -> None:
        self._desk = desk
        self._posts = posts
        self._api = FileApi(desk.api)

    async def share(self, files: Sequence[Attachment]) -> None:
        """Share what is not shared yet. Raises `SlackAway`, `LostClaim`, `ThreadmillError` and `SlackRefused`."""
        for place, file in enumerate(files):
            sha256 = str(file.sha256)
            if self._posts.files.get(sha256, PostedFile()).is_over:
                continue
            try:
                await self._share_one(sha256, file, place)
            except _Unshared as error:
                text = f"_The file `{escape(file.filename)}` is not here: {escape(str(error))}._"
                await self._posts.show_note(f"file:{sha256}", text)
            await self._posts.note_file(sha256, replace(self._posts.files.get(sha256, PostedFile()), is_over=True))

    async def _share_one(self, sha256: str, file: Attachment, place: int) -> None:
        if place >= FILES_MAX:
            raise _Unshared(f"{FILES_MAX} files are shared below one answer")
        posts, noted = self._posts, self._posts.files.get(sha256)
        state = None
        if noted is not None and noted.id is not None:
            state = await self._api.find_upload(posts.token, posts.place, noted.id)
        if noted is None or noted.id is None or state is UploadState.GONE:
            noted = PostedFile(id=await self._upload(file))
            await posts.note_file(sha256, noted)
        if state is not UploadState.SHARED:
            await self._share_upload(str(noted.id), file)

    async def _share_upload(self, file_id: str, file: Attachment) -> None:
        """Share an upload; Slack does it once, however often it is asked."""
        posts = self._posts
        self._desk.check_claim()
        try:
            await self._api.share(posts.token, posts.place, file_id, file.filename)
        except SlackRefused as error:
            # It may be that the call before, whose answer was lost, has shared it.
            if await self._api.find_upload(posts.token, posts.place, file_id) is not UploadState.SHARED:
                log.warning("slack_file_not_shared", error=error.code, tenant=posts.tenant)
                raise _Unshared(f"Slack says {error.code}") from None

    async def _upload(self, file: Attachment) -> str:
        """Bring a file to Slack, which nobody sees before it is shared."""
        max_bytes = self._desk.settings.attachment_max_bytes
        if (file.size or 0) > max_bytes:
            raise _Unshared(f"it has {file.size} bytes, at most {max_bytes} are shared")
        async with self._desk.downloads:
            try:
                tenant, read = self._posts.tenant, self._desk.producer.uploads.read
                content = await self._desk.complete(asyncio.to_thread(read, file, tenant=tenant))
            except (FileNotStored, FileRejected) as error:
                log.info("slack_file_not_shared", error=type(error).__name__, tenant=self._posts.tenant)
                raise _Unshared("it is not handed out") from None
            try:
                return await self._api.upload(self._posts.token, self._posts.place.team_id, file.filename, content)
            except SlackRefused as error:
                log.warning("slack_file_not_shared", error=error.code, tenant=self._posts.tenant)
                raise _Unshared(f"Slack says {error.code}") from None
