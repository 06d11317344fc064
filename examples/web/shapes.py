"""What the three backends read and write as JSON.

What stays true: a request that is wrong raises `InvalidInput` with its field; no system text, no tool's result and no
error's own words reach a browser.
"""

import json
from collections.abc import Iterable
from typing import Any

from threadmill import Attachment, InvalidInput, Message, Thread, TurnPage, TurnRecord, TurnResult


def read_body(raw: bytes) -> dict[str, Any]:
    """Read the body of a request, a JSON object."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise InvalidInput("body", "is no JSON object", 'send one, as {"content": "…"}')
    return body


def read_text(body: dict[str, Any], name: str) -> str:
    """Read a text that a request must have; what may stand in it is checked by who takes it."""
    if not isinstance(body.get(name), str):
        problem = f"is {json.dumps(body[name])[:80]}" if name in body else "is missing"
        raise InvalidInput(name, problem, f"send text, as {json.dumps({name: '…'}, ensure_ascii=False)}")
    return str(body[name])


def read_number(name: str, text: str) -> int:
    """Read a number out of the query."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidInput(name, f"is {text!r}", "pass a number")
    return int(text)


def read_uploads(uploads: Iterable[tuple[str | None, bytes]]) -> list[Attachment]:
    """Read the files of a form; a field in which nothing was chosen has no name."""
    return [Attachment(filename=name, content=content) for name, content in uploads if name]


def show_turn(record: TurnRecord, result: TurnResult | None = None) -> dict[str, Any]:
    """Show a turn, with the answer if it has ended. What a failed one says of its reason is for operators."""
    error = record.error
    return {
        "turn": record.id,
        "thread": record.thread_id,
        "state": record.state,
        "created_at": record.created_at.isoformat(),
        "content": result.content if result else None,
        "error": error and {"kind": error.kind, "fault": error.fault, "retryable": error.retryable},
    }


def show_turns(page: TurnPage) -> dict[str, Any]:
    """Show a page of turns, without their answers."""
    return {"turns": [show_turn(record) for record in page], "next_cursor": page.next_cursor}


def show_thread(thread: Thread) -> dict[str, Any]:
    """Show a conversation: what was said, then what was sent and waits for its turn."""
    pending = [_show_message(each.message) | {"state": each.turn_state} for each in thread.pending]
    messages = [_show_message(message) for message in thread.messages if _is_shown(message)]
    return {"thread": thread.id, "title": thread.title, "messages": messages, "pending": pending}


def _is_shown(message: Message) -> bool:
    return (message.role in ("user", "assistant") and bool(message.content)) or bool(message.attachments)


def _show_message(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "turn": message.turn_id,
        "role": message.role,
        # A tool's message is here for its files.
        "content": "" if message.role == "tool" else message.content,
        "state": message.state,
        "created_at": message.created_at.isoformat(),
        "files": [
            {"filename": file.filename, "media_type": file.media_type, "size": file.size, "sha256": file.sha256}
            for file in message.attachments
        ],
    }
