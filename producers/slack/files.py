"""Files that people send with a message in Slack, fetched as its attachments.

What stays true: what Slack says of a file is not believed: its bytes are counted as they come, and examined; a file
that cannot be had takes nothing else along, and the agent is told why it lacks it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conversation.attachment import Attachment
from conversation.errors import UserError
from producers.attachments import examine_attachments
from producers.slack.api import SlackRefused
from producers.slack.file_api import FileApi, FileRefused
from store.settings import Settings

#: Modes of files of which Slack has no bytes, with what to say of them.
_WITHOUT_BYTES = {
    "tombstone": "it was deleted",
    "hidden_by_limit": "the workspace's plan hides it",
    "external": "it is not stored at Slack",
}
_HTML = "text/html"


@dataclass(slots=True)
class ReceivedFiles:
    """The files of a message, as far as they could be had."""

    attachments: list[Attachment] = field(default_factory=list)
    #: A sentence on each file that is missing.
    notes: list[str] = field(default_factory=list)


class FileFetcher:
    """Fetches the files of one workspace's messages."""

    def __init__(self, api: FileApi, token: str, team_id: str, settings: Settings) -> None:
        self._api = api
        self._token = token
        self._team_id = team_id
        self._settings = settings

    async def fetch(self, files: Sequence[Mapping[str, Any]]) -> ReceivedFiles:
        """Fetch the files of a message. Raises `SlackAway`: then none is sent yet."""
        received = ReceivedFiles()
        remaining_bytes = self._settings.message_max_bytes
        for file in files:
            name = str(file.get("name") or file.get("title") or file.get("id") or "file")
            try:
                attachment = await self._fetch_one(file, name, len(received.attachments), remaining_bytes)
            except (FileRefused, SlackRefused, UserError) as error:
                received.notes.append(f"[The file {name!r} is not attached: {error}]")
                continue
            received.attachments.append(attachment)
            remaining_bytes -= attachment.size or 0
        return received

    async def _fetch_one(self, file: Mapping[str, Any], name: str, count: int, remaining_bytes: int) -> Attachment:
        if count >= self._settings.attachments_max_count:
            raise FileRefused(f"a message takes {self._settings.attachments_max_count} files")
        if file.get("file_access") == "check_file_info":
            # A file of another workspace: the event has its id alone.
            file = await self._api.info(self._token, str(file.get("id")), self._team_id)
            name = str(file.get("name") or name)
        if problem := _WITHOUT_BYTES.get(str(file.get("mode"))):
            raise FileRefused(problem)
        url = file.get("url_private_download") or file.get("url_private")
        if not isinstance(url, str):
            raise FileRefused("Slack gives no address of it")
        max_bytes = min(self._settings.attachment_max_bytes, remaining_bytes)
        size = file.get("size")
        if isinstance(size, int) and size > max_bytes:
            raise FileRefused(f"it has {size} bytes, at most {max_bytes} are taken")
        content, media_type = await self._api.download(self._token, url, max_bytes=max_bytes)
        if media_type == _HTML and file.get("mimetype") != _HTML:
            raise FileRefused("Slack asks to log in for it: the app needs the scope files:read")
        attachment = Attachment(filename=name, content=content, media_type=str(file.get("mimetype") or media_type))
        return examine_attachments([attachment], self._settings)[0]
