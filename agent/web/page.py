"""Reading a page: its text without menus, scripts and what else surrounds it.

What stays true: HTML is taken apart by a child process with limits of its own (`page_worker.py`),
so that no page can hang or fill the worker. A page without text is a note, not an error.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from agent.files.extract import read_in_child
from agent.web.answer import Answer
from agent.web.charset import decode
from agent.web.errors import AnswerRejected

#: Characters for the model: about 10,000 tokens, and within what a tool's result may hold.
PAGE_MAX_CHARS = 40_000
READ_SECONDS = 15.0

PageFormat = Literal["markdown", "text"]

_log = structlog.get_logger(__name__)
_WORKER = Path(__file__).with_name("page_worker.py")
_HTML = {"text/html", "application/xhtml+xml"}
_TEXT = {"application/json", "application/xml", "application/javascript", "application/yaml"}
_NO_TEXT = "the page holds no readable text; it may be filled in by scripts, which are not run"
_TRUNCATED = f"the page goes on; these are its first {PAGE_MAX_CHARS} characters"


@dataclass(frozen=True, slots=True)
class Page:
    """The readable part of a page, for a model."""

    #: The URL of the page after redirects, without the query.
    url: str
    title: str
    content: str
    #: What is missing, in a sentence; "" if nothing is.
    note: str = ""


def objection(media_type: str) -> str | None:
    """The reason why a type cannot be read as a page; None if it can."""
    if not media_type:
        return "does not say what it holds; download_file attaches it as it is"
    is_text = media_type in _HTML | _TEXT or media_type.startswith("text/")
    if is_text or media_type.endswith(("+json", "+xml")):
        return None
    return f"holds {media_type[:80]}, which is no page to read; download_file attaches it as it is"


async def read_page(answer: Answer, page_format: PageFormat) -> Page:
    """Read the readable part of an answer. Raises `AnswerRejected` where its reader gives up."""
    text, remark = await asyncio.to_thread(decode, answer.body, answer.charset)
    if answer.media_type in _HTML:
        return await _read_html(text, answer, page_format, remark)
    return _build_page(answer, "", text, remark)


async def _read_html(text: str, answer: Answer, page_format: PageFormat, remark: str | None) -> Page:
    options = {"url": answer.url, "format": page_format, "max_chars": PAGE_MAX_CHARS + 1}
    try:
        output, returncode = await read_in_child(_WORKER, text.encode(), timeout_seconds=READ_SECONDS, options=options)
    except TimeoutError:
        raise AnswerRejected(f"{answer.redacted_url} takes too much time to read") from None
    if returncode != 0:
        _log.warning("page_reader_failed", returncode=returncode)
        raise AnswerRejected(f"{answer.redacted_url} cannot be read; download_file attaches it as it is")
    result = json.loads(output)
    return _build_page(answer, result["title"], result["text"], remark)


def _build_page(answer: Answer, title: str, text: str, remark: str | None) -> Page:
    if not text.strip():
        return Page(answer.redacted_url, title, "", _NO_TEXT)
    notes = (_TRUNCATED if len(text) > PAGE_MAX_CHARS else None, remark)
    return Page(answer.redacted_url, title, text[:PAGE_MAX_CHARS], ". ".join(filter(None, notes)))
