"""The scene of the gateway: a message is sent over HTTP, and its turn is watched as a browser would."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from examples.demo.desk import STREAMED_TICKET, shorten, thread_id_of
from examples.demo.producer import LINE_CHARS
from examples.demo.stage import Stage
from examples.support.tickets import load_tickets, prompt

#: Seconds without a byte: the gateway sends a comment each 10 s.
SILENCE_SECONDS = 60.0


def check_gateway_streams(stage: Stage) -> None:
    """Send a ticket with one request, whose answer is the turn as it runs."""
    addresses = stage.stack.addresses()
    stage.say(f"the gateway is at {addresses.gateway_url}, which a browser shows as a chat page")
    numbers: list[int] = []
    kinds: list[str] = []
    state = ""
    for event in _send(stage):
        kinds.append(event["type"])
        numbers += [event["id"]] if event["id"] is not None else []
        state = event.get("state", "")
        if text := _describe(event):
            stage.say(f"{event['type']:<14} {shorten(text, LINE_CHARS)}")
    stage.check(kinds[-1] == "turn.ended" and state == "completed", "the stream ended with the turn", part="gateway")
    is_rising = all(before < after for before, after in pairwise(numbers))
    stage.check(is_rising, f"{len(numbers)} numbered events came once, in order", part="gateway")


def _send(stage: Stage) -> Iterator[dict[str, Any]]:
    """Make a thread and send the ticket to it; the events of its turn."""
    ticket = next(ticket for ticket in load_tickets() if ticket.ticket == STREAMED_TICKET)
    thread_id = thread_id_of(stage.run, STREAMED_TICKET)
    content = prompt(ticket) if stage.is_offline else f"{ticket.message}\n\n{ticket.context}"
    _post(stage, "v1/threads", {"id": thread_id}).close()
    message = {"content": content, "agent": "support"}
    with _post(stage, f"v1/threads/{thread_id}/messages", message, Accept="text/event-stream") as answer:
        for line in answer:
            if line.startswith(b"data:"):
                yield json.loads(line.removeprefix(b"data:"))


def _post(stage: Stage, path: str, body: dict[str, Any], **headers: str) -> Any:
    addresses = stage.stack.addresses()
    headers |= {"Content-Type": "application/json", "Authorization": f"Bearer {addresses.gateway_key}"}
    request = Request(f"{addresses.gateway_url}{path}", data=json.dumps(body).encode(), headers=headers)
    return build_opener(ProxyHandler({})).open(request, timeout=SILENCE_SECONDS)


def _describe(event: dict[str, Any]) -> str:
    match event["type"]:
        case "turn.started":
            return f"{event['agent']}, attempt {event['attempt']}"
        case "tool.started":
            return str(event["call"]["name"])
        case "message.done":
            message = event["message"]
            return f"{message['role']}: {message['content']}" if message["content"] else ""
        case "turn.ended":
            return str(event["state"])
        case _:
            return ""
